"""The door: which database a process uses."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage import database
from storage.database import after_commit, current_database, get_engine, in_thread, set_database_url, transaction
from storage.errors import ConfigurationError


@pytest.fixture(autouse=True)
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No database is open yet."""
    monkeypatch.setattr(database, "_door", database._Door())
    yield
    monkeypatch.delenv("VENTION_STORAGE_BUSY_TIMEOUT", raising=False)
    set_database_url("sqlite://")


def path_of(engine: sa.Engine) -> str | None:
    return engine.url.database


def test_without_a_word_it_is_a_file_in_the_folder() -> None:
    assert path_of(get_engine()) == "./storage.db"


def test_the_environment_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTION_STORAGE_DATABASE_URL", "sqlite:///./environment.db")

    assert path_of(get_engine()) == "./environment.db"


def test_what_was_set_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTION_STORAGE_DATABASE_URL", "sqlite:///./environment.db")
    set_database_url("sqlite:///./set.db")

    assert path_of(get_engine()) == "./set.db"


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    set_database_url("sqlite:///./later.db")
    get_engine()

    assert list(tmp_path.iterdir()) == []


def test_the_same_url_keeps_the_engine_and_another_one_opens_another() -> None:
    set_database_url("sqlite:///./one.db")
    engine = get_engine()
    set_database_url("sqlite:///./one.db")
    assert get_engine() is engine
    set_database_url("sqlite:///./two.db")

    assert get_engine() is not engine


@pytest.mark.parametrize("url", ["", "machine.db", "sqlite", "://", "mysql://host/name", "nonsense:///x"])
def test_a_url_that_is_none_is_refused_at_once_and_changes_nothing(url: str) -> None:
    set_database_url("sqlite:///./one.db")
    with pytest.raises(ConfigurationError, match="sqlite:///"):
        set_database_url(url)

    assert path_of(get_engine()) == "./one.db"


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        set_database_url("mysql://maria:secret@host/name")

    assert "secret" not in str(caught.value)


def test_a_driver_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    set_database_url("postgresql://host/name")

    with pytest.raises(ConfigurationError, match=r"driver of postgresql .*install"):
        get_engine()


@pytest.mark.parametrize("driver", ["pg8000", "psycopg2", "asyncpg"])
def test_another_driver_of_postgresql_is_refused(driver: str) -> None:
    set_database_url(f"postgresql+{driver}://host/name")

    with pytest.raises(ConfigurationError, match=rf"driver {driver}; .*postgresql://"):
        get_engine()


@pytest.mark.parametrize("timeout", ["soon", "", "0", "-1", "nan", "inf"])
def test_a_busy_timeout_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, timeout: str) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", timeout)

    with pytest.raises(ConfigurationError, match="VENTION_STORAGE_BUSY_TIMEOUT"):
        get_engine()


def test_a_sqlite_file_is_durable_and_checks_its_references() -> None:
    set_database_url("sqlite:///./machine.db")
    with get_engine().connect() as connection:
        pragmas = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}

    assert pragmas == PRAGMAS


PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_database_in_memory_is_one_for_all_connections() -> None:
    set_database_url("sqlite://")
    with transaction() as session:
        session.connection().exec_driver_sql("CREATE TABLE note (text TEXT)")
    with get_engine().connect() as one, get_engine().connect() as two:
        assert one.exec_driver_sql("SELECT * FROM note").all() == two.exec_driver_sql("SELECT * FROM note").all() == []


def test_the_dialect_fits_the_url() -> None:
    set_database_url("sqlite://")

    assert current_database().dialect.name == "sqlite"
    assert current_database().dialect.reads_inline


def test_a_callback_outside_a_transaction_runs_now_and_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        after_commit(lambda: 1 / 0)  # type: ignore[arg-type]


async def test_in_thread_passes_arguments_results_and_exceptions() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    assert await in_thread(sorted, [1, 2], reverse=True) == [2, 1]
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


async def test_in_thread_leaves_the_loop_free() -> None:
    loop, seen = asyncio.get_running_loop(), asyncio.Event()

    def work() -> None:
        asyncio.run_coroutine_threadsafe(see(), loop).result(timeout=10)

    async def see() -> None:
        seen.set()

    await in_thread(work)

    assert seen.is_set()
