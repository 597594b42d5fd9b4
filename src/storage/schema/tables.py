"""Tables as the models declare them, and what is added to them before they are made."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Column, Engine, Integer, MetaData, Table, inspect
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles

from storage.schema.migration import migration


class JsonText(sqlite.JSON):
    """JSON in SQLite under a type name that makes it text; to SQLite a column declared `JSON` prefers numbers.

    There the text `1.0` becomes the number 1 (https://www.sqlite.org/datatype3.html, section 3.1).
    """


@compiles(JsonText, "sqlite")
def _declaration(_type: JsonText, _compiler: Any, **_options: Any) -> str:
    return "JSON_TEXT"


def prepare(metadata: MetaData) -> None:
    """Adjust tables so that a database keeps what storage promises; a second call changes nothing.

    Integer keys get AUTOINCREMENT on SQLite, which never gives an id out twice, and are declared INTEGER there, since
    SQLite numbers only the rows of such a column (https://www.sqlite.org/autoinc.html). None in a JSON column becomes
    SQL NULL instead of JSON's `null`, and SQLite keeps such a column as the text that it is.

    Args:
        metadata: The tables, changed in place.

    Example:
        >>> from sqlalchemy import BigInteger, Column, MetaData, Table
        >>> from sqlalchemy.dialects import sqlite
        >>> from sqlalchemy.schema import CreateTable
        >>> metadata = MetaData()
        >>> table = Table("job", metadata, Column("id", BigInteger, primary_key=True))
        >>> prepare(metadata)
        >>> " ".join(str(CreateTable(table).compile(dialect=sqlite.dialect())).split())
        'CREATE TABLE job ( id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT )'
    """
    for table in metadata.tables.values():
        _never_reuse_ids(table)
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type.none_as_null = True
                if column.type.compile(sqlite.dialect()) == "JSON":
                    column.type = column.type.with_variant(JsonText(none_as_null=True), "sqlite")


def create(engine: Engine, metadata: MetaData) -> None:
    """Make the tables that are not there yet, all or none; those that are stay as they are.

    Several processes may do it at the same time: one makes the tables, the others wait. Where none is missing, nothing
    is locked or written.

    Args:
        engine: The database.
        metadata: The tables, prepared.
    """
    if set(metadata.tables).issubset(inspect(engine).get_table_names()):
        return
    with migration(engine) as connection:
        metadata.create_all(connection)


def _never_reuse_ids(table: Table) -> None:
    key: Column[int] | None = table.autoincrement_column
    if key is None:
        return
    table.dialect_options["sqlite"]["autoincrement"] = True
    if key.type.compile(sqlite.dialect()) != "INTEGER":
        key.type = key.type.with_variant(Integer(), "sqlite")
