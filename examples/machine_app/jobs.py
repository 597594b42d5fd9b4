"""Jobs: what is to be palletized, and how far it is."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum

from sqlmodel import Field, Session, SQLModel, select

from machine import MachineState, Mode, report
from recipes import Recipe
from storage.accessor import ModelAccessor
from storage.database import use_session


class JobState(Enum):
    """Where a job is in its life."""

    queued = "queued"
    running = "running"
    done = "done"
    aborted = "aborted"


NEXT_STATES = {
    JobState.queued: {JobState.running, JobState.aborted},
    JobState.running: {JobState.done, JobState.aborted},
    JobState.done: set[JobState](),
    JobState.aborted: set[JobState](),
}
"""From each state, those that may follow."""


class Job(SQLModel, table=True):
    """An order to place a number of boxes by a recipe."""

    id: int | None = Field(default=None, primary_key=True)
    recipe_id: int = Field(foreign_key="recipe.id", index=True, schema_extra={"examples": [1]})
    operator_id: int | None = Field(default=None, foreign_key="operator.id", schema_extra={"examples": [1]})
    state: JobState = Field(default=JobState.queued, index=True)
    boxes: int = Field(ge=1, schema_extra={"examples": [24]})
    boxes_placed: int = Field(default=0, ge=0)
    queued_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    started_at: datetime | None = None
    finished_at: datetime | None = None


jobs = ModelAccessor(Job, "jobs")


@jobs.before_insert()
def start_queued(session: Session, job: Job) -> None:
    """Let every job begin in the queue, by a recipe that is in use."""
    if job.state is not JobState.queued:
        raise ValueError("a new job is queued; start it with StartJob")
    recipe = session.get(Recipe, job.recipe_id)
    if recipe is not None and recipe.deleted_at is not None:
        raise ValueError(f"recipe {recipe.name} was deleted: restore it, or take another one")


@jobs.before_update()
def follow_the_order_of_states(_session: Session, job: Job) -> None:
    """Refuse a step that no job takes, and a second running job; a job with all its boxes is done."""
    stored = jobs.get(job.id)  # as it is before this update
    before = stored.state if stored else JobState.queued
    if job.state is JobState.running and job.boxes_placed >= job.boxes:
        job.state = JobState.done
    if job.state is before:
        return
    if job.state not in NEXT_STATES[before]:
        raise ValueError(f"job {job.id} is {before.name} and cannot become {job.state.name}")
    if job.state is JobState.running:
        other = running_job()
        if other is not None:
            raise ValueError(f"job {other.id} is running: finish it or abort it first")
        job.started_at = datetime.now(UTC)
    else:
        job.finished_at = datetime.now(UTC)


@jobs.after_update()
def tell_screens(_session: Session, _job: Job) -> None:
    """Publish what the cell does now; screens hear of it after the commit."""
    report(current_state())


@jobs.before_delete()
def keep_the_running_job(_session: Session, job: Job) -> None:
    """Refuse to delete a job that the robot is working on."""
    if job.state is JobState.running:
        raise ValueError(f"job {job.id} is running: abort it first")


def running_job() -> Job | None:
    """The job that runs, None while the cell is idle."""
    with use_session() as session:
        return session.exec(select(Job).where(Job.state == JobState.running)).first()


def current_state() -> MachineState:
    """What the cell does now."""
    job = running_job()
    if job is None:
        return MachineState(mode=Mode.idle)
    return MachineState(mode=Mode.running, job_id=job.id, boxes_placed=job.boxes_placed, boxes_total=job.boxes)
