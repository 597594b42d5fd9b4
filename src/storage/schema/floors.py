"""The greatest id that each table ever gave out, read from the audit trail.

A table without AUTOINCREMENT forgets the ids of rows that were deleted at its end; the trail remembers them. It names
components, not tables, so they are matched by what they hold: a snapshot has exactly the columns of its table.

- A component belongs to every table whose columns are the keys of the component's newest snapshot.
- A component that fits no table may belong to any table that fits no component: they all start above its ids.

So an id never comes back. At worst, of two tables with the same columns, one skips ids that the other used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import Connection, text


def id_floors(connection: Connection, tables: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """Find, for each table, a number that all ids it gave out according to the trail are not greater than.

    Args:
        connection: A connection to a database that has the table `auditlog`.
        tables: The columns of each table with an integer key.

    Returns:
        The number for each table; 0 where the trail knows of none.
    """
    floors = dict.fromkeys(tables, 0)
    fitting: set[str] = set()
    homeless = 0
    snapshots = _newest_snapshots(connection)
    for component, highest in _highest_ids(connection).items():
        owners = [table for table, columns in tables.items() if columns == snapshots.get(component)]
        for table in owners:
            floors[table] = max(floors[table], highest)
        fitting.update(owners)
        if not owners:
            homeless = max(homeless, highest)
    return {table: floor if table in fitting else homeless for table, floor in floors.items()}


def _highest_ids(connection: Connection) -> dict[str, int]:
    query = text(
        "SELECT component, max(record_id) FROM auditlog WHERE typeof(record_id) = 'integer' GROUP BY component"
    )
    return dict(connection.execute(query).all())


def _newest_snapshots(connection: Connection) -> dict[str, frozenset[str]]:
    """The keys of each component's newest snapshot."""
    query = text(
        'SELECT component, coalesce("after", "before") FROM auditlog'
        ' WHERE id IN (SELECT max(id) FROM auditlog WHERE coalesce("after", "before") IS NOT NULL GROUP BY component)'
    )
    return {component: frozenset(json.loads(snapshot)) for component, snapshot in connection.execute(query)}
