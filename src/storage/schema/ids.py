"""Ids that were given out and must not come back."""

from __future__ import annotations

from sqlalchemy import Connection, Table, text

# Setting PostgreSQL's counter could put it back behind ids that others take at this very moment: a short way it counts,
# and a long one nobody else gets in between.
_COUNTED = 10_000


def reserve_ids(connection: Connection, table: Table, floor: int) -> None:
    """Make the next id of a table greater than a number; it never makes it smaller.

    The database numbers rows by a counter of its own (SQLite: `sqlite_sequence`, PostgreSQL: the column's sequence).
    Rows that come from elsewhere, from an archive or an older version, do not move that counter: this does.

    Args:
        connection: A connection in a write transaction.
        table: A table with an integer key that the database numbers; of any other nothing is reserved.
        floor: The greatest id that was ever given out.
    """
    key = table.autoincrement_column
    if key is None:
        return
    if connection.dialect.name == "sqlite":
        _raise_sqlite_sequence(connection, table.name, floor)
    elif connection.dialect.name == "postgresql":
        _raise_postgresql_sequence(connection, table, key.name, floor)


def _raise_sqlite_sequence(connection: Connection, table: str, floor: int) -> None:
    if connection.execute(text("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'")).scalar() is None:
        return  # somebody made the tables without AUTOINCREMENT, and no counter is there to raise
    row = {"table": table, "floor": floor}
    found = text("SELECT seq FROM sqlite_sequence WHERE name = :table")
    counter = connection.execute(found, row).scalar()
    if counter is None:
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :floor)"), row)
    elif counter < floor:
        connection.execute(text("UPDATE sqlite_sequence SET seq = :floor WHERE name = :table"), row)


def _raise_postgresql_sequence(connection: Connection, table: Table, key: str, floor: int) -> None:
    preparer = connection.dialect.identifier_preparer
    name = {"table": preparer.format_table(table), "key": key}
    sequence = connection.execute(text("SELECT pg_get_serial_sequence(:table, :key)"), name).scalar()
    if sequence is None or floor < 1:
        return
    # The sequence's name comes quoted from the server. `is_called` tells whether last_value was given out already.
    gap = text(f"SELECT :floor - last_value - is_called::int + 1 FROM {sequence}")  # noqa: S608
    missing = connection.execute(gap, {"floor": floor}).scalar_one()
    if 0 < missing <= _COUNTED:
        count = text("SELECT count(nextval(:sequence)) FROM generate_series(1, :missing)")
        connection.execute(count, {"sequence": sequence, "missing": missing})
    elif missing > 0:
        connection.execute(text("SELECT setval(:sequence, :floor)"), {"sequence": sequence, "floor": floor})
