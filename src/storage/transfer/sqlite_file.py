"""SQLite files: the live one of this process, and private ones that are being made or examined."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sqlalchemy import Engine

from storage.database import current_database
from storage.dialects.sqlite_driver import DRIVER
from storage.dialects.sqlite_errors import meaning_of
from storage.dialects.write_gate import WriteGate
from storage.errors import DatabaseDamaged, NotSupported
from storage.scope import translated

_STEP = 4096
"""Pages that are copied between two calls of a progress callback."""

Progress = Callable[[int, int], None]
"""Called with the pages that are copied and the pages that there are."""


@dataclass(frozen=True, kw_only=True)
class LiveDatabase:
    """The SQLite database that this process works on."""

    engine: Engine
    """Its engine."""
    gate: WriteGate
    """The gate that its writers pass."""
    path: Path | None
    """Its file, None for one in memory."""

    def owns(self, path: Path) -> bool:
        """Whether a path leads to its file, or to one that SQLite has beside it."""
        if self.path is None:
            return False
        own = (self.path, *(self.path.with_name(f"{self.path.name}-{kind}") for kind in ("wal", "shm", "journal")))
        return any(path.exists() and item.exists() and path.samefile(item) for item in own)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of the driver's, in autocommit, for as long as the block runs."""
        pooled = self.engine.raw_connection()
        try:
            yield cast(sqlite3.Connection, pooled.driver_connection)
        finally:
            pooled.close()


def live_database(task: str, instead: str) -> LiveDatabase:
    """The database of this process, which must be SQLite.

    Args:
        task: What is to be done, to be read after "storage cannot": `back up`.
        instead: What to do on a server.

    Raises:
        NotSupported: It is a server, which has tools of its own.
    """
    database = current_database()
    gate = database.dialect.gate_of(database.engine)
    if gate is None:
        raise NotSupported(f"storage cannot {task} a {database.engine.dialect.name} database", hint=instead)
    return LiveDatabase(engine=database.engine, gate=gate, path=database_file())


def database_file() -> Path | None:
    """The file of the database that this process works on, None for one in memory and for a server."""
    database = current_database()
    if database.dialect.gate_of(database.engine) is None:
        return None
    with translated(database.dialect):
        driver = database.engine.raw_connection()
    try:
        (_, _, path), *_ = cast(sqlite3.Connection, driver.driver_connection).execute("PRAGMA database_list").fetchall()
    finally:
        driver.close()
    return Path(path) if path else None


@contextmanager
def private_connection(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file that no other connection has, perhaps one from outside.

    Args:
        path: The file; an empty one becomes a database.
    """
    with closing(DRIVER.connect(str(path), isolation_level=None)) as connection:
        distrust(connection)
        connection.execute("PRAGMA synchronous = OFF")  # whoever keeps the file makes it durable when it is finished
        yield connection


def distrust(connection: sqlite3.Connection) -> None:
    """Let a connection trust nothing that stands in its file.

    Source: "Defense Against The Dark Arts", https://www.sqlite.org/security.html
    """
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")


def copy_database(source: sqlite3.Connection, path: Path, progress: Progress | None = None) -> None:
    """Copy what is committed now into a file of its own, whatever others write meanwhile; neither waits for the other.

    It is one snapshot of the source: a copy in steps that gave it up in between would start anew after each write.

    Args:
        source: A connection without a transaction.
        path: The file to make: one that needs no other beside it.
        progress: Called now and then, and at the end.
    """

    def step(status: int, remaining: int, total: int) -> None:
        if progress is not None and status in {DRIVER.SQLITE_OK, DRIVER.SQLITE_DONE}:
            progress(total - remaining, total)

    path.touch(mode=0o600)
    with private_connection(path) as target:
        target.execute("PRAGMA journal_mode = OFF")  # nobody uses what is not finished
        source.execute("BEGIN")
        try:
            source.execute("SELECT 1 FROM sqlite_schema").fetchall()
            source.backup(target, pages=_STEP, progress=step)
        finally:
            source.rollback()
        target.execute("PRAGMA journal_mode = DELETE")  # the copy says WAL as the source does


def is_sound(connection: sqlite3.Connection, check: str = "quick_check") -> bool:
    """Whether a database passes a check of SQLite's, `quick_check` or `integrity_check`."""
    try:
        return connection.execute(f"PRAGMA {check}(1)").fetchall() == [("ok",)]
    except DRIVER.DatabaseError as error:
        if isinstance(meaning_of(error), DatabaseDamaged):  # so much that the check gives up
            return False
        raise
