"""Which SQLite library this process uses, and its connections."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

from storage.dialects.sqlite_errors import meaning_of
from storage.dialects.write_gate import WriteGate

try:  # a bundled SQLite, where there is a wheel of it
    import pysqlite3.dbapi2 as bundled
except ImportError:  # pragma: no cover - depends on the platform
    bundled = sqlite3

logger = logging.getLogger("storage")

LOG_LIMIT = 8 * 2**20
"""The size in bytes, of the write-ahead log, from which on a writer makes room in it."""
_LOG_PATIENCE = 0.5  # seconds
_BETWEEN_ATTEMPTS = 0.001  # seconds

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


class _File:
    """A file as it was when a connection opened it.

    Args:
        path: Where it is, empty for a database in memory.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._identity = self._look() if path else None

    def is_there(self) -> bool:
        """Whether the path still leads to it."""
        return not self._path or self._look() == self._identity

    def log_size(self) -> int:
        """The size of the write-ahead log in bytes."""
        try:
            return os.stat(f"{self._path}-wal").st_size if self._path else 0  # noqa: PTH116 - after every commit
        except OSError:
            return 0

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - on the way of every read, and Path costs several times that
        except OSError:
            return None
        return found.st_dev, found.st_ino


class GatedConnection(_Connection):
    """A connection that passes the write gate before it opens a write transaction, and leaves it after the end."""

    gate: WriteGate
    file: _File
    in_wal = False
    _inside = False
    _log_tolerated = 0  # the size of the log when it could not be started anew, in bytes
    _busy_timeout = -1  # in milliseconds, as SQLite has it

    def begin_write(self, timeout: float | None = None) -> None:
        """Open a write transaction unless one is open.

        Args:
            timeout: The longest wait for the lock, in seconds; None for that of the gate.

        Raises:
            DatabaseUnavailable: The wait for the lock was too long or would never end, or SQLite refused.
            sqlite3.OperationalError: SQLite has rolled back the transaction that was open.
        """
        if self.in_transaction:
            return
        if self._inside:
            raise DRIVER.OperationalError(ROLLED_BACK)
        patience = self.gate.timeout if timeout is None else timeout
        waited = self.gate.acquire(patience)
        try:
            self.check_file()
            self._take_lock(patience - waited)
        except BaseException as error:
            self.gate.release()
            if meaning := meaning_of(error):
                raise meaning from error
            raise
        self._inside = True

    def reset_wait(self) -> None:
        """Wait for locks, other than that of a write transaction, as long as the gate does."""
        self._wait_at_most(self.gate.timeout)

    def check_file(self) -> None:
        """Make sure that the path still leads to the file that this connection has open.

        SQLite goes on writing to a file that was removed or replaced, and all of that is lost with the last process
        that has it open (https://www.sqlite.org/howtocorrupt.html, section 2.5).

        Raises:
            sqlite3.OperationalError: It does not.
        """
        if not self.file.is_there():
            raise DRIVER.OperationalError(MOVED)

    def commit(self) -> None:
        """Commit, and let the next writer in; a transaction that SQLite has rolled back on its own is an error."""
        lost = self._inside and not self.in_transaction
        try:
            super().commit()
            if self._inside and self.file.log_size() > max(LOG_LIMIT, 1.5 * self._log_tolerated):
                self._restart_log()
        except DRIVER.Error:  # a reference that is looked at only now: SQLite would keep the transaction open
            if self.in_transaction:
                super().rollback()
            raise
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

    def _take_lock(self, patience: float) -> None:
        """Open a write transaction, asking every millisecond while another process has one open.

        SQLite by itself asks ever more rarely, in the end ten times a second: where several processes write without a
        pause, the gaps between their transactions are so short that one of them finds none for seconds.
        """
        until = time.monotonic() + patience
        self._wait_at_most(_BETWEEN_ATTEMPTS)
        while True:
            try:
                self.execute("BEGIN IMMEDIATE")
            except DRIVER.OperationalError as error:
                if "is locked" not in str(error) or time.monotonic() >= until:
                    raise
            else:
                if not self.in_wal:  # where the commit, too, waits: for the readers
                    self.reset_wait()
                return

    def _restart_log(self) -> None:
        """Have the next writer start the log anew, which the automatic checkpoint cannot while reads overlap.

        Only the reads that run now are waited for, and not for long: later ones no longer need the log. What fails
        here is no failure of the commit, which has happened. Where a read lasts longer, as that of an export does, the
        next attempt is made when the log has grown by half, or each commit until then would wait in vain.
        """
        size = self.file.log_size()
        try:
            self._wait_at_most(min(_LOG_PATIENCE, self.gate.timeout))
            (busy, *_) = self.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            self._log_tolerated = size if busy else 0
        except DRIVER.Error as error:
            logger.warning("SQLite could not make room in its log: %s", error)

    def _leave(self) -> None:
        if self._inside:
            self._inside = False
            self.gate.release()

    def _wait_at_most(self, seconds: float) -> None:
        """Bound SQLite's own wait for what other connections have locked."""
        milliseconds = max(1, int(seconds * 1000))
        if milliseconds != self._busy_timeout:
            self.execute(f"PRAGMA busy_timeout = {milliseconds}")
            self._busy_timeout = milliseconds


ROLLED_BACK = "the transaction was rolled back by SQLite after an earlier error"
MOVED = "the database file was removed or replaced"


def connect(path: str, gate: WriteGate, **options: Any) -> GatedConnection:
    """Open a connection that belongs to a gate, durable and in autocommit until its first write.

    Args:
        path: A file's path, or a `file:` URI with `uri=True`.
        gate: The gate of the database.
        options: More arguments of the driver's `connect`.
    """
    connection: GatedConnection = DRIVER.connect(path, factory=GatedConnection, isolation_level=None, **options)
    connection.gate = gate
    connection.file = _File(connection.execute("PRAGMA database_list").fetchone()[2])
    connection.reset_wait()
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete":
        _use_wal(connection)
    connection.in_wal = connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    return connection


def _use_wal(connection: GatedConnection) -> None:
    """Turn on the write-ahead log; it stays on in the file. A read-only file is left as it is.

    SQLite does not wait for others here, who may be doing the same to a fresh file.
    """
    until = time.monotonic() + connection.gate.timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except DRIVER.OperationalError as error:
            if "readonly" in str(error):
                return
            if "is locked" not in str(error) or time.monotonic() >= until:
                connection.close()
                raise
            time.sleep(_BETWEEN_ATTEMPTS)
        else:
            return
