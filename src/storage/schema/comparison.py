"""The comparison of the tables in the database with the models."""

from __future__ import annotations

from sqlalchemy import Engine, MetaData

from storage.errors import SchemaMismatch
from storage.schema.difference import Difference, Finding
from storage.schema.findings import find
from storage.schema.postgresql_cure import postgresql_cures
from storage.schema.sqlite_cure import sqlite_cures

_CURES = {"sqlite": sqlite_cures, "postgresql": postgresql_cures}


def compare(engine: Engine, metadata: MetaData) -> list[Difference]:
    """Find what the tables in the database have otherwise than the models; nothing is written.

    Tables and indexes that no model knows do not count, nor does what a database cannot express (see `quirks`).

    Args:
        engine: The database.
        metadata: The tables as the models have them, prepared.

    Returns:
        The differences, those of one table together, in an order in which their SQL can be run.
    """
    with engine.connect() as connection:
        by_table: dict[str, list[Finding]] = {}
        for finding in find(connection, metadata):
            by_table.setdefault(finding.table.name, []).append(finding)
        cures = _CURES[connection.dialect.name]
        return [
            Difference(table=name, column=finding.column, what=finding.what, sql=sql)
            for name, findings in by_table.items()
            for finding, sql in zip(findings, cures(connection, findings), strict=True)
        ]


def check(engine: Engine, metadata: MetaData) -> None:
    """Refuse a database whose tables are not what the models say.

    Args:
        engine: The database.
        metadata: The tables as the models have them, prepared.

    Raises:
        SchemaMismatch: There is a difference; the text names each, and the SQL that mends it.
    """
    differences = compare(engine, metadata)
    if not differences:
        return
    lines = [f"{_place(difference)} {difference.what}" for difference in differences]
    scripts = dict.fromkeys(difference.sql for difference in differences)
    message = f"the database is not what the models say: {', '.join(lines)}"
    hint = "change the models back, or make a backup and run this SQL, which mends it:\n" + "\n".join(scripts)
    raise SchemaMismatch(message, hint=hint)


def _place(difference: Difference) -> str:
    if difference.column is None:
        return f"table {difference.table}"
    return f"column {difference.table}.{difference.column}"
