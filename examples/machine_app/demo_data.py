"""What a new cell starts with, so that there is something to look at."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from jobs import Job, jobs
from operators import Operator, Role, operators
from recipes import Layer, Pattern, Recipe, recipes
from storage.database import transaction
from tools import ToolCalibration, tool_calibrations

ACTOR = "commissioning"


def load() -> None:
    """Fill an empty database, wholly or not at all."""
    with transaction():
        if recipes.all(include_deleted=True):
            return
        pattern = Pattern(
            box_length_mm=300,
            box_width_mm=200,
            box_height_mm=150,
            layers=[Layer(columns=4, rows=4), Layer(columns=4, rows=4, rotated=True)],
        )
        bars = Recipe(id=1, name="Oat bars", box_mass_kg=4.2, cycle_time=timedelta(seconds=5.5), pattern=pattern)
        recipes.insert(bars, actor=ACTOR)
        ada = operators.insert(Operator(badge="B-1001", name="Ada Lovelace", role=Role.technician), actor=ACTOR)
        gripper = ToolCalibration(
            tool="vacuum gripper",
            offset_x_mm=Decimal("0.1250"),
            offset_y_mm=Decimal("-0.0375"),
            offset_z_mm=Decimal("182.5000"),
            measured={"probe": "laser", "runs_mm": [182.499, 182.501]},
        )
        tool_calibrations.insert(gripper, actor=ACTOR)
        queue = [Job(recipe_id=1, operator_id=ada.id, boxes=pattern.boxes) for _ in range(2)]
        jobs.insert_many(queue, actor=ACTOR)
