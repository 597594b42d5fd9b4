"""A palletizing cell: recipes, jobs, tool calibrations and operators, served as one Connect service.

    make run

The data is in `storage.db` in the working directory, or where VENTION_STORAGE_DATABASE_URL says.
"""

from __future__ import annotations

from pathlib import Path

import demo_data
from communication.app import VentionApp
from jobs import current_state, jobs
from machine import report
from operators import operators
from production import abort_job, place_box, start_job
from recipes import recipes
from storage.bootstrap import bootstrap
from storage.vention_communication import build_storage_bundle
from tools import tool_calibrations

__all__ = ["abort_job", "app", "place_box", "start_job"]

bootstrap()
demo_data.load()

app = VentionApp(
    name="palletizing-cell",
    title="Palletizing cell",
    emit_proto=True,
    proto_path=Path(__file__).parent / "proto" / "app.proto",
)
app.add_bundle(
    build_storage_bundle(accessors=[recipes, jobs, tool_calibrations, operators], max_records_per_model=10_000)
)
app.finalize()
report(current_state())
