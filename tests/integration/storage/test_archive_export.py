"""What an archive holds: every table at one moment, and a manifest that says so."""

from __future__ import annotations

import csv
import io
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import transaction
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import import_archive
from tests.integration.storage.archives import (
    Accessors,
    exported,
    files_of,
    fill,
)
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Job, Shelf


def test_the_manifest_tells_of_each_file(accessors: Accessors) -> None:
    fill(accessors)
    files = files_of(exported(accessors))
    manifest = json.loads(files["manifest.json"])
    assert set(files) == {"manifest.json", *(table["file"] for table in manifest["tables"])}
    recipe = next(table for table in manifest["tables"] if table["table"] == "recipe")
    assert (recipe["rows"], recipe["key"]) == (3, "id")
    assert recipe["columns"][1] == {"name": "name", "kind": "text", "nullable": False}
    assert datetime.fromisoformat(manifest["created"]).utcoffset() == datetime.now(UTC).utcoffset()


def test_tables_without_an_accessor_are_named(accessors: Accessors, engine: Engine) -> None:
    """As one between the two sides of a many-to-many relationship is, whose key no accessor takes."""
    some = [accessors["bin"], accessors["job"]]
    others = sorted({*accessors} - {"bin", "job"})
    assert export_archive(io.BytesIO(), some).left_out == tuple(others)

    pairs = sa.Table("bin_shelf", sa.MetaData(), *(sa.Column(name, sa.Integer, primary_key=True) for name in "ab"))
    pairs.create(engine)
    try:
        manifest = json.loads(files_of(exported(accessors))["manifest.json"])
    finally:
        pairs.drop(engine)

    assert manifest["left_out"] == ["bin_shelf"]
    assert export_archive(io.BytesIO(), accessors.values()).left_out == ()


def test_tables_stand_behind_those_that_they_refer_to(accessors: Accessors) -> None:
    tables = [table.table for table in export_archive(io.BytesIO(), accessors.values()).tables]
    assert tables.index("shelf") < tables.index("job")
    assert tables[-1] == "auditlog"


def test_the_audit_trail_is_exported_and_never_imported(accessors: Accessors, audit: Audit) -> None:
    accessors["bin"].insert(Bin(code="A1"), actor="ana")
    archive = exported(accessors)
    (entry,) = csv.DictReader(io.StringIO(files_of(archive)["auditlog.csv"].decode()))
    assert (entry["actor"], entry["operation"], json.loads(entry["after"])["code"]) == ("ana", "create", "A1")

    trail = ModelAccessor(AuditLog, "audit", enable_auditing=False)
    report = import_archive(archive, [*accessors.values(), trail], mode="replace")

    assert "auditlog" not in {table.table for table in report.tables}
    assert len(audit()) == 1


def test_an_export_is_one_state_while_others_write(accessors: Accessors, tmp_path: Path) -> None:
    """Each writer adds a shelf and a job on it, so an export of two states has more of the one than of the other."""
    stop, started = threading.Event(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            with transaction():
                shelf = accessors["shelf"].insert(Shelf())
                accessors["job"].insert(Job(shelf_id=shelf.id))
            started.set()

    writers = [threading.Thread(target=work) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        assert started.wait(10)
        for _ in range(10):
            files = files_of(exported(accessors))
            shelves = {row["id"] for row in csv.DictReader(io.StringIO(files["shelf.csv"].decode()))}
            jobs = [row["shelf_id"] for row in csv.DictReader(io.StringIO(files["job.csv"].decode()))]
            assert set(jobs) == shelves
            assert len(files["auditlog.csv"].splitlines()) == 1 + len(shelves) + len(jobs)
    finally:
        stop.set()
        for writer in writers:
            writer.join(10)


def test_a_failing_export_leaves_the_file_that_was_there(
    accessors: Accessors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "backup.zip"
    place.write_bytes(b"yesterday's")
    fill(accessors)

    def fail(*_: Any, **__: Any) -> str:
        raise RuntimeError

    monkeypatch.setattr("storage.transfer.archive_export._csv_of", fail)
    with pytest.raises(RuntimeError):
        export_archive(place, accessors.values())
    assert place.read_bytes() == b"yesterday's"
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("machine.db")} == {"backup.zip"}
