"""What a comparison of tables with models must not report: the one place for the habits of the servers.

SQLite
    - ignores the length of a VARCHAR and the digits of a NUMERIC, so a longer enum member is no difference;
    - treats type names alike that have the same affinity (INTEGER and BIGINT, VARCHAR and TEXT, FLOAT and REAL), see
      https://www.sqlite.org/datatype3.html; only the key that numbers the rows must be declared INTEGER;
    - keeps that key from being NULL without saying so;
    - keeps the JSON of our columns as text, and in older databases under the type name JSON, which prefers numbers.
PostgreSQL
    - has enum types of its own: what counts is that the server knows each member of the model's;
    - holds values to the length of a VARCHAR and the digits of a NUMERIC; alembic misses it when only one side has any.
Both
    - may have indexes that no model knows: they change speed, or guard what their owner wants guarded.
"""

from __future__ import annotations

import re
from typing import Any

from alembic.operations import ops
from alembic.operations.ops import MigrateOperation
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Enum, Table, text
from sqlalchemy.types import TypeEngine

_BRACKETS = re.compile(r"\s*\(.*\)")
_OWN_FAMILY = {"BOOLEAN": "BOOLEAN", "DATE": "DATE", "DATETIME": "DATETIME", "TIMESTAMP": "DATETIME"}
_OWN_FAMILY |= {"JSON": "JSON", "JSON_TEXT": "JSON", "TIME": "TIME"}
_AFFINITIES = {"INT": "INTEGER", "CHAR": "TEXT", "CLOB": "TEXT", "TEXT": "TEXT", "BLOB": "BLOB"}
_AFFINITIES |= {"REAL": "REAL", "FLOA": "REAL", "DOUB": "REAL"}


def type_differs(
    context: MigrationContext,
    stored: Column[Any],
    column: Column[Any],
    stored_type: TypeEngine[Any],
    column_type: TypeEngine[Any],
) -> bool | None:
    """Whether a stored column has another type than the model's; None leaves it to alembic's own comparison."""
    if context.dialect.name == "sqlite":
        return _sqlite_type_differs(context, stored, column)
    if isinstance(stored_type, Enum) and isinstance(column_type, Enum) and stored_type.name == column_type.name:
        return bool(missing_members(stored_type, column_type))
    stored_name, wanted_name = (each.compile(context.dialect) for each in (stored_type, column_type))
    same_base = _BRACKETS.sub("", stored_name) == _BRACKETS.sub("", wanted_name)
    return True if same_base and stored_name != wanted_name else None


def object_counts(_object: object, _name: str | None, kind: str, reflected: bool, compared_to: object) -> bool:
    """Whether alembic may report a table, column, index or constraint."""
    return not (kind == "index" and reflected and compared_to is None)


def change_counts(table: Table, operation: MigrateOperation) -> bool:
    """Whether an operation of alembic's changes anything."""
    if not isinstance(operation, ops.AlterColumnOp) or operation.modify_type is not None:
        return True
    key = table.autoincrement_column
    return key is None or operation.column_name != key.name


def missing_members(stored: Enum, wanted: Enum) -> list[str]:
    """The members of a model's enum that the server's type does not have."""
    return [member for member in wanted.enums if member not in stored.enums]


def _sqlite_type_differs(context: MigrationContext, stored: Column[Any], column: Column[Any]) -> bool:
    stored_name, wanted_name = _declared(context, stored), column.type.compile(context.dialect).upper()
    if column is column.table.autoincrement_column:
        return stored_name != wanted_name
    return _family(stored_name) != _family(wanted_name)


def _declared(context: MigrationContext, stored: Column[Any]) -> str:
    """The type as the table declares it, of which SQLAlchemy tells only what it knows itself."""
    assert context.connection is not None  # noqa: S101 - a comparison has one
    query = text("SELECT upper(type) FROM pragma_table_info(:table) WHERE name = :column")
    found = context.connection.scalar(query, {"table": stored.table.name, "column": stored.name})
    return str(found or "")


def _family(type_name: str) -> str:
    """What SQLite and its SQLAlchemy dialect make of a declared type."""
    bare = _BRACKETS.sub("", type_name).strip()
    affinity = next((family for part, family in _AFFINITIES.items() if part in bare), "NUMERIC")
    return _OWN_FAMILY.get(bare, affinity)
