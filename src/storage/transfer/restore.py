"""Restoring a SQLite database from a backup, while this process and others use it.

The file of the database is never renamed or removed: whoever has it open would go on writing into the old one, and lose
it. The backup is copied into it as one transaction of SQLite's, so everybody sees the old database or the new one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from storage.auditor import checked_actor
from storage.dialects.sqlite import SQLITE
from storage.errors import NotSupported, StorageError, WriteWouldDeadlock
from storage.scope import current_scope, translated
from storage.transfer.candidate import take_candidate
from storage.transfer.disk import disk_errors_translated
from storage.transfer.replacement import Replacement
from storage.transfer.sqlite_file import LiveDatabase, live_database
from storage.transfer.workspace import workspace

logger = logging.getLogger("storage")

MAX_BYTES = 1 << 30
"""The largest file that is restored unless told otherwise: 1 GiB."""
_LONGEST_NAME = 255


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore did, or would have done."""

    filename: str
    """The name of the file."""
    sha256: str
    """The SHA-256 of the file, in hexadecimal digits."""
    rows: Mapping[str, int]
    """How many rows each of its tables has."""
    safety_copy: Path | None
    """Where the database is as it was before; None for a dry run."""


def restore(
    source: str | os.PathLike[str] | BinaryIO,
    *,
    filename: str | None = None,
    actor: str = "internal",
    integrity_check: bool = True,
    dry_run: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Restored:
    """Make the database what a backup holds.

    The backup is examined in a private copy. Then new writes wait, running transactions finish, a verified safety copy
    of the database is put beside it (the last three are kept), and the backup is copied into the database as one
    transaction; other processes wait meanwhile, and lose nothing. Ids that were given out since the backup do not come
    back. The restore is told in the audit trail of the restored database. If anything fails, the database is as before.

    Args:
        source: The backup, a path or a file opened for reading bytes.
        filename: What the audit trail calls it; the file's own name unless given.
        actor: Who does it, for the audit trail.
        integrity_check: Whether the backup's indexes are compared with its tables, and each row with its model, too,
            which takes longer.
        dry_run: Whether to stop before anything changes.
        max_bytes: The largest backup that is taken, in bytes.

    Returns:
        What was restored.

    Raises:
        BackupInvalid: The backup is damaged, or not of this database.
        StorageError: The backup is the database itself.
        NotSupported: The database is not SQLite, or not in a file in WAL mode.
        WriteWouldDeadlock: The caller has a transaction open.
        DatabaseBusy: Another writer kept its lock longer than the busy timeout.
        DatabaseUnavailable: The disk is full, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from storage.bootstrap import bootstrap
        >>> from storage.database import set_database_url
        >>> from storage.transfer.backup import backup_to
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bootstrap(database_url=f"sqlite:///{folder}/my_app.db")
        ...     path, _ = backup_to(f"{folder}/backup.sqlite")
        ...     print(restore(path, actor="maria").filename)
        ...     set_database_url("sqlite://")
        backup.sqlite
    """
    live, path = _live()
    checked_actor(actor)
    with disk_errors_translated(), _opened(source, live) as file, workspace(path.parent) as room, translated(SQLITE):
        candidate = take_candidate(file, live, room, integrity_check=integrity_check, max_bytes=max_bytes)
        name = _shown(filename or getattr(file, "name", ""))
        logger.info("restore of %s: the file passed every check", name)
        replacement = Replacement(live=live, path=path, room=room, candidate=candidate, filename=name, actor=actor)
        safety_copy = None if dry_run else replacement.run()
    return Restored(filename=name, sha256=candidate.sha256, rows=candidate.rows, safety_copy=safety_copy)


def _live() -> tuple[LiveDatabase, Path]:
    """The database, if it can be restored now."""
    if current_scope() is not None:
        message = "a restore inside a transaction would wait for it for ever"
        raise WriteWouldDeadlock(message, hint="end the transaction first")
    live = live_database("restore", "use pg_restore with a file that pg_dump wrote")
    if live.path is None:
        message = "a database in memory cannot be restored"
        raise NotSupported(message, hint="keep it in a file, sqlite:///./my_app.db")
    with live.connection() as connection:
        (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if journal_mode != "wal":
        message = f"the database has journal_mode {journal_mode}, in which readers and a restore exclude each other"
        raise NotSupported(message, hint="run PRAGMA journal_mode=WAL, or replace the file while nothing uses it")
    return live, live.path


@contextmanager
def _opened(source: str | os.PathLike[str] | BinaryIO, live: LiveDatabase) -> Iterator[BinaryIO]:
    if isinstance(source, str | os.PathLike):
        if live.owns(Path(source)):  # closing it would end the locks that SQLite has on it, besides
            message = "the file is the database itself, which is as it is"
            raise StorageError(message, hint="name a backup of it")
        with Path(source).open("rb") as file:
            yield file
    else:
        yield source


def _shown(name: object) -> str:
    """A file's name as the audit trail can keep it."""
    last = str(name).replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable())[:_LONGEST_NAME] or "backup.sqlite"
