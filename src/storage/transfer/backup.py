"""Backups of a SQLite database: consistent copies, made while others write."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage.auditor import Change, Operation, checked_actor, write_audit
from storage.damage import forget_damage, note_damage
from storage.dialects.sqlite import SQLITE
from storage.errors import DatabaseDamaged, DatabaseUnavailable, StorageError
from storage.scope import translated
from storage.transfer.disk import disk_errors_translated, put_in_place, sha256_of
from storage.transfer.sqlite_file import (
    LiveDatabase,
    Progress,
    copy_database,
    is_sound,
    live_database,
    private_connection,
)
from storage.transfer.workspace import workspace, workspace_beside
from storage.writer import write

logger = logging.getLogger("storage")

COMPONENT = "database"
"""The component under which the audit trail knows what is done to the database as a whole."""


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup that was made."""

    filename: str
    """Its name, with the time in UTC at which it was begun."""
    sha256: str
    """The SHA-256 of the file, in hexadecimal digits."""
    size: int
    """Its length in bytes."""
    taken_at: datetime
    """When it was begun, in UTC: what was committed then is in it."""


def backup_to(
    target: str | os.PathLike[str], *, progress: Progress | None = None, actor: str = "internal"
) -> tuple[Path, Backup]:
    """Back the database up to a file, which appears there when it is whole and verified.

    Others go on reading and writing. The file is a SQLite database that any tool opens; nobody but this user can read
    it. That it was made is told in the audit trail.

    Args:
        target: The file, which is replaced if it is there; or a folder, in which the file gets a name with the time.
        progress: Called now and then with the pages that are copied and the pages that there are.
        actor: Who does it, for the audit trail.

    Returns:
        Where the file is, and what it is.

    Raises:
        NotSupported: The database is not SQLite.
        DatabaseDamaged: The database is damaged; there is no backup.
        StorageError: The target is the database itself.
        DatabaseUnavailable: The disk is full, or the folder cannot be written.
        FileNotFoundError: There is no such folder.

    Example:
        >>> from storage.bootstrap import bootstrap
        >>> import tempfile
        >>> bootstrap(database_url="sqlite://")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path, made = backup_to(folder, actor="maria")
        ...     path.name == made.filename, path.stat().st_size == made.size
        (True, True)
    """
    live = _live()
    checked_actor(actor)
    place = Path(target)
    if live.owns(place):
        message = "the backup would replace the database itself"
        raise StorageError(message, hint="name another file")
    with disk_errors_translated(), workspace(place if place.is_dir() else place.parent) as room:
        made, backup = _make(live, room, progress)
        if place.is_dir():
            place /= backup.filename
        put_in_place(made, place)
    _note(backup, actor)
    return place, backup


def backup_in_memory(*, actor: str = "internal") -> tuple[Backup, bytes]:
    """Back the database up and return the file's content.

    Args:
        actor: Who does it, for the audit trail.

    Returns:
        What the file is, and its content.

    Raises:
        NotSupported: The database is not SQLite.
        DatabaseDamaged: The database is damaged; there is no backup.
        DatabaseUnavailable: The disk is full.
    """
    live = _live()
    checked_actor(actor)
    with disk_errors_translated(), workspace_beside(live.path) as room:
        made, backup = _make(live, room, None)
        content = made.read_bytes()
    _note(backup, actor)
    return backup, content


def time_stamp(moment: datetime) -> str:
    """A time in UTC as part of a file's name, in which names sort as the times do.

    Example:
        >>> time_stamp(datetime(2026, 11, 23, 7, 18, 41, 966944, tzinfo=UTC))
        '20261123T071841.966944Z'
    """
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _live() -> LiveDatabase:
    return live_database("back up", "use pg_dump")


def _make(live: LiveDatabase, room: Path, progress: Progress | None) -> tuple[Path, Backup]:
    """Make the file in a workspace and verify it."""
    taken_at = datetime.now(UTC)
    stem = "database" if live.path is None else live.path.stem
    made = room / f"{stem}-{time_stamp(taken_at)}.sqlite"
    with translated(SQLITE), live.connection() as source:
        copy_database(source, made, progress)
        with private_connection(made) as copy:
            sound = is_sound(copy)
    if not sound:
        note_damage()
        message = "the database is damaged, and so is its copy"
        raise DatabaseDamaged(message, hint="restore an older backup; PRAGMA integrity_check says what is wrong")
    forget_damage()
    with disk_errors_translated():
        size, digest = made.stat().st_size, sha256_of(made)
    return made, Backup(filename=made.name, sha256=digest, size=size, taken_at=taken_at)


def _note(backup: Backup, actor: str) -> None:
    """Tell of the backup in the audit trail, where it can be written."""
    told = {"filename": backup.filename, "sha256": backup.sha256, "size": backup.size}
    change = Change(key=backup.filename, operation=Operation.BACKUP, before=None, after=told)
    try:
        write(lambda scope: write_audit(scope, COMPONENT, actor, [change]))
    except DatabaseUnavailable as error:
        logger.warning("a backup was made, but the audit trail cannot tell of it: %s", error)
