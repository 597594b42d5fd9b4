"""The rows of a file from outside: whether each is one that an accessor can have written, and can read."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import SQLModel

from storage.auditor import AuditLog
from storage.columns import ColumnKind, RecordColumn, columns_of
from storage.errors import BadRow, UnsupportedModel
from storage.values import Refused, check_for, load_for

MOST_BAD_ROWS = 20
"""How many bad rows are looked for: a file with so many is of no use, however many more it has."""

_PAGE = 100  # rows in memory at a time, which may be large
_LONGEST_KEY = 60
_TYPES: dict[ColumnKind, type] = {
    ColumnKind.SMALLINT: int,
    ColumnKind.INTEGER: int,
    ColumnKind.BIGINT: int,
    ColumnKind.FLOAT: float,
    ColumnKind.BOOLEAN: bool,
    ColumnKind.TEXT: str,
    ColumnKind.BYTES: bytes,
    ColumnKind.DECIMAL: Decimal,
    ColumnKind.DATETIME: datetime,
    ColumnKind.DATE: date,
    ColumnKind.TIME: time,
    ColumnKind.TIMEDELTA: timedelta,
    ColumnKind.UUID: UUID,
}
_Step = Callable[[Any], Any]


def bad_rows(connection: sqlite3.Connection, dialect: sa.Dialect, metadata: sa.MetaData) -> list[BadRow]:
    """Find the rows that no accessor can have written, or that none could read.

    The validators of the models are not asked: they may have become stricter since the file was made.

    Args:
        connection: A connection to the file alone, whose tables are those of the models.
        dialect: SQLAlchemy's, whose types read what the driver returns.
        metadata: The tables of the app.

    Returns:
        The first `MOST_BAD_ROWS` of them.
    """
    # What is no UTF-8 becomes halves of surrogate pairs, which are refused with all others.
    connection.text_factory = functools.partial(str, encoding="utf-8", errors="surrogateescape")
    found = (row for model in _models_of(metadata) for row in _bad_rows_of(model, connection, dialect))
    return list(islice(found, MOST_BAD_ROWS))


def _models_of(metadata: sa.MetaData) -> list[type[SQLModel]]:
    """The models of the tables, by the names of these."""
    found: dict[str, type[SQLModel]] = {}
    waiting: list[type[SQLModel]] = [SQLModel]
    while waiting:
        for model in waiting.pop().__subclasses__():
            waiting.append(model)
            table: sa.Table | None = getattr(model, "__table__", None)
            if table is not None and metadata.tables.get(table.key) is table:  # not one that is forgotten
                found[table.key] = model
    return [found[name] for name in sorted(found)]


def _bad_rows_of(model: type[SQLModel], connection: sqlite3.Connection, dialect: sa.Dialect) -> Iterator[BadRow]:
    try:
        columns = columns_of(model)
    except UnsupportedModel:  # which no accessor reads
        return
    table = columns[0].column.table
    keys = [index for index, column in enumerate(columns) if column.column.primary_key]
    readers = [_Reader(column, dialect, checked=model is not AuditLog) for column in columns]
    statement = sa.select(*(column.column for column in columns)).compile(dialect=dialect)
    with closing(connection.execute(str(statement))) as cursor:
        while rows := cursor.fetchmany(_PAGE):
            for reader, cells in zip(readers, zip(*rows, strict=True), strict=True):
                for index, message in reader.faults(cells):
                    key = ", ".join(_shown(rows[index][place]) for place in keys)
                    yield BadRow(table=table.name, key=key, column=reader.name, message=message)


class _Reader:
    """Reads the cells of one column as an accessor does.

    Args:
        column: The column.
        dialect: SQLAlchemy's.
        checked: Whether JSON must be what is written today; the audit trail keeps what older versions wrote.
    """

    def __init__(self, column: RecordColumn, dialect: sa.Dialect, *, checked: bool) -> None:
        self.name = column.name
        self._kind = column.kind
        type_: sa.types.TypeEngine[Any] = column.column.type
        self._processor: _Step | None = type_.dialect_impl(dialect).result_processor(dialect, None)
        self._load = load_for(column)
        self._type = column.annotation if column.kind is ColumnKind.ENUM else _TYPES.get(column.kind, object)
        self._check = check_for(column) if checked or column.kind is not ColumnKind.JSON else None

    def faults(self, cells: tuple[Any, ...]) -> Iterator[tuple[int, str]]:
        """Tell which of the cells are wrong, and why."""
        for index, cell in enumerate(cells):
            if cell is not None and (message := self._fault(cell)):
                yield index, message

    def _fault(self, cell: Any) -> str | None:
        try:
            if self._kind is ColumnKind.BOOLEAN and cell not in (0, 1):  # which SQLAlchemy takes for True
                return "must be 0 or 1"
            value = cell if self._processor is None else self._processor(cell)
            if self._load is not None and value is not None:
                value = self._load(value)
            if value is None:  # the null of JSON
                return None
            if not isinstance(value, self._type):
                return f"is kept as {type(value).__name__}, not as {self._kind.value}"
            if self._check is not None:
                self._check(value)
        except Refused as refused:
            return str(refused)
        except Exception:  # noqa: BLE001 - SQLAlchemy and the types of the app raise whatever they like
            return f"cannot be read as {self._kind.value}"
        return None


def _shown(key: Any) -> str:
    text = key.hex() if isinstance(key, bytes) else str(key)
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_KEY])
