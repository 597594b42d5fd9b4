"""The accessors that the bundles of this process serve, which is what the database's own actions act upon.

An app may add several bundles, each with the actions of the one database that the process has. So these actions belong
to no bundle in particular: they know every accessor that any bundle serves, and are the same in each.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from storage.accessor import ModelAccessor
from storage.database import current_database
from storage.scope import translated

_lock = threading.Lock()
_by_table: dict[str, ModelAccessor[Any]] = {}
_components: set[str] = set()


def note_served(accessors: Iterable[ModelAccessor[Any]]) -> None:
    """Note that a bundle serves these; of several accessors of one table, the last one counts."""
    noted = list(accessors)
    with _lock:
        _by_table.update({accessor.codec.table.fullname: accessor for accessor in noted})
        _components.update(accessor.component for accessor in noted)


def served_components() -> frozenset[str]:
    """The component names of all accessors that were noted."""
    with _lock:
        return frozenset(_components)


def served_accessors() -> tuple[ModelAccessor[Any], ...]:
    """The accessors that are served and whose tables are in the database, in the order of noting."""
    database = current_database()
    with _lock:
        noted = list(_by_table.values())
    with translated(database.dialect):
        inspector = sa.inspect(database.engine)
        return tuple(
            accessor
            for accessor in noted
            if inspector.has_table(accessor.codec.table.name, schema=accessor.codec.table.schema)
        )
