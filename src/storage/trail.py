"""Reading the audit trail: who changed what, the newest change first."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa

from storage.auditor import AuditLog, Operation
from storage.errors import Problem, RecordInvalid
from storage.reader import read
from storage.statements import Statement

DEFAULT_LIMIT = 100
"""How many entries are read unless told otherwise."""
HIGHEST_LIMIT = 1000
"""How many entries are read at most at once."""

_OPERATIONS = {item.value for item in Operation}
_OPERATIONS_SHOWN = ", ".join(item.value for item in Operation)
_TABLE = cast(sa.Table, AuditLog.__table__)  # type: ignore[attr-defined]
_NAMES = tuple(column.name for column in _TABLE.columns)
_LIMIT, _OFFSET = "vention_limit", "vention_offset"


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One change of one record."""

    id: int
    """Counts up."""
    timestamp: datetime
    """When, in UTC."""
    component: str
    """The component name of the accessor that wrote."""
    record_id: int | None
    """The record's key where it is an integer."""
    record_key: str
    """The record's key as text, for every kind of key."""
    operation: str
    """What was done, an `Operation`: `create`, `update`, `delete`, `soft_delete`, `restore`, `backup`."""
    actor: str
    """Who did it."""
    before: Mapping[str, Any] | None
    """The whole record before, None where there was none."""
    after: Mapping[str, Any] | None
    """The whole record after, None where there is none."""

    @property
    def changed(self) -> tuple[str, ...]:
        """The attributes whose values differ before and after: all of them where there is no before or no after."""
        before, after = self.before or {}, self.after or {}
        names = dict.fromkeys([*after, *before])
        return tuple(name for name in names if _json_of(before, name) != _json_of(after, name))


def read_trail(
    *,
    component: str | None = None,
    record_id: int | None = None,
    record_key: str | None = None,
    actor: str | None = None,
    operation: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = DEFAULT_LIMIT,
    offset: int = 0,
) -> list[AuditEntry]:
    """Read entries of the audit trail that pass every filter given, the newest first.

    Args:
        component: The component name of the accessor that wrote; `database` for what was done to the database itself.
        record_id: The record's key, where it is an integer.
        record_key: The record's key as text, for every kind of key.
        actor: Who did it.
        operation: What was done, an `Operation`: `create`, `update`, `delete`, `soft_delete`, `restore`, `backup`.
        since: The earliest time, aware.
        until: The time before which it was, aware.
        limit: How many entries at most, from 1 to 1000.
        offset: How many of the newest to pass over.

    Returns:
        The entries.

    Raises:
        RecordInvalid: A time is naive, the limit or the offset is out of bounds, or there is no such operation.
        DatabaseUnavailable: The database cannot be read now.

    Example:
        >>> from sqlmodel import Field, SQLModel
        >>> from storage.accessor import ModelAccessor
        >>> from storage.bootstrap import bootstrap
        >>> class Bin(SQLModel, table=True):
        ...     id: int | None = Field(default=None, primary_key=True)
        ...     content: str
        >>> bootstrap(database_url="sqlite://")
        >>> bins = ModelAccessor(Bin, "bins")
        >>> bin = bins.insert(Bin(content="bolts"), actor="ana")
        >>> bin.content = "nuts"
        >>> _ = bins.save(bin, actor="ben")
        >>> [(entry.actor, entry.operation, entry.changed) for entry in read_trail(component="bins")]
        [('ben', 'update', ('content',)), ('ana', 'create', ('id', 'content'))]
    """
    _check(operation=operation, since=since, until=until, limit=limit, offset=offset)
    filters = {
        "component": component,
        "record_id": record_id,
        "record_key": record_key,
        "actor": actor,
        "operation": operation,
        "since": since,
        "until": until,
    }
    given = {name: _as_kept(value) for name, value in filters.items() if value is not None}
    return _find(given, limit, offset)


def _as_kept(value: str | int | datetime) -> str | datetime:
    return value.astimezone(UTC) if isinstance(value, datetime) else str(value)


def _find(given: Mapping[str, str | datetime], limit: int, offset: int) -> list[AuditEntry]:
    if any("\0" in value for value in given.values() if isinstance(value, str)):
        return []  # PostgreSQL would refuse it, and no entry has it
    rows = read(_statement(frozenset(given)), {**given, _LIMIT: limit, _OFFSET: offset})
    return [AuditEntry(**dict(zip(_NAMES, row, strict=True))) for row in rows]


def _check(*, operation: str | None, since: datetime | None, until: datetime | None, limit: int, offset: int) -> None:
    naive = "must be aware: use datetime.now(timezone.utc), not datetime.now()"
    found = {
        "operation": None if operation is None or operation in _OPERATIONS else f"must be one of {_OPERATIONS_SHOWN}",
        "since": naive if since and since.utcoffset() is None else None,
        "until": naive if until and until.utcoffset() is None else None,
        "limit": None if 1 <= limit <= HIGHEST_LIMIT else f"must be from 1 to {HIGHEST_LIMIT}",
        "offset": None if 0 <= offset < 2**63 else "must not be negative",
    }
    problems = [Problem(field=name, message=message) for name, message in found.items() if message]
    if problems:
        raise RecordInvalid("the request", problems)


@functools.cache
def _statement(filters: frozenset[str]) -> Statement:
    """The statement for a choice of filters."""
    columns = _TABLE.c
    conditions = {
        "component": columns.component == sa.bindparam("component"),
        # By its text, so that one index serves keys of every kind; a key that only looks like the number has no id.
        "record_id": sa.and_(
            columns.record_key == sa.bindparam("record_id", type_=sa.String), columns.record_id.is_not(None)
        ),
        "record_key": columns.record_key == sa.bindparam("record_key"),
        "actor": columns.actor == sa.bindparam("actor"),
        "operation": columns.operation == sa.bindparam("operation"),
        "since": columns.timestamp >= sa.bindparam("since"),
        "until": columns.timestamp < sa.bindparam("until"),
    }
    wanted = [condition for name, condition in conditions.items() if name in filters]
    newest_first = sa.select(*columns).where(*wanted).order_by(columns.timestamp.desc(), columns.id.desc())
    return Statement(newest_first.limit(sa.bindparam(_LIMIT)).offset(sa.bindparam(_OFFSET)))


def _json_of(snapshot: Mapping[str, Any], name: str) -> str | None:
    """The value as JSON, since to Python 1, 1.0 and True are the same; None where there is no value."""
    return json.dumps(snapshot[name], sort_keys=True) if name in snapshot else None
