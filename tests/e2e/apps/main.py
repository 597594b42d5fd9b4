"""The quickstart's app, with the stream and the action of a machine."""

from tests.e2e.apps.machine import set_speed
from tests.e2e.apps.quickstart import app

__all__ = ["app", "set_speed"]
