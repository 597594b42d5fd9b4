"""The SQL of one model: Core statements, built once, on the connection of a scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic

import sqlalchemy as sa

from storage.columns import INTEGERS
from storage.errors import ForeignKeyViolation, RecordLimitReached
from storage.hooks import ModelType
from storage.reader import read
from storage.records import DELETED_AT, RecordCodec, Row, Values
from storage.references import explained
from storage.schema.ids import reserve_ids
from storage.scope import Scope, translated
from storage.statements import Statement

_MOST_STATEMENTS = 256  # of one model, for there may be one for each set of columns that somebody updates
_SOON_COUNTED = 100  # records that are counted in no more time than it takes to look for a shortcut
_ENDS = (sa.func.min, sa.func.max)
# Parameters, which must not be called like a column.
_KEY, _AFTER, _SIZE = "vention_key", "vention_after", "vention_size"


class RecordTable(Generic[ModelType]):
    """What is read from and written to the table of one model; knows no hooks and no audit trail.

    Args:
        codec: The model's codec.
    """

    def __init__(self, codec: RecordCodec[ModelType]) -> None:
        self.codec = codec
        self._table, self._key = codec.table, codec.key.column
        self._columns = {column.name: column.column for column in codec.columns}
        self._active = self._columns[DELETED_AT].is_(None) if codec.soft_delete else sa.true()
        has_key = self._key == sa.bindparam(_KEY)
        self._by_key = Statement(codec.select.where(has_key))
        self._by_key_locked = Statement(codec.select.where(has_key).with_for_update())
        self._update = sa.update(self._table).where(has_key)
        self._delete = Statement(sa.delete(self._table).where(has_key))
        some = sa.select(sa.literal(1)).select_from(self._table).where(self._active).limit(sa.bindparam(_SIZE))
        self._count = Statement(sa.select(sa.func.count()).select_from(some.subquery()))
        self._key_is_number = codec.key.kind in INTEGERS
        # Apart, so that each is found at an end of the index.
        self._ends = Statement(sa.select(*(sa.select(end(self._key)).scalar_subquery() for end in _ENDS)))
        self._maybe_empty = [column.name for column in codec.columns if column.column.server_default is not None]
        self._made: dict[Any, Statement] = {}

    # read

    def find(self, key: Any) -> Values | None:
        """Read the record of a key."""
        rows = read(self._by_key, {_KEY: key})
        return self.codec.values_of(rows[0]) if rows else None

    def find_to_write(self, scope: Scope, key: Any) -> Values | None:
        """Read the record of a key, which nobody else can write until the transaction ends."""
        rows = scope.rows(self._by_key_locked, {_KEY: key})
        return self.codec.values_of(rows[0]) if rows else None

    def find_all(self, *, include_deleted: bool, after: Any = None, size: int | None = None) -> list[Row]:
        """Read the rows of records in the order of their keys.

        Args:
            include_deleted: Whether soft-deleted records are among them.
            after: The key behind which to start, None for the first.
            size: How many at most, None for all.
        """
        statement = self._listing(include_deleted, after is not None, size is not None)
        given = {_AFTER: after, _SIZE: size}
        return read(statement, {name: value for name, value in given.items() if value is not None})

    def check_limit(self, scope: Scope, limit: int) -> None:
        """Refuse more active records than a limit, counting no further than needed.

        Raises:
            RecordLimitReached: There are more.
        """
        if limit > _SOON_COUNTED and self._key_is_number:
            lowest, highest = scope.rows(self._ends, {})[0]  # between them there are no more records than numbers
            if lowest is None or highest - lowest < limit:
                return
        if scope.rows(self._count, {_SIZE: limit + 1})[0][0] > limit:
            message = f"{self.codec.model.__name__} already has {limit} active records, which is its limit"
            raise RecordLimitReached(message, hint="delete one first")

    # write

    def insert(self, scope: Scope, records: Sequence[Values]) -> list[Values]:
        """Insert records; returns their values with the keys and whatever else the database filled in."""
        try:
            return self._insert(scope, records)
        except ForeignKeyViolation as error:
            raise self._explained(scope, error, records) from error

    def _insert(self, scope: Scope, records: Sequence[Values]) -> list[Values]:
        if len(records) == 1 or self.codec.fills_in:
            return [self._insert_one(scope, values) for values in records]
        records = self._with_keys(scope, records)
        parameters = [self.codec.parameters(values) for values in records]
        scope.run_many(self._inserting(tuple(parameters[0]), returning=False), parameters)
        self._note(scope, records)
        return list(records)

    def update(self, scope: Scope, values: Values, changes: Values) -> Values:
        """Write some attributes of a record; returns all of its values."""
        key = values[self.codec.key.name]
        parameters = self.codec.parameters(changes)
        try:
            if self.codec.fills_in:  # by SQLAlchemy, which calls the functions that a column has for its updates
                scope.execute(self._update, {**parameters, _KEY: key})
            else:
                scope.run(self._updating(tuple(parameters)), {**parameters, _KEY: key})
        except ForeignKeyViolation as error:
            raise self._explained(scope, error, [changes]) from error
        return self._written(scope, {**values, **changes})

    def delete(self, scope: Scope, records: Sequence[Values]) -> None:
        """Remove records."""
        try:
            scope.run_many(self._delete, [{_KEY: values[self.codec.key.name]} for values in records])
        except ForeignKeyViolation as error:
            raise self._explained(scope, error, records, removed=True) from error
        self._note(scope, records)

    def mark(self, scope: Scope, records: Sequence[Values], changes: Values) -> list[Values]:
        """Write the same attributes into several records; returns all of their values."""
        if self.codec.fills_in:
            return [self.update(scope, values, changes) for values in records]
        parameters = self.codec.parameters(changes)
        rows = [{**parameters, _KEY: values[self.codec.key.name]} for values in records]
        scope.run_many(self._updating(tuple(parameters)), rows)
        self._note(scope, records)
        return [{**values, **changes} for values in records]

    def _insert_one(self, scope: Scope, values: Values) -> Values:
        name, key = self.codec.key.name, values[self.codec.key.name]
        parameters = self._parameters(values)
        rows = scope.rows(self._inserting(tuple(parameters), returning=True), parameters)
        if key is None:
            values = {**values, name: self.codec.validate_key(rows[0][0])}
        elif self.codec.numbers_keys and not scope.dialect.counts_given_ids:
            with translated(scope.dialect):
                reserve_ids(scope.connection, self._table, key)
        return self._written(scope, values)

    def _explained(
        self, scope: Scope, error: ForeignKeyViolation, records: Iterable[Values], *, removed: bool = False
    ) -> ForeignKeyViolation:
        rows = (self.codec.parameters(values) for values in records)
        return explained(scope, error, self._table, rows, removed=removed)

    # statements

    def _listing(self, include_deleted: bool, after: bool, size: bool) -> Statement:
        def make() -> sa.Select[Any]:
            clause = self.codec.select.order_by(self._key)
            clause = clause if include_deleted else clause.where(self._active)
            clause = clause.where(self._key > sa.bindparam(_AFTER)) if after else clause
            return clause.limit(sa.bindparam(_SIZE)) if size else clause

        return self._cached(("list", include_deleted, after, size), make)

    def _inserting(self, keys: tuple[str, ...], *, returning: bool) -> Statement:
        def make() -> sa.Insert:
            clause = sa.insert(self._table)
            return clause.returning(self._key) if returning else clause

        return self._cached(("insert", keys, returning), make, keys)

    def _updating(self, keys: tuple[str, ...]) -> Statement:
        return self._cached(("update", keys), lambda: self._update, keys)

    def _cached(self, name: Any, make: Callable[[], sa.Executable], keys: Iterable[str] | None = None) -> Statement:
        statement = self._made.get(name)
        if statement is None:
            if len(self._made) >= _MOST_STATEMENTS:
                self._made.clear()
            statement = self._made[name] = Statement(make(), keys)
        return statement

    def _note(self, scope: Scope, records: Iterable[Values]) -> None:
        scope.written.update(self.codec.identity(values[self.codec.key.name]) for values in records)

    def _written(self, scope: Scope, values: Values) -> Values:
        self._note(scope, [values])
        key = values[self.codec.key.name]
        return (self.find_to_write(scope, key) or values) if self.codec.fills_in else values

    def _parameters(self, values: Values) -> Values:
        """The parameters of an insert, without those that the database shall fill in."""
        filled = [name for name in self._maybe_empty if values[name] is None]
        if self.codec.numbers_keys and values[self.codec.key.name] is None:
            filled.append(self.codec.key.name)
        return self.codec.parameters({name: value for name, value in values.items() if name not in filled})

    def _with_keys(self, scope: Scope, records: Sequence[Values]) -> Sequence[Values]:
        """Give a key to each record that has none, since one statement for many rows does not tell theirs."""
        name = self.codec.key.name
        given = [values[name] for values in records if values[name] is not None]
        if not self.codec.numbers_keys or (len(given) == len(records) and scope.dialect.counts_given_ids):
            return records
        with translated(scope.dialect):
            if given:
                reserve_ids(scope.connection, self._table, max(given))
            allocated = scope.dialect.allocate_ids(scope.connection, self._key, len(records) - len(given))
        keys = iter([self.codec.validate_key(key) for key in allocated])
        return [values if values[name] is not None else {**values, name: next(keys)} for values in records]
