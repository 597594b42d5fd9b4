"""What storage's errors mean to a caller on the wire."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from connectrpc.code import Code

from communication.errors import FieldViolation, RpcError
from storage.errors import (
    ArchiveInvalid,
    BackupInvalid,
    CommitUncertain,
    ConfigurationError,
    ConstraintViolation,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseUnavailable,
    DuplicateRecord,
    ForeignKeyViolation,
    NotSupported,
    RecordDeleted,
    RecordInvalid,
    RecordLimitReached,
    StorageError,
)
from storage.hooks import HookRegistry

logger = logging.getLogger("storage")

_CODES: tuple[tuple[type[StorageError], Code], ...] = (
    (RecordInvalid, Code.INVALID_ARGUMENT),
    (RecordDeleted, Code.NOT_FOUND),
    (DuplicateRecord, Code.ALREADY_EXISTS),
    (ForeignKeyViolation, Code.FAILED_PRECONDITION),
    (ConstraintViolation, Code.FAILED_PRECONDITION),
    (RecordLimitReached, Code.RESOURCE_EXHAUSTED),
    (ArchiveInvalid, Code.INVALID_ARGUMENT),
    (BackupInvalid, Code.INVALID_ARGUMENT),
    (CommitUncertain, Code.UNKNOWN),
    (NotSupported, Code.FAILED_PRECONDITION),
    (DatabaseDamaged, Code.DATA_LOSS),
    (DatabaseUnavailable, Code.UNAVAILABLE),
    (ConfigurationError, Code.FAILED_PRECONDITION),
)

_MOST_VIOLATIONS = 20
"""How many bad rows an error tells of: over gRPC it travels in a header, which may have 8 KiB."""

_BUSY = "the database is busy; try again"

FieldPath = Callable[[str], str]
"""From an attribute of the record to the field of the request that it came from."""


@contextmanager
def told_to_caller(path: FieldPath = str) -> Iterator[None]:
    """Raise storage's errors, and a hook's ValueError, as what the caller may know.

    The RPCs of a bundle do it by themselves; an `@action` that writes does it around what it writes.

    Args:
        path: Names the field of the request for an attribute of the record; by default both have the same name.

    Raises:
        RpcError: In place of them. Anything else passes, to be answered as `internal`.
    """
    try:
        yield
    except StorageError as error:
        code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
        if code is None:
            raise
        raise RpcError(code, _text(error), violations=_violations(error, path)) from error
    except ValueError as error:
        if not _is_of_hook(error):  # but of a row that cannot be read, say, whose value stands in the text
            raise
        raise RpcError(Code.INVALID_ARGUMENT, str(error)) from error


def _is_of_hook(error: Exception) -> bool:
    """Whether a hook raised the error, or something that the hook called."""
    return any(frame.f_code is HookRegistry.run.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


def _text(error: StorageError) -> str:
    if isinstance(error, ConstraintViolation):  # whose text is SQL
        return "a constraint of the table would be broken"
    if isinstance(error, DatabaseDamaged):  # whose text may have SQL
        return f"the database is damaged; {error.hint or 'restore a backup'}"
    if isinstance(error, ConfigurationError):  # whose text is for those who run the server
        logger.error("a call failed because of the set-up", exc_info=error)
        return "the server's database is not what its models need; call bootstrap() at its start, its log says more"
    if isinstance(error, DatabaseBusy):  # whose text names threads and settings
        return f"the database is busy with {error.task}; try again later" if error.task else _BUSY
    return str(error)


def _violations(error: StorageError, path: FieldPath) -> list[FieldViolation]:
    if _is_of_hook(error):  # which may have written any other record
        return []
    if isinstance(error, RecordInvalid):
        return [FieldViolation(field=path(item.field), description=item.message) for item in error.problems]
    if isinstance(error, BackupInvalid):
        told = [str(row) for row in error.rows] or [str(error)]
        return [FieldViolation(field=path("bytes"), description=text) for text in told]
    if isinstance(error, ArchiveInvalid):
        return [
            FieldViolation(
                field=f"{item.file}:{item.line or ''}:{item.column or ''}".rstrip(":"), description=item.message
            )
            for item in error.problems[:_MOST_VIOLATIONS]
        ]
    if isinstance(error, DuplicateRecord):
        return [FieldViolation(field=path(name), description="is taken by another record") for name in error.columns]
    return []
