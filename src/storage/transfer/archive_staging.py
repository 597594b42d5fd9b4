"""What was read from one file of an archive, kept on the disk and not in memory until it is written."""

from __future__ import annotations

import io
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from storage.collector import collector_at_rest
from storage.dialects.sqlite import SQLITE
from storage.dialects.sqlite_driver import DRIVER
from storage.scope import translated

_BATCH = 500
_BATCH_BYTES = 1 << 20
_INTEGER_BITS = 63  # of SQLite's integers, besides the sign


class Staging:
    """The keys of a file, integers, texts or UUIDs, and its rows, in the order in which they were added.

    A database of SQLite's that is never committed: whoever gave the path removes the file.

    Args:
        path: Where to keep them, a file that nobody else can read.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> staging = Staging(Path(folder.name) / "rows.sqlite")
        >>> staging.add_key(1), staging.add_key(1), 1 in staging, 2 in staging
        (True, False, True, False)
        >>> staging.add("a row", size=5)
        >>> list(staging.batches())
        [['a row']]
        >>> staging.close()
        >>> folder.cleanup()
    """

    def __init__(self, path: Path) -> None:
        self._batch: list[Any] = []
        self._size = 0
        self._classes: dict[type, int] = {}
        with translated(SQLITE):
            self._database: sqlite3.Connection = DRIVER.connect(str(path), isolation_level=None)
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute("CREATE TABLE seen (key PRIMARY KEY) WITHOUT ROWID")
            self._database.execute("CREATE TABLE batch (rows BLOB)")
            self._database.execute("BEGIN")

    def add_key(self, key: Any) -> bool:
        """Add a key; False where it was there."""
        with translated(SQLITE):
            done = self._database.execute("INSERT OR IGNORE INTO seen (key) VALUES (?)", (_plain(key),))
        return done.rowcount == 1

    def __contains__(self, key: Any) -> bool:
        with translated(SQLITE):
            return self._database.execute("SELECT 1 FROM seen WHERE key = ?", (_plain(key),)).fetchone() is not None

    def add(self, row: Any, *, size: int) -> None:
        """Add a row.

        Args:
            row: The row.
            size: About how many bytes it has.
        """
        self._batch.append(row)
        self._size += size
        if len(self._batch) == _BATCH or self._size >= _BATCH_BYTES:
            self._put_away()

    def batches(self) -> Iterator[list[Any]]:
        """Every row that was added, some at a time."""
        self._put_away()
        last = 0
        while True:
            with translated(SQLITE):
                query = "SELECT rowid, rows FROM batch WHERE rowid > ? LIMIT 1"
                found = self._database.execute(query, (last,)).fetchone()
            if found is None:
                return
            last, content = found
            with collector_at_rest():
                rows = _Unpickler(content, list(self._classes)).load()
            yield rows

    def _put_away(self) -> None:
        if self._batch:
            content = io.BytesIO()
            _Pickler(content, self._classes).dump(self._batch)
            self._batch, self._size = [], 0
            with translated(SQLITE):
                self._database.execute("INSERT INTO batch (rows) VALUES (?)", (content.getbuffer(),))

    def close(self) -> None:
        """Forget everything."""
        self._database.close()


class _Pickler(pickle.Pickler):
    """Writes a number for each class, since one that was made inside a function could not be found by its name."""

    def __init__(self, file: io.BytesIO, classes: dict[type, int]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._classes = classes

    def persistent_id(self, obj: Any) -> int | None:
        return self._classes.setdefault(obj, len(self._classes)) if isinstance(obj, type) else None


class _Unpickler(pickle.Unpickler):
    """Reads what the other one wrote."""

    def __init__(self, content: bytes, classes: list[type]) -> None:
        super().__init__(io.BytesIO(content))
        self._classes = classes

    def persistent_load(self, pid: int) -> type:
        return self._classes[pid]


def _plain(key: Any) -> Any:
    """A key as SQLite can keep it; a file whose keys are integers has no texts that could be taken for them."""
    is_huge = isinstance(key, int) and not -(1 << _INTEGER_BITS) <= key < 1 << _INTEGER_BITS
    return str(key) if is_huge or isinstance(key, UUID) else key
