"""What storage's errors mean to a caller on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from connectrpc.code import Code

from communication.errors import FieldViolation, RpcError
from storage.errors import (
    ConstraintViolation,
    DatabaseUnavailable,
    DuplicateRecord,
    ForeignKeyViolation,
    RecordDeleted,
    RecordInvalid,
    RecordLimitReached,
    StorageError,
)

_CODES: tuple[tuple[type[StorageError], Code], ...] = (
    (RecordInvalid, Code.INVALID_ARGUMENT),
    (RecordDeleted, Code.NOT_FOUND),
    (DuplicateRecord, Code.ALREADY_EXISTS),
    (ForeignKeyViolation, Code.FAILED_PRECONDITION),
    (ConstraintViolation, Code.FAILED_PRECONDITION),
    (RecordLimitReached, Code.RESOURCE_EXHAUSTED),
    (DatabaseUnavailable, Code.UNAVAILABLE),
)

FieldPath = Callable[[str], str]
"""From an attribute of the record to the field of the request that it came from."""


@contextmanager
def told_to_caller(path: FieldPath) -> Iterator[None]:
    """Raise storage's errors, and a hook's ValueError, as what the caller may know.

    Args:
        path: Names the field of the request for an attribute of the record.

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
        raise RpcError(Code.INVALID_ARGUMENT, str(error)) from error


def _text(error: StorageError) -> str:
    if isinstance(error, ConstraintViolation):  # whose text is SQL
        return "a constraint of the table would be broken"
    return str(error)


def _violations(error: StorageError, path: FieldPath) -> list[FieldViolation]:
    if isinstance(error, RecordInvalid):
        return [FieldViolation(field=path(item.field), description=item.message) for item in error.problems]
    if isinstance(error, DuplicateRecord):
        return [FieldViolation(field=path(name), description="is taken by another record") for name in error.columns]
    return []
