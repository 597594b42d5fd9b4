"""The machine's state, as screens want to see it: a stream."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel

from communication.decorators import stream


class Mode(Enum):
    """What the cell does."""

    idle = "idle"
    running = "running"


class MachineState(BaseModel):
    """What the cell does now."""

    mode: Mode
    job_id: int | None = None
    """The job that runs; None while the cell is idle."""
    boxes_placed: int = 0
    boxes_total: int = 0


@stream("WatchMachine", payload=MachineState)
def report(state: MachineState) -> MachineState:
    """Tell every screen; one that connects later gets the last state at once."""
    return state
