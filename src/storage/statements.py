"""Statements: Core constructs, compiled once for an engine and run on the driver's own cursor.

SQLAlchemy's execution costs several times what SQLite needs for the statement itself. A statement here keeps the SQL
and the processors of its types, all from SQLAlchemy, and leaves out the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

Processor = Callable[[Any], Any]


class Statement:
    """One statement for every engine it is run on.

    Args:
        clause: A select, insert, update or delete of SQLAlchemy Core.
        keys: For an insert or update, the columns that its parameters set, by their keys.

    Example:
        >>> engine = sa.create_engine("sqlite://")
        >>> with engine.connect() as connection:
        ...     Statement(sa.select(sa.bindparam("number", type_=sa.Integer) + 1)).rows(connection, {"number": 2})
        [(3,)]
        >>> engine.dispose()
    """

    def __init__(self, clause: sa.Executable, keys: Iterable[str] | None = None) -> None:
        self.writes = bool(getattr(clause, "is_dml", False))
        self._clause = clause
        self._keys = None if keys is None else list(keys)
        self._compiled: WeakKeyDictionary[sa.Engine, _Compiled] = WeakKeyDictionary()

    def rows(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> list[Sequence[Any]]:
        """Run it once and fetch every row, so that no snapshot stays open."""
        return self._for(connection.engine).rows(_driver(connection), parameters)

    def run(self, connection: sa.Connection, parameters: Mapping[str, Any]) -> None:
        """Run it once."""
        self._for(connection.engine).run(_driver(connection), parameters)

    def run_many(self, connection: sa.Connection, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each of several sets of parameters."""
        self._for(connection.engine).run_many(_driver(connection), parameters)

    def rows_on(
        self, engine: sa.Engine, connection: DBAPIConnection, parameters: Mapping[str, Any]
    ) -> list[Sequence[Any]]:
        """Run it on a connection of the driver's, and fetch every row."""
        return self._for(engine).rows(connection, parameters)

    def _for(self, engine: sa.Engine) -> _Compiled:
        compiled = self._compiled.get(engine)
        if compiled is None:
            compiled = self._compiled[engine] = _compile(self._clause, self._keys, engine.dialect)
        return compiled


@dataclass(kw_only=True)
class _Compiled:
    """A statement as one engine's driver takes it."""

    text: str
    dialect: sa.Dialect
    binds: tuple[tuple[str, Processor | None], ...]
    sent: tuple[str, ...]  # the names of the binds as the driver has them, which may not take every character
    positional: bool
    fixed: dict[str, Any]
    types: tuple[sa.types.TypeEngine[Any], ...]
    loads: tuple[tuple[int, Processor], ...] | None = None

    def run(self, connection: DBAPIConnection, parameters: Mapping[str, Any]) -> None:
        cursor = connection.cursor()
        try:
            cursor.execute(self.text, self._bound(parameters))
        finally:
            cursor.close()

    def run_many(self, connection: DBAPIConnection, parameters: Sequence[Mapping[str, Any]]) -> None:
        if len(parameters) == 1:
            self.run(connection, parameters[0])
            return
        cursor = connection.cursor()
        try:
            cursor.executemany(self.text, self._bound_all(parameters))
        finally:
            cursor.close()

    def rows(self, connection: DBAPIConnection, parameters: Mapping[str, Any]) -> list[Sequence[Any]]:
        cursor = connection.cursor()
        try:
            cursor.execute(self.text, self._bound(parameters))
            rows = list(cursor.fetchall())
            loads = self._loads_of(cursor)
        finally:
            cursor.close()
        return [_loaded(row, loads) for row in rows] if loads else rows

    def _bound(self, parameters: Mapping[str, Any]) -> Any:
        values = {**self.fixed, **parameters} if self.fixed else parameters
        bound = [values[name] if bind is None else bind(values[name]) for name, bind in self.binds]
        return bound if self.positional else dict(zip(self.sent, bound, strict=True))

    def _bound_all(self, parameters: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Bind column by column, so that what all rows have in common, as the time of an audit entry, is bound once."""
        rows = [{**self.fixed, **item} for item in parameters] if self.fixed else parameters
        columns = [_processed(bind, [row[name] for row in rows]) for name, bind in self.binds]
        bound = zip(*columns, strict=True)
        if self.positional:
            return list(bound)
        return [dict(zip(self.sent, values, strict=True)) for values in bound]

    def _loads_of(self, cursor: DBAPICursor) -> tuple[tuple[int, Processor], ...]:
        """The processors of the result; some drivers tell only now what they return."""
        if self.loads is None:
            found = (
                (index, type_.dialect_impl(self.dialect).result_processor(self.dialect, cursor.description[index][1]))
                for index, type_ in enumerate(self.types)
            )
            self.loads = tuple((index, load) for index, load in found if load is not None)
        return self.loads


def _compile(clause: sa.Executable, keys: list[str] | None, dialect: sa.Dialect) -> _Compiled:
    compiled: Any = clause.compile(dialect=dialect, column_keys=keys)  # type: ignore[attr-defined]
    names = tuple(compiled.positiontup or compiled.bind_names.values())
    types = {name: compiled.binds[name].type.dialect_impl(dialect) for name in names}
    returned: Any = getattr(clause, "exported_columns", ())
    return _Compiled(
        text=str(compiled),
        dialect=dialect,
        binds=tuple((name, types[name].bind_processor(dialect)) for name in names),
        sent=tuple(compiled.escaped_bind_names.get(name, name) for name in names),
        positional=bool(compiled.positional),
        fixed={name: value for name, value in compiled.params.items() if name in names and value is not None},
        types=tuple(column.type for column in returned),
    )


def _processed(bind: Processor | None, values: list[Any]) -> list[Any]:
    if bind is None or not values:
        return values
    first = values[0]
    if all(value is first for value in values):
        return [bind(first)] * len(values)
    return [bind(value) for value in values]


def _loaded(row: Sequence[Any], loads: tuple[tuple[int, Processor], ...]) -> Sequence[Any]:
    values = list(row)
    for index, load in loads:
        values[index] = load(values[index])
    return values


def _driver(connection: sa.Connection) -> DBAPIConnection:
    driver = connection.connection.dbapi_connection
    assert driver is not None  # noqa: S101 - an open connection has one
    return driver
