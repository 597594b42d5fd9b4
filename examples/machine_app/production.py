"""Production: what the panel and the robot's program ask of the cell."""

from __future__ import annotations

from connectrpc.code import Code

from communication.decorators import action
from communication.errors import RpcError
from jobs import Job, JobState, current_state, jobs, running_job
from machine import MachineState
from operators import caller
from storage.database import transaction
from storage.rpc.errors import told_to_caller


@action("StartJob")
def start_job(job_id: int) -> MachineState:
    """Start a job of the queue."""
    with told_to_caller(), transaction():
        job = jobs.get(job_id)
        if job is None:
            raise RpcError(Code.NOT_FOUND, f"there is no job {job_id}")
        job.state = JobState.running
        jobs.save(job, actor=caller())
        return current_state()


@action("PlaceBox")
def place_box() -> MachineState:
    """Count a box that the robot has placed; with the last one the job is done."""
    with told_to_caller(), transaction():
        job = _the_running_job()
        job.boxes_placed += 1
        jobs.save(job, actor=caller())
        return current_state()


@action("AbortJob")
def abort_job() -> MachineState:
    """Give up the running job."""
    with told_to_caller(), transaction():
        job = _the_running_job()
        job.state = JobState.aborted
        jobs.save(job, actor=caller())
        return current_state()


def _the_running_job() -> Job:
    job = running_job()
    if job is None:
        raise RpcError(Code.FAILED_PRECONDITION, "no job is running; start one first")
    return job
