"""Values for the rows that are there when a column becomes mandatory."""

from __future__ import annotations

import enum
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, Column, ColumnDefault, Dialect, LargeBinary, TypeDecorator
from sqlalchemy.types import TypeEngine

from storage.dialects.base import json_text

_ZEROS: dict[type, Any] = {
    bool: False,
    int: 0,
    float: 0.0,
    str: "",
    bytes: b"",
    Decimal: Decimal(0),
    datetime: datetime.fromtimestamp(0, UTC),
    date: date(1970, 1, 1),
    time: time(0),
    timedelta: timedelta(0),
    uuid.UUID: uuid.UUID(int=0),
}


def filler(column: Column[Any], dialect: Dialect) -> str:
    """SQL of the value for rows that have none: the model's default, else the zero of the column's type.

    Args:
        column: The model's column.
        dialect: The database.

    Example:
        >>> from sqlalchemy import Integer
        >>> from sqlalchemy.dialects import sqlite
        >>> filler(Column("speed", Integer, default=7), sqlite.dialect())
        '7'
        >>> filler(Column("speed", Integer), sqlite.dialect())
        '0'
    """
    return _literal(_stored_form(column, dialect), dialect)


def _stored_form(column: Column[Any], dialect: Dialect) -> object:
    """The value as the driver gets it. SQLAlchemy's own literals leave out intervals and JSON."""
    default, bare = column.default, _undecorated(column.type)
    value = default.arg if isinstance(default, ColumnDefault) and default.is_scalar else _zero(column.type)
    if isinstance(bare, JSON):
        return json_text(value)
    if isinstance(bare, LargeBinary):
        return value
    process = column.type.dialect_impl(dialect).bind_processor(dialect)
    return process(value) if process else value


def _undecorated(column_type: TypeEngine[Any]) -> TypeEngine[Any]:
    while isinstance(column_type, TypeDecorator):
        column_type = column_type.impl_instance
    return column_type


def _zero(column_type: TypeEngine[Any]) -> object:
    """What is nothing in a type: zero, the empty text, an enum's first member."""
    bare = _undecorated(column_type)
    if isinstance(bare, JSON):
        return {}
    for kind in (column_type.python_type, bare.python_type):
        if issubclass(kind, enum.Enum):
            return next(iter(kind))
        if kind in _ZEROS:
            return _ZEROS[kind]
    return ""


def _literal(value: object, dialect: Dialect) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'" if dialect.name == "postgresql" else f"x'{value.hex()}'"
    escaped = str(value).replace("'", "''")
    return f"'{escaped}'"
