"""What SQLite's errors mean in our terms."""

from __future__ import annotations

import re

from storage.dialects.references import SOME_REFERENCE
from storage.errors import (
    ConfigurationError,
    ConstraintViolation,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnavailable,
    DuplicateRecord,
    ForeignKeyViolation,
    StorageError,
)

# By text, since the bundled driver has no extended error codes; SQLite keeps these texts stable
# (https://www.sqlite.org/src/file/src/main.c, sqlite3ErrStr).
_UNAVAILABLE = {
    "removed or replaced": "put it back, or start the app again for an empty one",
    "database or disk is full": "free some disk space, then try again",
    "disk I/O error": "check the disk and its cable or card, then try again",
    "attempt to write a readonly database": "make the database file and its folder writable",
    "unable to open database file": "check that the folder exists and may be written",
    "file is not a database": "point the database URL at a SQLite file",
    "rolled back by SQLite": "try the whole transaction again",
}
_DAMAGED = {
    "database disk image is malformed": "restore a backup",
    "malformed database schema": "stop the app and put a backup in the place of the file",
}
_COLUMNS = re.compile(r"constraint failed: (.+)$")


def meaning_of(error: BaseException) -> StorageError | None:
    """Translate an error of the driver.

    Args:
        error: What the driver raised.

    Returns:
        The error in our terms, None where we have none for it.

    Example:
        >>> import sqlite3
        >>> print(meaning_of(sqlite3.IntegrityError("UNIQUE constraint failed: user.email")))
        another record of user has the same email
    """
    text = str(error)
    if "constraint failed" in text:
        return _broken_constraint(text)
    if "is locked" in text:
        message = "another process had the database locked for too long"
        return DatabaseBusy(message, hint="try again, or raise VENTION_STORAGE_BUSY_TIMEOUT")
    if "no such table" in text or "no such column" in text or "has no column" in text:
        return ConfigurationError(
            f"the database lacks what the models need: {text}", hint="call bootstrap() when all models are defined"
        )
    for phrase, hint in _DAMAGED.items():
        if phrase in text:
            return DatabaseDamaged(f"the database is damaged: {text}", hint=hint)
    for phrase, hint in _UNAVAILABLE.items():
        if phrase in text:
            return DatabaseUnavailable(f"the database cannot be used: {text}", hint=hint)
    return None


def _broken_constraint(text: str) -> StorageError:
    if "UNIQUE constraint failed" in text:
        table, columns = _failed_columns(text)
        return DuplicateRecord(f"another record of {table} has the same {', '.join(columns) or 'key'}", columns=columns)
    if "FOREIGN KEY constraint failed" in text:
        return ForeignKeyViolation(SOME_REFERENCE)
    return ConstraintViolation(f"a constraint of the table would be broken: {text}")


def _failed_columns(text: str) -> tuple[str, tuple[str, ...]]:
    """Table and columns of "UNIQUE constraint failed: user.name, user.email"; an index on expressions has none."""
    match = _COLUMNS.search(text)
    if match and match.group(1).startswith("index "):
        return "the table", ()
    names = match.group(1).split(", ") if match else []
    table, _, _ = names[0].partition(".") if names else ("the table", "", "")
    return table, tuple(name.rpartition(".")[2] for name in names)
