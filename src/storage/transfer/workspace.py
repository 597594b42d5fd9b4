"""A private folder for files that are being made, gone afterwards; what a killed process left goes with the next."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from storage.dialects.sqlite_driver import DRIVER
from storage.errors import DatabaseUnavailable
from storage.transfer.disk import disk_errors_translated

_PREFIX = ".vention-storage-"
_LOCK = ".lock"


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """Make a folder that only this user can read, and remove it with all that is in it at the end.

    Args:
        folder: Where to make it: on the disk on which the finished files will be.

    Yields:
        Its path.

    Raises:
        DatabaseUnavailable: The disk is full or the folder cannot be written.
        FileNotFoundError: There is no such folder.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder, workspace(Path(folder)) as room:
        ...     _ = (room / "half.sqlite").write_bytes(b"half")
    """
    with ExitStack() as stack:
        with disk_errors_translated():
            room = stack.enter_context(_locked_folder(folder))
        yield room


@contextmanager
def workspace_beside(file: Path | None) -> Iterator[Path]:
    """A workspace beside a database, where there is room for databases; elsewhere if nothing may be written there.

    Args:
        file: The database, None for one that is not in a file.

    Yields:
        Its path.

    Raises:
        DatabaseUnavailable: The disk is full.
    """
    writable = file is not None and os.access(file.parent, os.W_OK)
    with workspace(file.parent if file is not None and writable else Path(tempfile.gettempdir())) as room:
        yield room


@contextmanager
def _locked_folder(folder: Path) -> Iterator[Path]:
    _remove_left_ones(folder)
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_LOCK, dir=folder)
    os.close(handle)
    lock = Path(name)
    try:
        with closing(DRIVER.connect(name, isolation_level=None)) as connection:
            _take(connection)
            room = lock.with_suffix("")
            room.mkdir(0o700)
            yield room
    finally:
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)


def need_space(room: Path, size: int) -> None:
    """Make sure that a disk has room, before others find it full.

    Args:
        room: A folder on the disk.
        size: The bytes that are needed.

    Raises:
        DatabaseUnavailable: There is less.
    """
    with disk_errors_translated():
        free = shutil.disk_usage(room).free
    if free < size:
        message = f"the disk has {free >> 20} MiB left, and {(size >> 20) + 1} MiB are needed for temporary files"
        raise DatabaseUnavailable(message, hint="free some disk space, then try again")


def _remove_left_ones(folder: Path) -> None:
    """Remove what processes that were killed have left: nobody holds their locks any more."""
    for lock in folder.glob(f"{_PREFIX}*{_LOCK}"):
        with suppress(OSError, DRIVER.Error):
            with closing(DRIVER.connect(str(lock), isolation_level=None, timeout=0)) as connection:
                _take(connection)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink()


def _take(lock: sqlite3.Connection) -> None:
    """Lock a file for as long as the connection, or its process, lives; only a lock of SQLite's is portable."""
    lock.execute("PRAGMA journal_mode = MEMORY")
    lock.execute("BEGIN EXCLUSIVE")
