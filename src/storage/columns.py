"""Columns: what each attribute of a model keeps."""

from __future__ import annotations

import types
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import sqlalchemy as sa
from pydantic import AwareDatetime, EmailStr, FutureDate, FutureDatetime, NaiveDatetime, PastDate, PastDatetime
from sqlalchemy.orm import ColumnProperty, Mapper
from sqlmodel import SQLModel

from storage.errors import UnsupportedModel


class ColumnKind(Enum):
    """What a column keeps."""

    SMALLINT = "smallint"
    INTEGER = "integer"
    BIGINT = "bigint"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TEXT = "text"
    BYTES = "bytes"
    DECIMAL = "decimal"
    DATETIME = "datetime"
    DATE = "date"
    TIME = "time"
    TIMEDELTA = "timedelta"
    UUID = "uuid"
    ENUM = "enum"
    JSON = "json"


INTEGERS = frozenset({ColumnKind.SMALLINT, ColumnKind.INTEGER, ColumnKind.BIGINT})
"""The kinds that keep whole numbers."""

# For each Python type, the column types that can keep it; the first match counts, so subclasses come before their base.
_KINDS: tuple[tuple[type, type[sa.types.TypeEngine[Any]], ColumnKind], ...] = (
    (Enum, sa.Enum, ColumnKind.ENUM),
    (bool, sa.Boolean, ColumnKind.BOOLEAN),
    (int, sa.BigInteger, ColumnKind.BIGINT),
    (int, sa.SmallInteger, ColumnKind.SMALLINT),
    (int, sa.Integer, ColumnKind.INTEGER),
    (float, sa.Float, ColumnKind.FLOAT),
    (str, sa.String, ColumnKind.TEXT),
    (bytes, sa.LargeBinary, ColumnKind.BYTES),
    (Decimal, sa.Numeric, ColumnKind.DECIMAL),
    (Decimal, sa.String, ColumnKind.DECIMAL),
    (datetime, sa.DateTime, ColumnKind.DATETIME),
    (date, sa.Date, ColumnKind.DATE),
    (time, sa.Time, ColumnKind.TIME),
    (timedelta, sa.Interval, ColumnKind.TIMEDELTA),
    (UUID, sa.Uuid, ColumnKind.UUID),
)
_CONSTRAINED = {
    EmailStr: str,
    AwareDatetime: datetime,
    PastDatetime: datetime,
    FutureDatetime: datetime,
    PastDate: date,
    FutureDate: date,
}
KEY_KINDS = frozenset({ColumnKind.INTEGER, ColumnKind.BIGINT, ColumnKind.TEXT, ColumnKind.UUID})


@dataclass(frozen=True, kw_only=True)
class RecordColumn:
    """One attribute of a model and the column that keeps it."""

    name: str
    """The attribute; the column may have another name."""
    column: sa.Column[Any]
    """The column of the table."""
    annotation: Any
    """The attribute's Python type, without Optional and Annotated."""
    nullable: bool
    """Whether None is a value of it, kept as SQL NULL."""
    kind: ColumnKind
    """What the column keeps."""

    @property
    def storage_type(self) -> sa.types.TypeEngine[Any]:
        """The column's type, that of the database where a TypeDecorator wraps it."""
        return unwrapped(self.column.type)


def columns_of(model: type[SQLModel]) -> tuple[RecordColumn, ...]:
    """List the columns of a model in the order of its fields.

    Args:
        model: A class declared with `table=True`.

    Raises:
        UnsupportedModel: It has no table of its own, or a column that cannot be kept.
    """
    mapper = _mapper_of(model)
    return tuple(
        _column_of(model, name, attribute.columns[0])
        for name, attribute in mapper.attrs.items()
        if isinstance(attribute, ColumnProperty) and isinstance(attribute.columns[0], sa.Column)
    )


def key_of(model: type[SQLModel], columns: tuple[RecordColumn, ...]) -> RecordColumn:
    """Find the primary key among the columns of a model.

    Raises:
        UnsupportedModel: It is composite, or of a kind that cannot be one.
    """
    keys = [column for column in columns if column.column.primary_key]
    if len(keys) != 1:
        message = f"{model.__name__} has a primary key of {len(keys)} columns"
        raise UnsupportedModel(message, hint="give it one key column, and a UniqueConstraint over the others")
    if keys[0].kind not in KEY_KINDS:
        message = f"{model.__name__}.{keys[0].name} cannot be a primary key"
        raise UnsupportedModel(message, hint="use int, str or UUID")
    return keys[0]


def unwrapped(type_: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """The type of the database inside a TypeDecorator."""
    while isinstance(type_, sa.types.TypeDecorator) and not isinstance(type_, sa.Interval):
        type_ = type_.impl_instance
    return type_


def _mapper_of(model: type[SQLModel]) -> Mapper[Any]:
    mapper = sa.inspect(model, raiseerr=False)
    if not isinstance(mapper, Mapper):
        message = f"{getattr(model, '__name__', model)} has no table"
        raise UnsupportedModel(message, hint="declare it as class …(SQLModel, table=True)")
    if mapper.inherits is not None or len(mapper.tables) != 1:
        message = f"{model.__name__} shares its table with another model, or spreads over several"
        raise UnsupportedModel(
            message, hint="give each model a table of its own; share fields by a base without table=True"
        )
    return mapper


def _column_of(model: type[SQLModel], name: str, column: sa.Column[Any]) -> RecordColumn:
    field = model.model_fields.get(name)
    if field is None:
        message = f"{model.__name__}.{name} is a column without a field"
        raise UnsupportedModel(message, hint="declare it as an annotated field of the class")
    annotation, nullable = _bare(field.annotation)
    naive = annotation is NaiveDatetime or any(isinstance(item, NaiveDatetime) for item in field.metadata)
    kind = None if naive else _kind_of(annotation, unwrapped(column.type))
    if kind is None:
        shown = getattr(annotation, "__name__", annotation)
        message = f"{model.__name__}.{name} is {shown} in a {column.type!r} column, which storage cannot keep"
        hint = "use datetime, whose times are aware UTC" if naive else "see the types in the reference"
        raise UnsupportedModel(message, hint=hint)
    return RecordColumn(
        name=name, column=column, annotation=annotation, nullable=nullable and bool(column.nullable), kind=kind
    )


def _kind_of(annotation: Any, type_: sa.types.TypeEngine[Any]) -> ColumnKind | None:
    if isinstance(type_, sa.JSON):
        return ColumnKind.JSON
    if isinstance(type_, sa.Enum) != (isinstance(annotation, type) and issubclass(annotation, Enum)):
        return None  # sa.Enum is a String to SQLAlchemy, and a str Enum is text to Python
    if isinstance(annotation, type):
        for python_type, column_type, kind in _KINDS:
            if issubclass(annotation, python_type) and isinstance(type_, column_type):
                return kind
        return None
    # Literal and its like: text once it is validated, which values.py makes sure of.
    return ColumnKind.TEXT if isinstance(type_, sa.String) else None


def _bare(annotation: Any) -> tuple[Any, bool]:
    """Take Optional and Annotated off a type, and tell whether it was optional."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _bare(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        optional = len(members) < len(get_args(annotation))
        if len(members) == 1:
            return _bare(members[0])[0], optional
        return annotation, optional
    return _CONSTRAINED.get(annotation, annotation), annotation is Any
