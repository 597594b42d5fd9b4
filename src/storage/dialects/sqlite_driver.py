"""Which SQLite library this process uses, and its connections."""

from __future__ import annotations

import logging
import sqlite3
from types import ModuleType
from typing import TYPE_CHECKING, Any

from storage.dialects.sqlite_errors import meaning_of
from storage.dialects.write_gate import WriteGate

try:  # a bundled SQLite, where there is a wheel of it
    import pysqlite3.dbapi2 as bundled
except ImportError:  # pragma: no cover - depends on the platform
    bundled = sqlite3

logger = logging.getLogger("storage")

DRIVER: ModuleType = bundled
"""The DB-API module: the bundled SQLite where the platform has a wheel of it, else the one of Python."""


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Whether a SQLite version can corrupt a WAL database when two connections write or checkpoint at once.

    The bug is in 3.7.0 to 3.51.2, and mended in the branches 3.44 (from .6) and 3.50 (from .7);
    source: https://www.sqlite.org/wal.html#walresetbug

    Args:
        version: Major, minor and patch number.

    Example:
        >>> has_wal_reset_bug((3, 40, 1)), has_wal_reset_bug((3, 50, 7)), has_wal_reset_bug((3, 53, 4))
        (True, False, False)
    """
    mended = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}.get(version[:2], (3, 51, 3))
    return (3, 7, 0) <= version < mended


def warn_of_wal_reset_bug() -> None:
    """Log a warning when the SQLite library of this process has the bug."""
    if has_wal_reset_bug(DRIVER.sqlite_version_info):
        logger.warning(
            "SQLite %s can corrupt a database in WAL mode when two connections write at once; "
            "install pysqlite3 0.6.1 or newer, or a Python with SQLite 3.51.3 or newer",
            DRIVER.sqlite_version,
        )


if TYPE_CHECKING:
    _Connection = sqlite3.Connection
else:
    _Connection = DRIVER.Connection


class GatedConnection(_Connection):
    """A connection that passes the write gate before it opens a write transaction, and leaves it after the end."""

    gate: WriteGate
    _inside = False
    _busy_timeout = -1  # in milliseconds, as SQLite has it

    def begin_write(self) -> None:
        """Open a write transaction unless one is open.

        Raises:
            DatabaseUnavailable: The wait for the lock was too long or would never end, or SQLite refused.
            sqlite3.OperationalError: SQLite has rolled back the transaction that was open.
        """
        if self.in_transaction:
            return
        if self._inside:
            raise DRIVER.OperationalError(ROLLED_BACK)
        waited = self.gate.acquire()
        try:
            self._wait_at_most(self.gate.timeout - waited)
            self.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self.gate.release()
            if meaning := meaning_of(error):
                raise meaning from error
            raise
        self._inside = True

    def commit(self) -> None:
        """Commit, and let the next writer in; a transaction that SQLite has rolled back on its own is an error."""
        lost = self._inside and not self.in_transaction
        try:
            super().commit()
        finally:
            if not self.in_transaction:
                self._leave()
        if lost:
            raise DRIVER.OperationalError(ROLLED_BACK)

    def rollback(self) -> None:
        """Roll back, and let the next writer in."""
        try:
            super().rollback()
        finally:
            self._leave()

    def close(self) -> None:
        """Close; SQLite rolls back what was open."""
        try:
            super().close()
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._inside:
            self._inside = False
            self.gate.release()

    def _wait_at_most(self, seconds: float) -> None:
        """Give SQLite's own wait, for writers of other processes, what the gate has left of the timeout."""
        milliseconds = max(1, int(seconds * 1000))
        if milliseconds != self._busy_timeout:
            self.execute(f"PRAGMA busy_timeout = {milliseconds}")
            self._busy_timeout = milliseconds


ROLLED_BACK = "the transaction was rolled back by SQLite after an earlier error"


def connect(path: str, gate: WriteGate, **options: Any) -> GatedConnection:
    """Open a connection that belongs to a gate, durable and in autocommit until its first write.

    Args:
        path: A file's path, or a `file:` URI with `uri=True`.
        gate: The gate of the database.
        options: More arguments of the driver's `connect`.
    """
    connection: GatedConnection = DRIVER.connect(path, factory=GatedConnection, isolation_level=None, **options)
    connection.gate = gate
    connection.execute(f"PRAGMA busy_timeout = {int(gate.timeout * 1000)}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
        _use_wal(connection)
    return connection


def _use_wal(connection: GatedConnection) -> None:
    """Turn on the write-ahead log; it stays on in the file. A read-only file is left as it is."""
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except DRIVER.OperationalError as error:
        if "readonly" not in str(error):
            connection.close()
            raise
