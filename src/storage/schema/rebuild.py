"""Making a SQLite table anew: what ALTER TABLE cannot change, by the way that SQLite's documentation gives.

See "Making Other Kinds Of Table Schema Changes" in https://www.sqlite.org/lang_altertable.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from storage.schema.table_text import quote, rename_table

BEFORE = ("PRAGMA foreign_keys=OFF", "BEGIN IMMEDIATE", "PRAGMA legacy_alter_table=ON")
"""What must come before a rebuild: no cascade from the dropped table, no check of views while it is away."""
AFTER = ("PRAGMA legacy_alter_table=OFF", "COMMIT", "PRAGMA foreign_keys=ON")
"""What ends it."""


@dataclass(frozen=True, kw_only=True)
class StoredColumn:
    """A column of a table in the database."""

    name: str
    """its name"""
    type: str
    """the type as declared, in capitals"""
    nullable: bool
    """whether it may be NULL"""
    default: str | None
    """SQL of its default"""
    key: int
    """its place in the primary key, from 1; 0 outside it"""
    generated: bool
    """whether SQLite computes it, so that nothing can be written to it"""


@dataclass(frozen=True, kw_only=True)
class StoredIndex:
    """An index with a statement of its own."""

    name: str
    """its name"""
    columns: tuple[str | None, ...]
    """the columns; None for an expression"""
    sql: str
    """the statement that makes it"""


def table_sql(connection: Connection, table: str) -> str | None:
    """The statement that made a table; None where there is no such table."""
    query = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(:table)")
    found: str | None = connection.execute(query, {"table": table}).scalar()
    return found


def stored_columns(connection: Connection, table: str) -> list[StoredColumn]:
    """The columns of a table, in their order."""
    rows = connection.execute(text("SELECT * FROM pragma_table_xinfo(:table)"), {"table": table}).mappings()
    return [
        StoredColumn(
            name=row["name"],
            type=row["type"].upper(),
            nullable=not row["notnull"],
            default=row["dflt_value"],
            key=row["pk"],
            generated=row["hidden"] > 1,  # 2 and 3: generated columns, virtual and stored
        )
        for row in rows
    ]


def stored_indexes(connection: Connection, table: str) -> list[StoredIndex]:
    """The indexes of a table that were made by CREATE INDEX."""
    query = text(
        "SELECT name, sql FROM sqlite_master"
        " WHERE type = 'index' AND lower(tbl_name) = lower(:table) AND sql IS NOT NULL ORDER BY name"
    )
    columns = text("SELECT name FROM pragma_index_info(:index) ORDER BY seqno")
    return [
        StoredIndex(name=name, sql=sql, columns=tuple(connection.execute(columns, {"index": name}).scalars()))
        for name, sql in connection.execute(query, {"table": table}).all()
    ]


def stored_triggers(connection: Connection, table: str) -> list[str]:
    """The statements that make the triggers of a table."""
    query = text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND lower(tbl_name) = lower(:table) ORDER BY 1")
    return list(connection.execute(query, {"table": table}).scalars())


def rebuild_statements(
    table: str, create: str, values: Mapping[str, str], extras: list[str], *, keep_counter: bool = False
) -> list[str]:
    """The statements that make a table anew and keep its rows, to be run between `BEFORE` and `AFTER`.

    Args:
        table: Its name.
        create: The CREATE TABLE statement of its new form.
        values: For each column that is filled: SQL that gives its value from the old table.
        extras: The statements that make its indexes and triggers, which go away with the old table.
        keep_counter: Whether both tables have AUTOINCREMENT, so that the new one counts on where the old one was.

    Returns:
        The statements, without semicolons.

    Example:
        >>> for statement in rebuild_statements("job", "CREATE TABLE job (id INTEGER)", {"id": "id"}, []):
        ...     print(statement)
        CREATE TABLE "job_rebuilt" (id INTEGER)
        INSERT INTO "job_rebuilt" ("id") SELECT id FROM "job"
        DROP TABLE "job"
        ALTER TABLE "job_rebuilt" RENAME TO "job"
    """
    rebuilt = f"{table}_rebuilt"
    names = ", ".join(quote(name) for name in values)
    copy = f"INSERT INTO {quote(rebuilt)} ({names}) SELECT {', '.join(values.values())} FROM {quote(table)}"  # noqa: S608
    return [
        rename_table(create, rebuilt).strip(),
        copy,
        *(_counter_statements(table, rebuilt) if keep_counter else []),
        f"DROP TABLE {quote(table)}",
        f"ALTER TABLE {quote(rebuilt)} RENAME TO {quote(table)}",
        *extras,
    ]


def _counter_statements(table: str, rebuilt: str) -> list[str]:
    """Take the highest id ever given out over, which goes away with the old table."""
    old, new = (name.replace("'", "''") for name in (table, rebuilt))
    count = f"SELECT '{new}', seq FROM sqlite_sequence WHERE name = '{old}'"  # noqa: S608 - quoted names
    return [
        f"DELETE FROM sqlite_sequence WHERE name = '{new}' AND EXISTS ({count})",  # noqa: S608
        f"INSERT INTO sqlite_sequence (name, seq) {count}",
    ]
