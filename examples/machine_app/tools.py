"""Tool calibrations: where the tip of each tool is, measured now and then."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlmodel import JSON, Field, Session, SQLModel

from storage.accessor import ModelAccessor


class ToolCalibration(SQLModel, table=True):
    """One measurement of a tool; what was measured stays, a new measurement is a new record."""

    id: int | None = Field(default=None, primary_key=True)
    tool: str = Field(index=True, max_length=40, schema_extra={"examples": ["vacuum gripper"]})
    offset_x_mm: Decimal = Field(max_digits=9, decimal_places=4, schema_extra={"examples": ["0.1250"]})
    offset_y_mm: Decimal = Field(max_digits=9, decimal_places=4, schema_extra={"examples": ["-0.0375"]})
    offset_z_mm: Decimal = Field(max_digits=9, decimal_places=4, schema_extra={"examples": ["182.5000"]})
    calibrated_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    measured: dict[str, Any] = Field(
        default_factory=dict, sa_type=JSON, schema_extra={"examples": [{"probe": "laser", "runs_mm": [182.5, 182.499]}]}
    )
    """Whatever the probe tells, as free JSON."""


tool_calibrations = ModelAccessor(ToolCalibration, "tool_calibrations")


@tool_calibrations.before_insert()
def refuse_the_future(_session: Session, calibration: ToolCalibration) -> None:
    """Refuse a date that a clock set wrongly gave."""
    if calibration.calibrated_at > datetime.now(UTC):
        raise ValueError("the calibration is dated in the future: check the clock of the probe")
