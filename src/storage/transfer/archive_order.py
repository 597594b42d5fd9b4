"""The order in which tables are written, so that foreign keys hold at every step where that can be."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.schema import sort_tables_and_constraints


def parents_first(tables: Iterable[sa.Table]) -> list[sa.Table]:
    """Put tables behind those that they refer to; where they refer to each other in a circle, in some order.

    Example:
        >>> metadata = sa.MetaData()
        >>> job = sa.Table("job", metadata, sa.Column("shelf", sa.ForeignKey("shelf.id")))
        >>> shelf = sa.Table("shelf", metadata, sa.Column("id", sa.Integer, primary_key=True))
        >>> [table.name for table in parents_first([job, shelf])]
        ['shelf', 'job']
    """
    named = sorted(tables, key=lambda table: table.fullname)
    ordered = sort_tables_and_constraints(named)  # type: ignore[no-untyped-call] # public, but not annotated
    return [table for table, _ in ordered if table in set(named)]
