"""Safety copies: the database as it was before a restore, kept beside it."""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from storage.errors import DatabaseUnavailable
from storage.transfer.backup import time_stamp
from storage.transfer.disk import put_in_place
from storage.transfer.sqlite_file import copy_database, is_sound, private_connection

logger = logging.getLogger("storage")

KEPT = 3
"""How many safety copies of a database are kept."""


def make_safety_copy(source: sqlite3.Connection, database: Path, room: Path) -> Path:
    """Copy the database and put the copy beside it once it is verified.

    Of a database that is damaged the copy is as good as the original: it is kept, and the log says so.

    Args:
        source: A connection to the database, while nobody can write.
        database: Its file.
        room: A workspace on the same disk.

    Returns:
        Where the copy is.

    Raises:
        DatabaseUnavailable: The copy is damaged though the database is not, or the disk is full.
    """
    made = room / "safety.sqlite"
    copy_database(source, made)
    with private_connection(made) as copy:
        copied_well = is_sound(copy)
    if not copied_well:
        if is_sound(source):
            message = "the safety copy of the database cannot be read back"
            raise DatabaseUnavailable(message, hint="check the disk, then try again")
        logger.warning("the database that is being replaced is damaged, and so is its safety copy")
    place = database.with_name(f"{_prefix(database)}{time_stamp(datetime.now(UTC))}.sqlite")
    put_in_place(made, place)
    return place


def safety_copies(database: Path) -> list[Path]:
    """The safety copies of a database, the oldest first.

    Args:
        database: Its file.
    """
    prefix = _prefix(database)
    return sorted(path for path in database.parent.glob("*.sqlite") if path.name.startswith(prefix))


def remove_old_safety_copies(database: Path, newest: Path) -> None:
    """Keep the newest safety copies only.

    Args:
        database: The file of the database.
        newest: The copy made last, whatever the clock says.
    """
    others = [path for path in safety_copies(database) if path != newest]
    for path in others[: -(KEPT - 1)]:
        path.unlink(missing_ok=True)


def _prefix(database: Path) -> str:
    return f"{database.stem}.before-restore-"
