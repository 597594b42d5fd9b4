"""What PostgreSQL's errors mean in our terms."""

from __future__ import annotations

import re
import sys
from typing import Any

from sqlalchemy import exc
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from storage.dialects.references import SOME_REFERENCE, refers_to_nothing, still_referred_to
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

# Codes and classes of https://www.postgresql.org/docs/current/errcodes-appendix.html
LOCKED = "55P03"
"""The wait for a lock was too long."""
_UNIQUE = "23505"
_FOREIGN_KEY = "23503"
_INTEGRITY = "23"
_FAILED = "25P02"  # a statement after one that failed, in a transaction that goes on
_LOST = ("08", "57P01", "57P02", "57P05")  # connection, shutdown, crash, idle for too long
_MEANINGS: tuple[tuple[tuple[str, ...], type[StorageError], str, str], ...] = (
    (
        ("42P01", "42703"),  # undefined table, undefined column
        ConfigurationError,
        "the database lacks a table or a column that the models need",
        "call bootstrap() when all models are defined",
    ),
    (
        ("2200H",),  # end of a sequence
        ConfigurationError,
        "the keys of the table have run out",
        "declare the key as BigInteger",
    ),
    (
        (LOCKED,),
        DatabaseBusy,
        "another transaction had the record or table locked for too long",
        "keep transactions short, or raise VENTION_STORAGE_BUSY_TIMEOUT",
    ),
    (
        ("40001", "40P01"),  # serialization failure, deadlock detected
        DatabaseBusy,
        "another transaction wanted the same records, and one of both was undone so that the other could go on",
        "try the whole transaction again, and write records in the same order everywhere",
    ),
    (
        ("54000",),  # program limit exceeded, which here is that of a row in an index
        ConstraintViolation,
        "a value is too long for an index of the table",
        "",
    ),
    (
        ("XX001", "XX002"),  # data corrupted, index corrupted
        DatabaseDamaged,
        "the database is damaged",
        "see the server's log, and restore what pg_dump wrote",
    ),
    (
        ("53", "57P", "58", "25006"),  # resources, not started yet, system, read-only
        DatabaseUnavailable,
        "the database server cannot be used now",
        "see its log, then try again",
    ),
)
_KEY = re.compile(r"\((.+?)\)=\(")  # whatever language the server speaks
_NOWHERE = re.compile(r'is not present in table "([^"]+)"\.$')  # where the server speaks English
_STILL_REFERRED_TO = re.compile(r'is still referenced from table "([^"]+)"\.$')
_COLUMN = re.compile(r'"((?:[^"]|"")+)"|([^", ]+)')
_INVALIDATED = "8s2b"  # SQLAlchemy's code for a transaction whose connection is gone


def code_of(error: BaseException) -> str | None:
    """The server's code for an error of the driver's, empty where the server did not say it; None for other errors."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    driver: Any = sys.modules.get("psycopg")  # an extra, which whoever has one of its errors has loaded
    if driver is None or not isinstance(cause, driver.Error):
        return None
    if cause.sqlstate is not None:
        return str(cause.sqlstate)
    return "" if isinstance(cause, driver.OperationalError | driver.InterfaceError) else None


def is_lost(error: BaseException) -> bool:
    """Whether an error means that the connection is gone, and with it the transaction that was open."""
    code = code_of(error)
    return code is not None and (not code or code.startswith(_LOST))


def meaning_of(error: BaseException) -> StorageError | None:
    """Translate an error of the driver's, or of SQLAlchemy's about connections.

    Args:
        error: What was raised.

    Returns:
        The error in our terms, None where we have none for it.
    """
    if isinstance(error, exc.TimeoutError):
        message = "every connection to the database server has been in use for too long"
        return DatabaseBusy(message, hint="keep transactions short")
    if isinstance(error, PendingRollbackError) and error.code == _INVALIDATED:
        return lost()
    code = code_of(error)
    if code is None:
        return None
    if is_lost(error):
        return lost()
    return _meaning_of(error.orig if isinstance(error, DBAPIError) else error, code)


def lost() -> DatabaseUnavailable:
    """The connection is gone, and nothing that was under way on it is stored."""
    return DatabaseUnavailable("the database server cannot be reached, or has ended the connection", hint="try again")


def rolled_back() -> DatabaseUnavailable:
    """The transaction can no longer be committed."""
    message = "PostgreSQL has rolled the transaction back after an earlier error in it"
    return DatabaseUnavailable(message, hint="put what may fail alone into a `with transaction():` of its own")


def _meaning_of(error: Any, code: str) -> StorageError | None:
    if code.startswith(_INTEGRITY):
        return _broken_constraint(error, code)
    if code == _FAILED:
        return rolled_back()
    for codes, kind, message, hint in _MEANINGS:
        if code.startswith(codes):
            return kind(message, hint=hint)
    return None


def _broken_constraint(error: Any, code: str) -> StorageError:
    if code == _UNIQUE:
        return _duplicate(error)
    if code == _FOREIGN_KEY:
        return _broken_reference(error)
    return ConstraintViolation("a constraint of the table would be broken")


def _broken_reference(error: Any) -> ForeignKeyViolation:
    detail = error.diag.message_detail or ""
    if other := _STILL_REFERRED_TO.search(detail):
        return ForeignKeyViolation(still_referred_to(other.group(1)))
    if (column := _KEY.search(detail)) and (table := _NOWHERE.search(detail)):
        return ForeignKeyViolation(refers_to_nothing(column.group(1), table.group(1)))
    return ForeignKeyViolation(SOME_REFERENCE)


def _duplicate(error: Any) -> DuplicateRecord:
    match = _KEY.search(error.diag.message_detail or "")
    columns = tuple(_columns_of(match.group(1))) if match else ()
    table = error.diag.table_name or "the table"
    return DuplicateRecord(f"another record of {table} has the same {', '.join(columns) or 'key'}", columns=columns)


def _columns_of(key: str) -> list[str]:
    """The names in a list of quoted and plain ones; an index on expressions has none that say a column."""
    if "(" in key:
        return []
    return [quoted.replace('""', '"') or plain for quoted, plain in _COLUMN.findall(key)]
