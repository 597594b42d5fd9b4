"""Databases that cannot be used: a clear error, nothing written, and work goes on once they can be used again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlmodel import Session

from storage import database
from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import get_engine, set_database_url, transaction, use_session
from storage.dialects.sqlite_driver import DRIVER
from storage.errors import ConfigurationError, DatabaseBusy, DatabaseUnavailable
from tests.integration.storage.conftest import Audit, make_tables
from tests.integration.storage.models import Bin, Recipe

Open = Callable[[str], None]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a database by its URL."""
    monkeypatch.setattr(database, "_door", database._Door())
    yield set_database_url
    set_database_url("sqlite://")


@pytest.fixture
def file(opened: Open, tmp_path: Path) -> Path:
    """A SQLite file with the tables of the models and one bin."""
    path = tmp_path / "machine.db"
    opened(f"sqlite:///{path}")
    make_tables(get_engine())
    ModelAccessor(Bin, "bins").insert(Bin(code="A0"))
    return path


@pytest.fixture
def bins() -> ModelAccessor[Bin]:
    return ModelAccessor(Bin, "bins")


@pytest.fixture
def audit_of_file(file: Path) -> Audit:
    trail = ModelAccessor(AuditLog, "audit", enable_auditing=False)
    return trail.all


def test_a_read_only_database_can_be_read_and_refuses_writes(
    file: Path, opened: Open, bins: ModelAccessor[Bin]
) -> None:
    opened(f"sqlite:///file:{file}?mode=ro&uri=true")
    record = bins.get(1)
    assert record is not None
    record.capacity = 5
    new = Bin(code="A1")
    writes: list[Callable[[], object]] = [
        lambda: bins.insert(new),
        lambda: bins.insert_many([new]),
        lambda: bins.save(record),
        lambda: bins.delete(1),
    ]

    for write in writes:
        with pytest.raises(DatabaseUnavailable, match="writable") as caught:
            write()
        assert not isinstance(caught.value, DatabaseBusy)
        assert file.name not in str(caught.value)
    with pytest.raises(DatabaseUnavailable, match="writable"), transaction() as session:
        session.add(Bin(code="A2"))
    with pytest.raises(DatabaseUnavailable, match="writable"), use_session() as session:
        session.add(Bin(code="A2"))

    assert new.id is None
    assert [(found.code, found.capacity) for found in bins.all()] == [("A0", 0)]


def test_a_folder_that_is_not_there(opened: Open, tmp_path: Path, bins: ModelAccessor[Bin]) -> None:
    opened(f"sqlite:///{tmp_path}/nowhere/machine.db")

    for call in (bins.all, lambda: bins.insert(Bin(code="A1"))):
        with pytest.raises(DatabaseUnavailable, match="folder"):
            call()


def test_a_folder_that_comes_later(opened: Open, tmp_path: Path, bins: ModelAccessor[Bin]) -> None:
    opened(f"sqlite:///{tmp_path}/later/machine.db")
    with pytest.raises(DatabaseUnavailable):
        bins.all()

    (tmp_path / "later").mkdir()
    make_tables(get_engine())

    assert bins.insert(Bin(code="A1")).id == 1


def test_a_file_that_is_no_database(opened: Open, tmp_path: Path, bins: ModelAccessor[Bin]) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to have a header" * 100)
    opened(f"sqlite:///{tmp_path}/notes.txt")

    for call in (bins.all, lambda: bins.insert(Bin(code="A1"))):
        with pytest.raises(DatabaseUnavailable, match="SQLite file"):
            call()


def test_a_database_without_tables_says_what_to_do(opened: Open, tmp_path: Path, bins: ModelAccessor[Bin]) -> None:
    opened(f"sqlite:///{tmp_path}/empty.db")

    for call in (bins.all, lambda: bins.insert(Bin(code="A1"))):
        with pytest.raises(ConfigurationError, match=r"bootstrap\(\)"):
            call()


def test_tables_that_count_no_ids_can_be_written(opened: Open, tmp_path: Path) -> None:
    opened(f"sqlite:///{tmp_path}/theirs.db")
    with transaction() as session:
        for statement in THEIR_TABLES:
            session.connection().exec_driver_sql(statement)

    for code in ("A1", "A2"):  # the second accessor asks the audit trail for ids that must not come back
        ModelAccessor(Bin, "bins").insert(Bin(code=code))

    assert [found.code for found in ModelAccessor(Bin, "bins").all()] == ["A1", "A2"]


THEIR_TABLES = (
    "CREATE TABLE bin (id INTEGER PRIMARY KEY, code VARCHAR, capacity INTEGER)",
    """CREATE TABLE auditlog (id INTEGER PRIMARY KEY, timestamp DATETIME, component VARCHAR, record_id INTEGER,
        record_key VARCHAR, operation VARCHAR, actor VARCHAR, before JSON, after JSON)""",
)


def test_a_full_disk(file: Path, opened: Open, bins: ModelAccessor[Bin], audit_of_file: Audit) -> None:
    opened("sqlite://")
    opened(f"sqlite:///{file}")
    full = True

    @event.listens_for(get_engine(), "connect")
    def shrink(connection: sqlite3.Connection, _record: object) -> None:
        if full:
            connection.execute("PRAGMA max_page_count = 1")  # which means: no more than there are

    recipes = ModelAccessor(Recipe, "recipes")
    big = Recipe(name="a", settings={"text": "x" * 1_000_000})
    with pytest.raises(DatabaseUnavailable, match="disk space"):
        recipes.insert(big)
    with pytest.raises(DatabaseUnavailable, match="disk space"), transaction():
        bins.delete(1)
        recipes.insert(big)
    assert big.id is None
    assert recipes.all() == []
    assert len(bins.all()) == len(audit_of_file()) == 1

    full = False
    opened("sqlite://")
    opened(f"sqlite:///{file}")
    assert recipes.insert(big).id == 1


def test_a_file_that_another_program_locks(
    monkeypatch: pytest.MonkeyPatch, file: Path, opened: Open, bins: ModelAccessor[Bin]
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", "0.2")
    opened("sqlite://")
    opened(f"sqlite:///{file}")
    other = DRIVER.connect(str(file), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    new = Bin(code="A1")

    with pytest.raises(DatabaseBusy, match="VENTION_STORAGE_BUSY_TIMEOUT"):
        bins.insert(new)
    assert new.id is None
    assert len(bins.all()) == 1
    other.execute("ROLLBACK")
    other.close()

    assert bins.insert(new).id == 2


@pytest.mark.parametrize("timeout", ["soon", "", "0", "-1", "nan", "inf"])
def test_a_busy_timeout_that_is_none(
    monkeypatch: pytest.MonkeyPatch, opened: Open, tmp_path: Path, timeout: str
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", timeout)
    opened(f"sqlite:///{tmp_path}/machine.db")

    with pytest.raises(ConfigurationError, match="VENTION_STORAGE_BUSY_TIMEOUT"):
        get_engine()


@pytest.mark.parametrize("step", ["savepoint", "release_savepoint"])
def test_a_part_of_a_transaction_that_cannot_begin_or_end(file: Path, bins: ModelAccessor[Bin], step: str) -> None:
    def fail(*_arguments: object) -> None:
        raise DRIVER.OperationalError("disk I/O error")

    new = Bin(code="A1")
    with pytest.raises(DatabaseUnavailable, match="check the disk"), transaction():
        event.listen(get_engine(), step, fail)
        bins.insert(new)
    event.remove(get_engine(), step, fail)

    assert new.id is None
    assert [found.code for found in bins.all()] == ["A0"]
    assert bins.insert(new).id == 2


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_server_that_ends_a_transactions_connection(engine: Engine, url: str) -> None:
    bins = ModelAccessor(Bin, "bins")
    killer = create_engine(url, isolation_level="AUTOCOMMIT")

    def end(session: Session) -> None:
        backend = session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with killer.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({backend}, 10000)")

    with pytest.raises(DatabaseUnavailable), transaction() as session:
        bins.insert(Bin(code="A1"))
        end(session)
        bins.insert(Bin(code="A2"))
    bins.after_insert()(lambda session, instance: end(session))
    with pytest.raises(DatabaseUnavailable), transaction():
        bins.insert(Bin(code="A3"))
    killer.dispose()

    assert bins.all() == []


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_lost_connection_hides_no_error_of_an_inner_transaction(engine: Engine, url: str) -> None:
    killer = create_engine(url, isolation_level="AUTOCOMMIT")
    with pytest.raises(LookupError), transaction(), transaction() as session:
        backend = session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with killer.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({backend}, 10000)")
        raise LookupError
    killer.dispose()

    assert ModelAccessor(Bin, "bins").all() == []
