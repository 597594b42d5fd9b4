"""Which keys a file of an archive has, kept on the disk and not in memory."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from storage.dialects.sqlite import SQLITE
from storage.dialects.sqlite_driver import DRIVER
from storage.scope import translated


class KeyLog:
    """A set of keys: integers, texts or UUIDs.

    It is a private database of SQLite's, which goes to a temporary file as it grows, and goes away by itself
    (https://www.sqlite.org/inmemorydb.html#temp_db).

    Example:
        >>> with KeyLog() as keys:
        ...     keys.add(1), keys.add(1), 1 in keys, 2 in keys
        (True, False, True, False)
    """

    def __init__(self) -> None:
        with translated(SQLITE):
            self._database: sqlite3.Connection = DRIVER.connect("", isolation_level=None)
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute("CREATE TABLE seen (key PRIMARY KEY) WITHOUT ROWID")
            self._database.execute("BEGIN")

    def add(self, key: Any) -> bool:
        """Add a key; False where it was there."""
        with translated(SQLITE):
            done = self._database.execute("INSERT OR IGNORE INTO seen (key) VALUES (?)", (_plain(key),))
        return done.rowcount == 1

    def __contains__(self, key: Any) -> bool:
        with translated(SQLITE):
            return self._database.execute("SELECT 1 FROM seen WHERE key = ?", (_plain(key),)).fetchone() is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.close()


def _plain(key: Any) -> Any:
    return str(key) if isinstance(key, UUID) else key
