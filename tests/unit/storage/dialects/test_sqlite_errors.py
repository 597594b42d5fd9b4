"""What SQLite's errors mean; the errors are made by SQLite itself, so that a change of its texts is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.dialects.sqlite_driver import DRIVER
from storage.dialects.sqlite_errors import meaning_of
from storage.errors import (
    ConfigurationError,
    ConstraintViolation,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnavailable,
    DuplicateRecord,
    ForeignKeyViolation,
    StorageError,
)

TABLES = """
    PRAGMA foreign_keys = ON;
    CREATE TABLE shelf (id INTEGER PRIMARY KEY, name TEXT NOT NULL, row INT, place INT CHECK (place > 0),
        UNIQUE (row, place));
    CREATE UNIQUE INDEX lowered ON shelf (lower(name));
    CREATE TABLE bin (id TEXT PRIMARY KEY, shelf INTEGER REFERENCES shelf);
    INSERT INTO shelf VALUES (1, 'A', 1, 1);
    INSERT INTO bin VALUES ('b', 1);
"""


@pytest.fixture
def connection() -> Iterator[Any]:
    connection = DRIVER.connect(":memory:", isolation_level=None)
    connection.executescript(TABLES)
    yield connection
    connection.close()


def meaning(connection: Any, statement: str) -> StorageError:
    with pytest.raises(DRIVER.DatabaseError) as caught:
        connection.execute(statement)
    found = meaning_of(caught.value)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("INSERT INTO shelf VALUES (1, 'B', 2, 2)", ("id",)),
        ("INSERT INTO shelf VALUES (2, 'B', 1, 1)", ("row", "place")),
        ("INSERT INTO shelf VALUES (2, 'a', 2, 2)", ()),
        ("INSERT INTO bin VALUES ('b', 1)", ("id",)),
    ],
)
def test_a_duplicate_names_its_columns(connection: Any, statement: str, columns: tuple[str, ...]) -> None:
    error = meaning(connection, statement)

    assert isinstance(error, DuplicateRecord)
    assert error.columns == columns


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("INSERT INTO bin VALUES ('c', 404)", ForeignKeyViolation),
        ("DELETE FROM shelf", ForeignKeyViolation),
        ("INSERT INTO shelf VALUES (2, NULL, 2, 2)", ConstraintViolation),
        ("INSERT INTO shelf VALUES (2, 'B', 2, 0)", ConstraintViolation),
        ("SELECT * FROM missing", ConfigurationError),
        ("SELECT missing FROM shelf", ConfigurationError),
        ("INSERT INTO shelf (missing) VALUES (1)", ConfigurationError),
    ],
)
def test_kinds_of_errors(connection: Any, statement: str, kind: type[StorageError]) -> None:
    assert type(meaning(connection, statement)) is kind


def test_a_full_database(connection: Any) -> None:
    connection.execute("PRAGMA max_page_count = 1")

    error = meaning(connection, "INSERT INTO shelf VALUES (2, hex(randomblob(100000)), 2, 2)")
    assert type(error) is DatabaseUnavailable
    assert error.hint
    assert "disk space" in error.hint


def test_a_read_only_and_a_locked_file(tmp_path: Path) -> None:
    path = tmp_path / "machine.db"
    writer = DRIVER.connect(str(path), isolation_level=None)
    writer.executescript(TABLES)
    reader = DRIVER.connect(f"file:{path}?mode=ro", uri=True, timeout=0, isolation_level=None)
    other = DRIVER.connect(str(path), timeout=0, isolation_level=None)
    try:
        assert type(meaning(reader, "DELETE FROM bin")) is DatabaseUnavailable
        writer.execute("BEGIN IMMEDIATE")
        assert type(meaning(other, "BEGIN IMMEDIATE")) is DatabaseBusy
    finally:
        for connection in (reader, other, writer):
            connection.close()


def test_a_file_that_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(DRIVER.OperationalError) as caught:
        DRIVER.connect(str(tmp_path / "nowhere" / "machine.db"))
    assert type(meaning_of(caught.value)) is DatabaseUnavailable

    (tmp_path / "notes.txt").write_text("no database at all, however long it is" * 100)
    connection = DRIVER.connect(str(tmp_path / "notes.txt"), isolation_level=None)
    assert type(meaning(connection, "SELECT * FROM sqlite_schema")) is DatabaseUnavailable
    connection.close()


def test_a_damaged_file(connection: Any, tmp_path: Path) -> None:
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE shelf (' WHERE name = 'shelf'")
    connection.execute("PRAGMA writable_schema = RESET")
    assert type(meaning(connection, "SELECT * FROM sqlite_schema")) is DatabaseDamaged
    assert type(meaning_of(DRIVER.DatabaseError("database disk image is malformed"))) is DatabaseDamaged


def test_what_is_no_error_of_a_database_has_no_meaning() -> None:
    assert meaning_of(ValueError("no")) is None
    assert meaning_of(DRIVER.OperationalError('near "SELEKT": syntax error')) is None
