"""A process that is killed in the middle of an import: nothing of it is stored, and what it left goes with the next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storage.database import set_database_url
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import import_archive
from tests.integration.storage_backup.files import left_over, values
from tests.integration.storage_backup.plant import Plant

COUNT = 1200
PROGRAM = """
import os, signal, sys
from storage.bootstrap import bootstrap
from storage.transfer.archive_import import import_archive
from storage.transfer.archive_rows import RowReader
from tests.integration.storage_backup.plant import declare
url, archive, moment = sys.argv[1:]
plant = declare()
bootstrap(database_url=url)

def die(session, instance):
    if instance.name == "1100":
        os.kill(os.getpid(), signal.SIGKILL)

def die_reading(reader, row, row_of=RowReader.row_of):
    if row.cells[1] == "1100":
        os.kill(os.getpid(), signal.SIGKILL)
    return row_of(reader, row)

if moment == "reading":
    RowReader.row_of = die_reading
else:
    plant.users.after_insert()(die)
import_archive(archive, [plant.users, plant.jobs])
"""


@pytest.mark.parametrize("moment", ["reading", "writing"])
def test_nothing_of_it_is_stored(plant: Plant, path: Path, tmp_path: Path, project: Path, moment: str) -> None:
    archive, empty, accessors = tmp_path / "archive.zip", tmp_path / "empty.zip", [plant.users, plant.jobs]
    export_archive(empty, accessors)
    plant.users.insert_many([plant.user(name=str(number), email="") for number in range(COUNT)])
    export_archive(archive, accessors)
    import_archive(empty, accessors, mode="replace")
    entries = len(values(path, "SELECT id FROM auditlog"))
    command = [sys.executable, "-c", PROGRAM, f"sqlite:///{path}", str(archive), moment]

    assert subprocess.run(command, cwd=project, check=False, timeout=60).returncode == -9

    assert left_over(path.parent) != []
    assert plant.users.all(include_deleted=True) == []
    assert len(values(path, "SELECT id FROM auditlog")) == entries
    assert import_archive(archive, accessors).ok
    assert left_over(path.parent) == []
    assert plant.names() == [str(number) for number in range(COUNT)]
    set_database_url("sqlite://")
    assert values(path, "PRAGMA integrity_check") == ["ok"]
