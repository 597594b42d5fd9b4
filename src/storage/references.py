"""Which reference a write has broken, looked up once it has failed: SQLite itself does not say."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from storage.dialects.references import refers_to_nothing, still_referred_to
from storage.errors import ForeignKeyViolation
from storage.scope import Scope
from storage.statements import Statement

_VALUE = "vention_value"


def explained(
    scope: Scope, error: ForeignKeyViolation, table: sa.Table, rows: Iterable[Mapping[str, Any]], *, removed: bool
) -> ForeignKeyViolation:
    """Name the reference that a write to a table would have broken.

    Args:
        scope: Where the write failed.
        error: What the database said.
        table: The table.
        rows: What was written, by the keys of columns as bound to a statement.
        removed: Whether these rows were to be removed.

    Returns:
        The error to raise: a better one, or the same where nothing is found.
    """
    if scope.dialect.names_references:  # and has ended its transaction
        return error
    pairs = list(_referring(table) if removed else _referred(table))
    seen: list[set[Any]] = [set() for _ in pairs]
    for row in rows:
        for (own, other, message), values in zip(pairs, seen, strict=True):
            value = row.get(own.key)
            if value is None or value in values:
                continue
            values.add(value)
            if bool(scope.rows(_one_with(other), {_VALUE: value})) is removed:
                return ForeignKeyViolation(message)
    return error


@functools.lru_cache(maxsize=256)
def _one_with(column: sa.Column[Any]) -> Statement:
    """Whether a column has a value anywhere."""
    return Statement(sa.select(sa.literal(1)).where(column == sa.bindparam(_VALUE)).limit(1))


def _referred(table: sa.Table) -> Iterator[tuple[sa.Column[Any], sa.Column[Any], str]]:
    """The columns of a table that refer to others, what they refer to, and how to say that it is missing."""
    for key in table.foreign_keys:
        if key.constraint is not None and len(key.constraint.elements) == 1:
            yield key.parent, key.column, refers_to_nothing(key.parent.name, key.column.table.name)


def _referring(table: sa.Table) -> Iterator[tuple[sa.Column[Any], sa.Column[Any], str]]:
    """The columns of a table that others refer to, the columns that do, and how to say so."""
    for other in table.metadata.tables.values():
        for key in other.foreign_keys:
            target, _, column = key.target_fullname.rpartition(".")
            if target == table.fullname and key.constraint is not None and len(key.constraint.elements) == 1:
                yield table.columns[column], key.parent, still_referred_to(other.name)
