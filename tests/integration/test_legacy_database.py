"""A database as version 0.6 left it: it opens, reads right, and goes on from there."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import JSON, Field, SQLModel, select

from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.bootstrap import bootstrap
from storage.database import get_engine, set_database_url, transaction
from storage.dialects.sqlite_driver import DRIVER
from storage.errors import SchemaMismatch
from tests.isolation import fresh_registries

LEGACY = Path(__file__).parent.parent / "data" / "vention-storage-0.6.sqlite"

# Upgrades copies of a database, and is killed before the n-th statement of the n-th upgrade, until one comes through.
KILLED_PROGRAM = """
import os, shutil, signal, sys
from sqlalchemy import Column, Integer, MetaData, Table, event, make_url
from storage.auditor import AuditLog
from storage.dialects.sqlite import SQLITE
from storage.schema.tables import prepare
from storage.schema.upgrade import upgrade
from sqlmodel import SQLModel

metadata = MetaData()
for name in ("user", "job"):
    Table(name, metadata, Column("id", Integer, primary_key=True))
prepare(metadata)
prepare(SQLModel.metadata)
for number in range(1000):
    shutil.copy(sys.argv[1], f"{number}.db")
    child = os.fork()
    if child == 0:
        engine = SQLITE.create_engine(make_url(f"sqlite:///{number}.db"), busy_timeout=5)
        left = [number]
        @event.listens_for(engine, "before_cursor_execute")
        def count(*_arguments):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
        upgrade(engine, metadata)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
    if status == 0:
        break
"""


class JobState(StrEnum):
    queued = "queued"
    running = "running"
    done = "done"


@dataclass(frozen=True, kw_only=True)
class Legacy:
    """The accessors of the application that left the database."""

    users: ModelAccessor[Any]
    jobs: ModelAccessor[Any]
    user: Any
    job: Any


@pytest.fixture(scope="module")
def declared() -> Iterator[Legacy]:
    with fresh_registries():

        class User(SQLModel, table=True):
            id: int | None = Field(default=None, primary_key=True)
            name: str
            email: str
            deleted_at: datetime | None = Field(default=None, index=True)

        class Job(SQLModel, table=True):
            id: int | None = Field(default=None, primary_key=True)
            user_id: int = Field(foreign_key="user.id")
            state: JobState = JobState.queued
            speed: float = 0.0
            started_at: datetime | None = None
            settings: dict[str, Any] | None = Field(default=None, sa_type=JSON)

        yield Legacy(users=ModelAccessor(User, "users"), jobs=ModelAccessor(Job, "jobs"), user=User, job=Job)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    copy = tmp_path / "old.sqlite"
    shutil.copy(LEGACY, copy)
    return copy


@pytest.fixture
def legacy(declared: Legacy, file: Path) -> Iterator[Legacy]:
    bootstrap(database_url=f"sqlite:///{file}")
    yield declared
    set_database_url("sqlite://")


def found(record: Any) -> Any:
    """A record that must be there."""
    assert record is not None
    return record


def read(path: Path, query: str) -> list[tuple[Any, ...]]:
    database = DRIVER.connect(str(path))
    rows = list(database.execute(query))
    database.close()
    return rows


def trail(component: str) -> list[AuditLog]:
    with transaction() as session:
        entries = session.exec(select(AuditLog).where(AuditLog.component == component).order_by("id")).all()
        return list(entries)


def test_its_records_read_right(legacy: Legacy) -> None:
    assert [user.name for user in legacy.users.all(True)] == ["Alice Smith", "Bob", "Zoë", "=SUM(A1)", ""]
    assert [user.name for user in legacy.users.all()] == ["Alice Smith", "Zoë", "=SUM(A1)", ""]
    bob = found(legacy.users.get(2, include_deleted=True))
    assert bob.deleted_at == datetime(2026, 11, 23, 7, 18, 41, 966944, tzinfo=UTC)

    assert [job.id for job in legacy.jobs.all()] == list(range(1, 12))
    job = found(legacy.jobs.get(4))
    assert (job.user_id, job.state, job.speed) == (2, JobState.queued, 0.30000000000000004)
    assert job.started_at == datetime(2025, 3, 1, 12, 0, 3, tzinfo=UTC)
    assert job.settings == {"axis": 3, "note": None, "text": 'a,"b"\nc'}


def test_its_audit_trail_reads_right(legacy: Legacy) -> None:
    users, jobs = trail("users"), trail("jobs")

    assert [entry.id for entry in users + jobs] == list(range(1, 24))
    first = users[0]
    assert first.timestamp == datetime(2026, 11, 23, 7, 18, 41, 947009, tzinfo=UTC)
    assert (first.record_id, first.record_key, first.operation, first.actor) == (1, "1", "create", "admin")
    assert first.before is None
    assert first.after == {"name": "Alice", "email": "alice@example.com", "deleted_at": None, "id": 1}
    assert [entry.operation for entry in users[5:]] == ["update", "soft_delete", "soft_delete", "restore"]
    deleted = jobs[-2]
    assert (deleted.record_id, deleted.operation, deleted.after) == (12, "delete", None)
    with transaction() as session:
        created = session.exec(select(AuditLog).where(AuditLog.before == None)).all()  # noqa: E711 - SQL's IS NULL
    assert {entry.operation for entry in created} == {"create"}


def test_what_it_recorded_stays_word_for_word(file: Path, legacy: Legacy) -> None:
    query = "SELECT id, timestamp, component, operation, actor, nullif(\"before\", 'null'), nullif(\"after\", 'null')"

    assert read(file, f"{query} FROM auditlog ORDER BY id") == read(LEGACY, f"{query} FROM auditlog ORDER BY id")


def test_it_goes_on_and_ids_do_not_come_back(legacy: Legacy) -> None:
    user = legacy.users.insert(legacy.user(name="Ann", email="ann@example.com"), actor="me")
    job = legacy.jobs.insert(legacy.job(user_id=user.id), actor="me")

    assert (user.id, job.id) == (6, 13)  # job 12 was deleted by 0.6
    entry = trail("jobs")[-1]
    assert (entry.id, entry.record_id, entry.record_key, entry.operation) == (25, 13, "13", "create")
    assert legacy.users.restore(2, "me")
    assert found(legacy.users.get(2)).deleted_at is None


def test_its_tables_are_what_fresh_ones_are(legacy: Legacy, file: Path, tmp_path: Path) -> None:
    bootstrap(database_url=f"sqlite:///{tmp_path}/fresh.db")
    # JSON keeps its old type name, see storage.schema.quirks.
    columns = (
        "SELECT m.name, c.name, CASE c.type WHEN 'JSON' THEN 'JSON_TEXT' ELSE c.type END, c.\"notnull\", c.pk"
        " FROM sqlite_master m, pragma_table_info(m.name) c"
    )
    indexes = "SELECT tbl_name, name FROM sqlite_master WHERE type = 'index' ORDER BY name"
    numbered = "SELECT name, sql LIKE '%AUTOINCREMENT%' FROM sqlite_master WHERE type = 'table' ORDER BY name"
    foreign = "SELECT * FROM pragma_foreign_key_list('job')"

    for query in (f"{columns} WHERE m.type = 'table' ORDER BY m.name, c.cid", indexes, numbered, foreign):
        assert read(file, query) == read(tmp_path / "fresh.db", query)


def test_a_second_start_changes_nothing(legacy: Legacy, file: Path) -> None:
    before = (read(file, "SELECT * FROM sqlite_master"), read(file, "PRAGMA schema_version"))
    get_engine().dispose()

    bootstrap(database_url=f"sqlite:///{file}")

    assert (read(file, "SELECT * FROM sqlite_master"), read(file, "PRAGMA schema_version")) == before


def test_without_create_tables_it_is_refused_and_not_touched(declared: Legacy, file: Path) -> None:
    before = read(file, "SELECT * FROM sqlite_master")

    with pytest.raises(SchemaMismatch, match=r"made by version 0\.6; call bootstrap\(create_tables=True\) once"):
        bootstrap(database_url=f"sqlite:///{file}", create_tables=False)

    set_database_url("sqlite://")
    assert read(file, "SELECT * FROM sqlite_master") == before


def test_an_upgrade_killed_before_any_of_its_statements_leaves_all_old_or_all_new(file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_PROGRAM, str(file)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()

    assert ended == [str(-signal.SIGKILL)] * (len(ended) - 1) + ["0"]
    queries = ["SELECT * FROM sqlite_master ORDER BY name", "SELECT * FROM auditlog", "SELECT * FROM job"]
    states = [[read(tmp_path / f"{number}.db", query) for query in queries] for number in range(len(ended))]
    changed = states.index(states[-1])
    assert changed > 30
    assert states == [[read(file, query) for query in queries]] * changed + [states[-1]] * (len(ended) - changed)
    checks = [read(tmp_path / f"{number}.db", "PRAGMA integrity_check") for number in range(len(ended))]
    assert checks == [[("ok",)]] * len(ended)
    assert read(tmp_path / f"{changed}.db", "SELECT seq FROM sqlite_sequence WHERE name = 'job'") == [(12,)]


def test_the_file_of_the_tests_is_as_0_6_left_it() -> None:
    (snapshot,) = read(LEGACY, 'SELECT "after" FROM auditlog WHERE id = 1')

    assert json.loads(snapshot[0])["id"] == 1
    assert read(LEGACY, "PRAGMA journal_mode") == [("delete",)]
