"""Bootstrapping real databases, in one process and in many."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, String, Table, event, inspect
from sqlmodel import SQLModel

from storage import database
from storage.bootstrap import bootstrap
from storage.database import get_engine, set_database_url
from storage.dialects.sqlite_driver import DRIVER
from storage.errors import ConfigurationError, DatabaseBusy, SchemaMismatch
from storage.schema.ids import reserve_ids

PROCESSES = 6
# What a process of an app does; it waits for a line on its input, so that all start together.
PROGRAM = """
import sys
from sqlmodel import Field, SQLModel
from storage.bootstrap import bootstrap

class Recipe(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)

print("ready", flush=True)
sys.stdin.readline()
bootstrap(database_url=sys.argv[1])
"""


@pytest.fixture(autouse=True)
def closed_database() -> Iterator[None]:
    yield
    set_database_url("sqlite://")


@pytest.fixture
def recipe() -> Iterator[Table]:
    """The table of a model."""
    key = Column("id", Integer, primary_key=True)
    table = Table("recipe", SQLModel.metadata, key, Column("name", String, nullable=False))
    yield table
    SQLModel.metadata.remove(table)


def tables(path: Path) -> set[str]:
    database = DRIVER.connect(str(path))
    found = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    database.close()
    return found


def statement(path: Path, sql: str) -> None:
    database = DRIVER.connect(str(path))
    database.execute(sql)
    database.commit()
    database.close()


def test_it_makes_the_tables_of_the_models_and_the_audit_trail(recipe: Table, tmp_path: Path) -> None:
    bootstrap(database_url="sqlite:///./made.db")

    assert tables(tmp_path / "made.db") == {"recipe", "auditlog", "sqlite_sequence"}


def test_without_a_url_the_environment_decides_then_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(database, "_door", database._Door())
    bootstrap()
    assert get_engine().url.database == "./storage.db"

    monkeypatch.setenv("VENTION_STORAGE_DATABASE_URL", "sqlite:///./named.db")
    bootstrap()
    assert get_engine().url.database == "./named.db"

    bootstrap(database_url="sqlite:///./argued.db")
    assert get_engine().url.database == "./argued.db"


def test_a_url_that_was_set_stays_when_bootstrap_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTION_STORAGE_DATABASE_URL", "sqlite:///./named.db")
    set_database_url("sqlite:///./chosen.db")
    bootstrap()
    assert get_engine().url.database == "./chosen.db"


def test_a_second_call_changes_nothing(recipe: Table) -> None:
    bootstrap(database_url="sqlite:///./twice.db")
    engine = get_engine()
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2].lstrip()))

    bootstrap(database_url="sqlite:///./twice.db")

    assert get_engine() is engine
    assert all(text.startswith(("SELECT", "PRAGMA")) for text in statements)


def test_another_url_closes_the_first_database() -> None:
    bootstrap(database_url="sqlite:///./first.db")
    first = get_engine()
    closed: list[object] = []
    event.listen(first, "close", lambda *arguments: closed.append(arguments))

    bootstrap(database_url="sqlite:///./second.db")

    assert get_engine() is not first
    assert closed


def test_a_difference_is_refused_with_the_sql_that_mends_it(recipe: Table, tmp_path: Path) -> None:
    statement(tmp_path / "old.db", "CREATE TABLE recipe (id INTEGER PRIMARY KEY)")

    with pytest.raises(SchemaMismatch, match=r"column recipe\.name is missing") as caught:
        bootstrap(database_url="sqlite:///./old.db")

    statement(tmp_path / "old.db", next(line for line in str(caught.value).splitlines() if line.startswith("ALTER")))
    bootstrap(database_url="sqlite:///./old.db")


def test_without_create_tables_nothing_is_made(recipe: Table, tmp_path: Path) -> None:
    bootstrap(database_url="sqlite:///./empty.db", create_tables=False)

    assert tables(tmp_path / "empty.db") == set()


def test_without_create_tables_the_tables_that_are_there_are_compared(recipe: Table, tmp_path: Path) -> None:
    statement(tmp_path / "some.db", "CREATE TABLE recipe (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL)")

    with pytest.raises(SchemaMismatch, match="table auditlog is missing"):
        bootstrap(database_url="sqlite:///./some.db", create_tables=False)

    assert tables(tmp_path / "some.db") == {"recipe"}


def test_a_database_in_memory_works(recipe: Table) -> None:
    bootstrap(database_url="sqlite://")

    assert inspect(get_engine()).has_table("recipe")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///./nowhere/app.db", "the folder of the database nowhere/app.db does not exist; create it"),
        ("sqlite:///./folder", "the database folder is a directory; add the name of a file"),
        ("sqlite:///./letter.txt", "the file letter.txt is not a SQLite database; point the database URL at"),
        ("oracle://machine/app", "storage does not know the database kind 'oracle'; use sqlite"),
        ("my_app.db", "the database URL is not one; write it like sqlite:///./my_app.db"),
        ("postgresql://me:secret@127.0.0.1:1/app?sslcert=secret", "check the database URL, and that the server runs"),
    ],
)
def test_a_database_that_does_not_open_is_explained(tmp_path: Path, url: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "letter.txt").write_text("Dear customer, this is no database. " * 100)

    with pytest.raises(ConfigurationError) as caught:
        bootstrap(database_url=url)

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_read_only_database_is_explained_where_tables_must_be_made(recipe: Table, tmp_path: Path) -> None:
    statement(tmp_path / "app.db", "CREATE TABLE theirs (id)")

    with pytest.raises(ConfigurationError) as caught:
        bootstrap(database_url=f"sqlite:///file:{tmp_path}/app.db?mode=ro&uri=true")

    hint = "make the database file and its folder writable"
    expected = f"file:{tmp_path}/app.db cannot be used: attempt to write a readonly database; {hint}"
    assert str(caught.value) == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_file_that_may_not_be_read_is_explained(tmp_path: Path) -> None:
    (tmp_path / "app.db").touch(mode=0o000)

    with pytest.raises(ConfigurationError, match="cannot be opened: permission denied; let this user read and write"):
        bootstrap(database_url="sqlite:///./app.db")


def test_a_read_only_database_with_all_its_tables_opens(recipe: Table, tmp_path: Path) -> None:
    bootstrap(database_url="sqlite:///./app.db")

    bootstrap(database_url=f"sqlite:///file:{tmp_path}/app.db?mode=ro&uri=true")

    assert inspect(get_engine()).has_table("recipe")


def test_a_database_that_another_process_keeps_locked_is_busy(
    recipe: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", "0.05")
    statement(tmp_path / "app.db", "PRAGMA journal_mode = WAL")
    other = DRIVER.connect(str(tmp_path / "app.db"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(DatabaseBusy):
        bootstrap(database_url="sqlite:///./app.db")

    other.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_many_processes_may_bootstrap_the_same_fresh_database_at_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/app.db" if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    command = [sys.executable, "-c", PROGRAM, url]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [(process.communicate(timeout=30)[1], process.returncode) for process in processes]

    assert ends == [("", 0)] * PROCESSES
    set_database_url(url)
    assert {"recipe", "auditlog"} <= set(inspect(get_engine()).get_table_names())
    if kind == "postgresql":
        with get_engine().begin() as connection:
            connection.exec_driver_sql("DROP TABLE recipe, auditlog")


def test_postgresql_gives_no_id_out_twice(postgresql_url: str, recipe: Table) -> None:
    bootstrap(database_url=postgresql_url)
    bootstrap(database_url=postgresql_url)

    with get_engine().begin() as connection:
        connection.exec_driver_sql("INSERT INTO recipe (name) VALUES ('a'), ('b')")
        connection.exec_driver_sql("DELETE FROM recipe WHERE id = 2")
        connection.exec_driver_sql("INSERT INTO recipe (name) VALUES ('c')")
        assert connection.exec_driver_sql("SELECT max(id) FROM recipe").scalar() == 3
        for floor in (40, 5):
            reserve_ids(connection, recipe, floor)
        connection.exec_driver_sql("INSERT INTO recipe (name) VALUES ('d')")
        assert connection.exec_driver_sql("SELECT max(id) FROM recipe").scalar() == 41
        connection.exec_driver_sql("DROP TABLE recipe, auditlog")
