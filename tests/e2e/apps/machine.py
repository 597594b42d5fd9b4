"""A stream and an action, for clients to try beside the records."""

from pydantic import BaseModel

from communication.decorators import action, stream


class MachineState(BaseModel):
    """What the machine does now."""

    running: bool
    """It moves."""
    speed: float
    """Speed of the conveyor in m/s."""


@stream("WatchState", payload=MachineState)
def report_state(speed: float) -> MachineState:
    """Tell all subscribers the state."""
    return MachineState(running=speed > 0, speed=speed)


@action("SetSpeed")
def set_speed(speed: float) -> bool:
    """Set the speed; returns whether the machine moves now."""
    return report_state(speed).running
