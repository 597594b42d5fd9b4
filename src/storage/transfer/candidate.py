"""Candidates: files from outside that are to become the database, examined before anything of them is used."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import URL, Connection, Dialect, Engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from storage.dialects.sqlite import SQLITE
from storage.dialects.sqlite_errors import meaning_of
from storage.errors import BackupInvalid, DatabaseUnavailable
from storage.schema.comparison import compare
from storage.schema.table_text import quote
from storage.schema.upgrade import upgrade
from storage.transfer.rows import bad_rows
from storage.transfer.sqlite_file import LiveDatabase, distrust, is_sound, private_connection
from storage.transfer.traits import Traits, traits_of

logger = logging.getLogger("storage")

_CHUNK = 1 << 20
_HEADER = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html
_ENCODINGS = (1, 2, 3)
_MOST_NAMED = 5
_OWN_FAULTS = ("disk is full", "disk I/O error", "unable to open", "is locked")  # what is no fault of the file
_ANOTHER = "choose another backup"

_HIGHEST_COUNT = 2**63 - 2  # one more, and SQLite has no key left for the next row


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file that passed every check, ready to become the database."""

    path: Path
    """The private copy, as it would be copied into the database."""
    sha256: str
    """The SHA-256 of the file as it came, in hexadecimal digits."""
    size: int
    """Its length as it came, in bytes."""
    rows: Mapping[str, int]
    """How many rows each table has."""

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """An engine on the private copy, closed after the block."""
        with _engine_on(self.path) as engine:
            yield engine


def take_candidate(
    source: BinaryIO, live: LiveDatabase, room: Path, *, integrity_check: bool, max_bytes: int
) -> Candidate:
    """Copy a file into a workspace and examine it; a copy of version 0.6 is brought up to date.

    Args:
        source: The file.
        live: The database that it would replace.
        room: The workspace.
        integrity_check: Whether indexes are compared with their tables, and constraints and models with the rows, too,
            which takes longer.
        max_bytes: The largest file that is taken.

    Raises:
        BackupInvalid: The file is not a sound database with the tables of the models.
        DatabaseUnavailable: The disk is full, or the database itself cannot be read.
    """
    path = room / "candidate.sqlite"
    digest, size = _receive(source, path, max_bytes)
    _check_encoding_number(path)
    with live.connection() as connection:
        expected = traits_of(connection)
    with faults_of_file("header"), private_connection(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version}")  # a file of a later format can be read, but not written
        _check_soundness(connection, integrity_check=integrity_check)
        _check_kind(connection, expected)
        if traits_of(connection).page_size != expected.page_size:
            path = _with_page_size(connection, expected.page_size, room / "resized.sqlite")
    rows = _check_tables(path)
    if integrity_check:
        _check_rows(path, live.engine.dialect)
    return Candidate(path=path, sha256=digest, size=size, rows=rows)


def _receive(source: BinaryIO, path: Path, max_bytes: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    path.touch(mode=0o600)
    with path.open("wb") as file:
        while chunk := source.read(_CHUNK):
            if not size and not chunk.startswith(_HEADER):
                raise BackupInvalid("the file is not a SQLite database", check="header", hint=_ANOTHER)
            size += len(chunk)
            if size > max_bytes:
                message = f"the file is larger than {max_bytes} bytes"
                raise BackupInvalid(message, check="size", hint="allow more with max_bytes")
            digest.update(chunk)
            file.write(chunk)
    if not size:
        raise BackupInvalid("the file is empty", check="header", hint=_ANOTHER)
    return digest.hexdigest(), size


def _check_encoding_number(path: Path) -> None:
    """Refuse a number that a connection takes for UTF-8 when it opens the file, but not when it has it open."""
    with path.open("rb") as file:
        header = file.read(100)
    if int.from_bytes(header[56:60], "big") not in _ENCODINGS:
        raise BackupInvalid("the file does not say how it keeps text", check="header", hint=_ANOTHER)


def _check_soundness(connection: sqlite3.Connection, *, integrity_check: bool) -> None:
    checks = ["quick_check", "integrity_check"] if integrity_check else ["quick_check"]
    for check in checks:
        with faults_of_file(check):
            if not is_sound(connection, check):
                raise BackupInvalid(f"the file is damaged: {check} fails", check=check, hint=_ANOTHER)
    with faults_of_file("foreign_key_check"):
        orphans = connection.execute("PRAGMA foreign_key_check").fetchmany(1)
        if orphans:
            message = f"rows of {orphans[0][0]} refer to rows of {orphans[0][2]} that are not there"
            raise BackupInvalid(message, check="foreign_key_check", hint=_ANOTHER)


def _check_kind(connection: sqlite3.Connection, expected: Traits) -> None:
    with faults_of_file("schema"):
        found = traits_of(connection)
        if found.encoding != expected.encoding:
            message = f"the file keeps text as {found.encoding}, the database as {expected.encoding}"
            raise BackupInvalid(message, check="schema", hint="copy its rows into a database of that encoding")
        if found.application not in {0, expected.application}:
            message = f"the file belongs to another application, with the application_id {found.application}"
            raise BackupInvalid(message, check="schema", hint=_ANOTHER)
        unexpected = found.beyond(expected)
        if unexpected:
            message = f"the file has what the database does not have: {_some(unexpected)}"
            hint = "remove it from the file, if it belongs to you"
            raise BackupInvalid(message, check="schema", hint=hint)


def _with_page_size(connection: sqlite3.Connection, page_size: int, path: Path) -> Path:
    """Write the database with another page size: a copy page by page must be of the size of the live one."""
    with faults_of_file("quick_check"):
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("VACUUM INTO ?", (str(path),))
    return path


def _check_tables(path: Path) -> dict[str, int]:
    """Compare the tables with the models and count their rows."""
    metadata = SQLModel.metadata
    with _engine_on(path) as engine, faults_of_file("schema"):
        upgrade(engine, metadata)
        differences = compare(engine, metadata)
        if differences:
            places = [f"{item.table}.{item.column}" if item.column else item.table for item in differences]
            lines = [f"{place} {item.what}" for place, item in zip(places, differences, strict=True)]
            message = f"the file is not what the models say: {_some(lines)}"
            raise BackupInvalid(message, check="schema", hint="choose a backup of this version of the app")
        with engine.connect() as connection:
            _check_counters(connection)
            names = connection.exec_driver_sql(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            ).scalars()
            counts = {
                name: connection.exec_driver_sql(f"SELECT count(*) FROM {quote(name)}").scalar_one()  # noqa: S608
                for name in sorted(names)
            }
    return counts


def _check_counters(connection: Connection) -> None:
    """Refuse a file that does not say which ids were given out."""
    if not connection.scalar(text("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'")):
        message = "the file has no AUTOINCREMENT keys, so ids could come back"
        raise BackupInvalid(message, check="schema", hint=_ANOTHER)
    odd = "SELECT name FROM sqlite_sequence WHERE typeof(seq) != 'integer' OR seq NOT BETWEEN 0 AND :highest"
    name = connection.scalar(text(odd), {"highest": _HIGHEST_COUNT})
    if name is not None:
        message = f"the file does not tell which ids of {name} come next"
        raise BackupInvalid(message, check="schema", hint=_ANOTHER)


def _check_rows(path: Path, dialect: Dialect) -> None:
    """Refuse rows that would make the calls that read them fail."""
    with faults_of_file("rows"), private_connection(path) as connection:
        found = bad_rows(connection, dialect, SQLModel.metadata)
    if found:
        message = f"rows of the file are not what the app writes: {_some([str(row) for row in found])}"
        hint = "choose another backup, or restore it without integrity_check"
        raise BackupInvalid(message, check="rows", rows=found, hint=hint)


@contextmanager
def _engine_on(path: Path) -> Iterator[Engine]:
    engine = SQLITE.create_engine(URL.create("sqlite", database=str(path)), busy_timeout=5)
    event.listen(engine, "connect", lambda connection, _record: distrust(connection))
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def faults_of_file(check: str) -> Iterator[None]:
    """Take what goes wrong with a file from outside for a fault of the file, except for a full disk and the like.

    Whatever SQLAlchemy and alembic make of a hostile schema counts as well, so every exception does.

    Args:
        check: What is being checked.

    Raises:
        BackupInvalid: In place of whatever the file caused.
        DatabaseUnavailable: It was the disk.
    """
    try:
        yield
    except (BackupInvalid, OSError):
        raise
    except Exception as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        told = cause if isinstance(cause, DatabaseUnavailable) else meaning_of(cause) if cause else None
        if any(fault in str(cause) for fault in _OWN_FAULTS) and told is not None:
            raise told from error
        logger.info("a file was refused by its %s", check, exc_info=error)
        message = "the file is damaged, or not a SQLite database that can be read"
        raise BackupInvalid(message, check=check, hint=_ANOTHER) from error


def _some(names: list[str]) -> str:
    text = ", ".join(names[:_MOST_NAMED])
    return f"{text} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else text
