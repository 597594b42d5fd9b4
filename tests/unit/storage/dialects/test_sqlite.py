"""The SQLite dialect: which statements open a write transaction, how it waits, and which decimals survive."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, make_url

from storage.dialects import sqlite_driver
from storage.dialects.sqlite import SQLITE
from storage.dialects.sqlite_driver import DRIVER
from storage.errors import DatabaseBusy


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = SQLITE.create_engine(make_url(f"sqlite:///{tmp_path}/machine.db"), busy_timeout=5)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM note",
        "  select 1",
        "PRAGMA user_version",
        "EXPLAIN DELETE FROM note",
        "VALUES (1)",
        "WITH found AS (SELECT 1) SELECT * FROM found",
    ],
)
def test_reading_opens_no_transaction(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(statement).close()
        assert not connection.connection.driver_connection.in_transaction  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO note DEFAULT VALUES",
        "DELETE FROM note",
        "-- a comment\nUPDATE note SET text = ''",
        "WITH found AS (SELECT 1) DELETE FROM note",
        "CREATE TABLE other (id INT)",
        "SAVEPOINT one",
    ],
)
def test_writing_opens_one(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
        assert connection.connection.driver_connection.in_transaction  # type: ignore[union-attr]


def test_a_transaction_that_is_left_is_undone(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO note DEFAULT VALUES")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM note").scalar() == 0


def test_the_lock_of_another_process_is_waited_for_and_not_for_ever(engine: Engine, tmp_path: Path) -> None:
    with contextlib.closing(
        DRIVER.connect(f"{tmp_path}/machine.db", isolation_level=None, check_same_thread=False)
    ) as rival:
        rival.execute("BEGIN IMMEDIATE")
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            with pytest.raises(DatabaseBusy, match="another process"):
                driver.begin_write(0.05)
            waiting = threading.Timer(0.05, rival.rollback)
            waiting.start()
            driver.begin_write(20)
            assert driver.in_transaction
            waiting.join()


def test_a_long_read_does_not_hold_up_every_commit(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit waits for the read, to start the log anew, and the next one to do so finds the log grown by half."""
    monkeypatch.setattr(sqlite_driver, "LOG_LIMIT", 0)
    monkeypatch.setattr(sqlite_driver, "_LOG_PATIENCE", 0.01)
    log, attempts = tmp_path / "machine.db-wal", []

    def write() -> None:
        with engine.begin() as connection:
            driver: Any = connection.connection.driver_connection
            driver.set_trace_callback(lambda text: attempts.append(log.stat().st_size) if "RESTART" in text else None)
            connection.exec_driver_sql("INSERT INTO note (text) VALUES (?)", ("x" * 4000,))

    with contextlib.closing(DRIVER.connect(f"{tmp_path}/machine.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM note").fetchall()
        for _ in range(64):
            write()
        assert 1 < len(attempts) < 20
        assert all(later > 1.5 * earlier for earlier, later in itertools.pairwise(attempts))
        reader.rollback()
    while attempts[-1] != attempts[-2]:  # the read has ended: an attempt succeeds, and each commit makes one again
        write()


def test_a_connection_that_has_written_waits_for_other_locks_as_long_as_before(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO note DEFAULT VALUES")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5000


@given(
    st.decimals(min_value=-(10**14), max_value=10**14, places=4)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.decimals(min_value=-1, max_value=1, places=12)
)
def test_a_decimal_that_is_said_to_be_kept_is_kept(value: Decimal) -> None:
    column: Any = sa.Numeric(asdecimal=True)
    process = column.result_processor(sa.create_engine("sqlite://").dialect, None)
    assert process is not None

    if SQLITE.keeps_decimal(value, 10):
        assert process(float(value)) == value
