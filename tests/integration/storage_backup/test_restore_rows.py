"""Rows that no accessor can have written, in a file that SQLite finds sound."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from pydantic import BaseModel
from sqlmodel import Field, SQLModel

from storage.accessor import ModelAccessor
from storage.bootstrap import bootstrap
from storage.database import set_database_url
from storage.errors import BackupInvalid
from storage.transfer.backup import backup_to
from storage.transfer.restore import restore
from storage.transfer.rows import MOST_BAD_ROWS
from tests.integration.storage_backup.files import change, safety_copies, values
from tests.isolation import fresh_registries


class State(enum.Enum):
    IDLE = "idle"
    RUNNING = "running"


class Point(BaseModel):
    x: float


@pytest.fixture(scope="module")
def tools() -> Iterator[ModelAccessor[Any]]:
    with fresh_registries():

        class Tool(SQLModel, table=True):
            id: int | None = Field(default=None, primary_key=True)
            wear: int = 1
            turns: int = Field(default=2**40, sa_type=sa.BigInteger)
            speed: float = 1.5
            on: bool = True
            name: str = Field(default="drill", max_length=20)
            blob: bytes = b"\xff"
            price: Decimal = Field(default=Decimal("1.50"), max_digits=12, decimal_places=2)
            exact: Decimal = Field(default=Decimal("0.1"), sa_type=sa.String)
            moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)
            day: date = date(2026, 1, 1)
            clock: time = time(12)
            span: timedelta = timedelta(seconds=1)
            uid: UUID = Field(default_factory=uuid4)
            state: State = State.RUNNING
            settings: dict[str, Any] | None = Field(default={"a": [1, None]}, sa_type=sa.JSON)
            place: Point = Field(default=Point(x=1), sa_type=sa.JSON)
            wide: int | None = None

        class Label(SQLModel, table=True):
            code: str = Field(primary_key=True)
            text: str = ""

        yield ModelAccessor(Tool, "tools")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "shop.db"


@pytest.fixture
def backup(tools: ModelAccessor[Any], database: Path, tmp_path: Path) -> Iterator[Path]:
    bootstrap(database_url=f"sqlite:///{database}")
    tools.insert_many([tools.model() for _ in range(3)])
    made, _ = backup_to(tmp_path / "backup.sqlite")
    yield made
    set_database_url("sqlite://")


def refused(backup: Path, database: Path, **options: Any) -> BackupInvalid:
    with pytest.raises(BackupInvalid) as caught:
        restore(backup, **options)
    assert caught.value.check == "rows"
    assert safety_copies(database) == []
    return caught.value


def test_what_accessors_wrote_passes(backup: Path, tools: ModelAccessor[Any]) -> None:
    before = tools.all()

    restore(backup)

    assert tools.all() == before


BAD = [
    ("wear", "2147483648", "must be from -2**31 to 2**31 - 1; declare the column as BigInteger for more"),
    ("wear", "'much'", "is kept as str, not as integer"),
    ("wear", "1.5", "is kept as float, not as integer"),
    ("turns", "1e300", "is kept as float, not as bigint"),
    ("speed", "9e999", "must be a finite number"),
    ("speed", "'fast'", "is kept as str, not as float"),
    ("on", "'no'", "must be 0 or 1"),
    ("on", "2", "must be 0 or 1"),
    ("name", "x'61'", "is kept as bytes, not as text"),
    ("name", "'a much too long name of it'", "must have at most 20 characters"),
    ("name", "CAST(x'61ff' AS TEXT)", "must not contain half of a surrogate pair"),
    ("name", "'a' || char(0)", "must not contain a NUL character, which PostgreSQL cannot keep"),
    ("blob", "'text'", "is kept as str, not as bytes"),
    ("price", "'cheap'", "cannot be read as decimal"),
    ("price", "99999999999", "must be below 10**10"),
    ("exact", "'NaN'", "must be a finite number"),
    ("exact", "'one'", "cannot be read as decimal"),
    ("moment", "'tomorrow'", "cannot be read as datetime"),
    ("moment", "7", "cannot be read as datetime"),
    ("day", "'2026-02-30'", "cannot be read as date"),
    ("clock", "'25:00:00'", "cannot be read as time"),
    ("span", "'long'", "cannot be read as timedelta"),
    ("uid", "'nobody'", "cannot be read as uuid"),
    ("state", "'running'", "cannot be read as enum"),
    ("settings", "'{'", "cannot be read as json"),
    ("settings", """'{"a": NaN}'""", "must be a finite number"),
    ("place", """'{"y": 1}'""", "cannot be read as json"),
]


@pytest.mark.parametrize(("column", "value", "told"), BAD, ids=[f"{column}={value}" for column, value, _ in BAD])
def test_a_value_that_no_accessor_wrote_is_refused_with_its_place_and_why(
    backup: Path, database: Path, column: str, value: str, told: str
) -> None:
    change(backup, f'UPDATE tool SET "{column}" = {value} WHERE id = 2')  # noqa: S608 - our own values
    assert values(backup, "PRAGMA integrity_check") == ["ok"]

    error = refused(backup, database)

    assert [(row.table, row.key, row.column, row.message) for row in error.rows] == [("tool", "2", column, told)]
    assert f"rows of the file are not what the app writes: tool 2: {column} {told}; choose another" in str(error)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("moment", "'2025-01-01 00:00:00'"),
        ("wide", "NULL"),
        ("settings", "'null'"),
        ("settings", "NULL"),
        ("wear", "-2147483648"),
        ("name", "''"),
        ("speed", "7"),
    ],
)
def test_what_an_older_version_or_another_writer_may_have_written_passes(
    backup: Path, tools: ModelAccessor[Any], column: str, value: str
) -> None:
    change(backup, f'UPDATE tool SET "{column}" = {value} WHERE id = 2')  # noqa: S608 - our own values

    restore(backup)

    assert len(tools.all()) == 3


def test_a_key_that_cannot_be_read_is_shown_as_it_can(backup: Path, database: Path) -> None:
    change(backup, "INSERT INTO label VALUES (x'00ff', 'a'), (CAST(x'0aff' AS TEXT) || hex(zeroblob(90)), 'b')")

    error = refused(backup, database)

    assert [(row.key, row.column) for row in error.rows] == [("00ff", "code"), (f"??{'0' * 58}", "code")]


def test_no_more_bad_rows_are_told_than_help(backup: Path, database: Path) -> None:
    change(
        backup,
        "INSERT INTO label WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 5000)"
        " SELECT i, x'ff' FROM n",
    )

    error = refused(backup, database)

    assert len(error.rows) == MOST_BAD_ROWS
    assert str(error).count("label") == 5


def test_the_audit_trail_may_hold_what_older_versions_wrote(backup: Path) -> None:
    change(backup, """UPDATE auditlog SET after = '{"speed": NaN, "id": 1180591620717411303424}' WHERE id = 1""")

    restore(backup)


def test_the_audit_trail_must_be_readable(backup: Path, database: Path) -> None:
    change(backup, "UPDATE auditlog SET timestamp = 'then', after = '{' WHERE id = 1")

    error = refused(backup, database)

    assert {(row.table, row.column) for row in error.rows} == {("auditlog", "timestamp"), ("auditlog", "after")}


def test_a_dry_run_tells_of_them_and_without_the_check_they_are_restored(
    backup: Path, database: Path, tools: ModelAccessor[Any]
) -> None:
    change(backup, "UPDATE tool SET state = 'running' WHERE id = 2")
    refused(backup, database, dry_run=True)

    restore(backup, integrity_check=False)

    with pytest.raises(LookupError):
        tools.all()
    assert tools.get(1) is not None
