"""The audit trail: who changed which record, when, from what to what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, cast

import sqlalchemy as sa
from sqlmodel import Field, SQLModel, UTCDateTime

from storage.errors import Problem, RecordInvalid
from storage.scope import Scope
from storage.statements import Statement


class Operation(StrEnum):
    """What was done to a record, or to the database as a whole."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    SOFT_DELETE = "soft_delete"
    RESTORE = "restore"
    BACKUP = "backup"


class AuditLog(SQLModel, table=True):
    """One change of one record; entries are only ever added.

    Example:
        >>> from sqlmodel import select
        >>> print(select(AuditLog.actor).where(AuditLog.component == "users"))
        SELECT auditlog.actor
        FROM auditlog
        WHERE auditlog.component = :component_1
    """

    # Each filter of `storage.trail` has an index that gives its entries newest first, so that none have to be sorted,
    # however many there are; the one of record_id serves `highest_id`.
    __table_args__ = (
        sa.Index("ix_auditlog_timestamp", "timestamp"),
        sa.Index("ix_auditlog_component_timestamp", "component", "timestamp"),
        sa.Index("ix_auditlog_component_record_id", "component", "record_id"),
        sa.Index("ix_auditlog_component_record_key_timestamp", "component", "record_key", "timestamp"),
        sa.Index("ix_auditlog_record_key_timestamp", "record_key", "timestamp"),
        sa.Index("ix_auditlog_operation_timestamp", "operation", "timestamp"),
        sa.Index("ix_auditlog_actor_timestamp", "actor", "timestamp"),
    )

    id: int | None = Field(default=None, primary_key=True)
    """Counts up; ids never come back."""
    timestamp: datetime = Field(sa_type=UTCDateTime)
    """When, in UTC."""
    component: str
    """The component name of the accessor that wrote."""
    record_id: int | None = Field(default=None, sa_type=sa.BigInteger)
    """The record's key where it is an integer."""
    record_key: str
    """The record's key as text, for every kind of key."""
    operation: str
    """An `Operation`."""
    actor: str
    """Who did it."""
    before: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    """The whole record before, None where there was none."""
    after: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON(none_as_null=True))
    """The whole record after, None where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What happened to one record."""

    key: Any
    """The record's key."""
    operation: Operation
    """What was done."""
    before: Mapping[str, Any] | None
    """Its snapshot before."""
    after: Mapping[str, Any] | None
    """Its snapshot after."""


LONGEST_ACTOR = 500
"""The most characters of an actor's name; an index of PostgreSQL's keeps 2,704 bytes, a character has up to four."""

_TABLE = cast(sa.Table, AuditLog.__table__)  # type: ignore[attr-defined]
# Control characters, line ends, marks that turn the direction of writing, halves of surrogate pairs.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_INSERT = Statement(sa.insert(_TABLE), [column.key for column in _TABLE.columns if not column.primary_key])
_HIGHEST = Statement(sa.select(sa.func.max(_TABLE.c.record_id)).where(_TABLE.c.component == sa.bindparam("name")))


def write_audit(scope: Scope, component: str, actor: str, changes: Iterable[Change]) -> None:
    """Add entries to the audit trail, in the transaction of the change itself.

    Args:
        scope: Where the change was written.
        component: The component name of the accessor.
        actor: Who did it.
        changes: What was done.
    """
    now = datetime.now(UTC)
    rows = [
        {
            "timestamp": now,
            "component": component,
            "record_id": change.key if isinstance(change.key, int) else None,
            "record_key": str(change.key),
            "operation": change.operation.value,
            "actor": actor,
            "before": change.before,
            "after": change.after,
        }
        for change in changes
    ]
    if rows:
        scope.run_many(_INSERT, rows)


def checked_actor(actor: Any) -> str:
    """Make sure that the trail can name an actor.

    Raises:
        RecordInvalid: It is not text, or text that a database cannot keep.
    """
    if isinstance(actor, str) and actor.strip() and len(actor) <= LONGEST_ACTOR and not _UNFIT.search(actor):
        return actor
    message = f"must be one line of at most {LONGEST_ACTOR} characters that names who did it"
    problem = Problem(field="actor", message=message)
    raise RecordInvalid("the request", [problem])


def highest_id(scope: Scope, component: str) -> int | None:
    """The highest integer key that the trail knows of a component, None where there is none."""
    highest: int | None = scope.rows(_HIGHEST, {"name": component})[0][0]
    return highest
