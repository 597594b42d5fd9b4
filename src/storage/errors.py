"""Errors of the storage package.

Every error that storage raises on purpose is a `StorageError`; its text says in one sentence what is wrong and what
to do. Exceptions that a hook raises reach the caller unchanged.

    StorageError
    ├── ConfigurationError         the set-up is wrong: no bootstrap, a URL that does not open, …
    │   ├── UnsupportedModel       a model that no accessor can keep: composite key, column type, …
    │   └── SchemaMismatch         the tables in the database are not what the models say
    ├── RecordInvalid              values refused before any SQL (also a ValueError)
    ├── RecordDeleted              the record is soft-deleted: restore it first
    ├── DuplicateRecord            a key or unique value that another record has
    ├── ForeignKeyViolation        a reference to nowhere, or a record that others refer to
    ├── ConstraintViolation        any other constraint of the table
    ├── RecordLimitReached         the table already holds as many active records as it may
    ├── ArchiveInvalid             an archive that cannot be imported, or rows of it (also a ValueError)
    ├── BackupInvalid              a file that is no backup of this database (also a ValueError)
    ├── CommitUncertain            the server vanished during the commit: what was written is stored, or nothing of it
    ├── NotSupported               the database, or what is installed here, cannot do what was asked
    └── DatabaseUnavailable        the database cannot be used now; the same call may succeed later
        ├── DatabaseDamaged        the file is damaged: a call that needs what is lost fails until a backup is restored
        └── DatabaseBusy           another writer kept its lock longer than the busy timeout
            └── WriteWouldDeadlock waiting would never end: the lock's owner waits for this very thread or task
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class StorageError(Exception):
    """Root of everything that storage raises on purpose.

    Args:
        message: What is wrong, without a full stop at its end.
        hint: What to do about it; joined to the message with a semicolon.

    Example:
        >>> str(StorageError("the file is read-only", hint="make it writable"))
        'the file is read-only; make it writable'
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.hint = hint


class ConfigurationError(StorageError):
    """The set-up is wrong: nothing works until the code or the environment changes."""


class UnsupportedModel(ConfigurationError):
    """A model that no accessor can keep, raised when the accessor is made."""


class SchemaMismatch(ConfigurationError):
    """The tables in the database differ from the models; the text names each difference and the SQL that mends it."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One reason why a record was refused."""

    field: str
    """The attribute of the model, with a path into it where there is one (`settings.axis`, `points[2].x`)."""
    message: str
    """What is wrong with its value and what would be right."""


class RecordInvalid(StorageError, ValueError):
    """Values that the model or its columns cannot hold, refused before any SQL.

    Args:
        model: Name of the model's class.
        problems: What is wrong, one entry a field.

    Example:
        >>> error = RecordInvalid("User", [Problem(field="name", message="is required")])
        >>> str(error)
        'User is invalid: name is required'
    """

    def __init__(self, model: str, problems: Sequence[Problem]) -> None:
        text = ", ".join(f"{problem.field} {problem.message}".strip() for problem in problems)
        super().__init__(f"{model} is invalid: {text}")
        self.problems = tuple(problems)


class RecordDeleted(StorageError):
    """A write to a soft-deleted record."""


class DuplicateRecord(StorageError):
    """A primary key or a unique value that another record already has.

    Args:
        message: What is wrong.
        columns: The columns whose values another record has, where the database says so.
    """

    def __init__(self, message: str, *, columns: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


class ForeignKeyViolation(StorageError):
    """A reference to a record that does not exist, or the removal of one that others refer to."""


class ConstraintViolation(StorageError):
    """A constraint of the table, other than uniqueness and foreign keys, that a write would break."""


class RecordLimitReached(StorageError):
    """The table already holds as many active records as it may."""


@dataclass(frozen=True, kw_only=True)
class RowProblem:
    """One reason why a row of an archive was refused."""

    file: str
    """The file in the archive."""
    line: int | None
    """The line on which the row starts, the header being line 1; None for what concerns no row of the file."""
    column: str | None
    """The column, with a path into it where there is one; None for what concerns the whole row."""
    message: str
    """What is wrong and what would be right."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file} line {self.line}"
        return f"{place}: {self.column or ''} {self.message}".replace("  ", " ")


class ArchiveInvalid(StorageError, ValueError):
    """An archive that cannot be imported; nothing of it was.

    Args:
        message: What is wrong.
        problems: The rows that were refused, where these are the reason.
        hint: What to do about it.
    """

    def __init__(self, message: str, *, problems: Sequence[RowProblem] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row of a backup that no accessor can have written, or that none could read."""

    table: str
    """Its table."""
    key: str
    """Its key as text."""
    column: str
    """The attribute whose value is wrong."""
    message: str
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"{self.table} {self.key}: {self.column} {self.message}"


class BackupInvalid(StorageError, ValueError):
    """A file that cannot be restored; the database stayed as it was.

    Args:
        message: What is wrong.
        check: The check that the file failed: `size`, `header`, `quick_check`, `integrity_check`,
            `foreign_key_check`, `schema` or `rows`.
        rows: The rows that were refused, where these are the reason: the first twenty.
        hint: What to do about it.
    """

    def __init__(self, message: str, *, check: str, rows: Sequence[BadRow] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.check = check
        self.rows = tuple(rows)


class NotSupported(StorageError):
    """The database, or what is installed here, cannot do what was asked."""


class CommitUncertain(StorageError):
    """The server vanished while it was to commit, so nobody knows yet whether what was written is stored.

    It is stored as a whole, or nothing of it is. To try again may write it twice: read first.
    """


class DatabaseUnavailable(StorageError):
    """The database cannot be used now (disk full, I/O error, lost connection); the same call may succeed later."""


class DatabaseDamaged(DatabaseUnavailable):
    """The file of the database is damaged: a call that needs what is lost fails until a backup is restored."""


class DatabaseBusy(DatabaseUnavailable):
    """Another writer kept its lock longer than the busy timeout.

    Args:
        message: What is wrong.
        hint: What to do about it.
        task: What the other one does where that may take long, such as "an import".
    """

    def __init__(self, message: str, *, hint: str | None = None, task: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.task = task


class WriteWouldDeadlock(DatabaseBusy):
    """Waiting for the lock would never end, because its owner waits for this very thread or task."""
