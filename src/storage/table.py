"""The SQL of one model: Core statements, built once, on the connection of a scope."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Generic

import sqlalchemy as sa

from storage.errors import RecordLimitReached
from storage.hooks import ModelType
from storage.records import DELETED_AT, RecordCodec, Values
from storage.schema.ids import reserve_ids
from storage.scope import Scope

_CHUNK = 500  # keys in one IN (…), well below any database's limit of parameters
_KEY = "vention_key"  # the parameter of WHERE, which must not be the name of a column


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
        self._by_key = codec.select.where(self._key == sa.bindparam(_KEY))
        self._by_key_locked = self._by_key.with_for_update()
        self._in_order = codec.select.order_by(self._key)
        self._insert = sa.insert(self._table)
        self._update = sa.update(self._table).where(self._key == sa.bindparam(_KEY))
        self._delete = sa.delete(self._table).where(self._key == sa.bindparam(_KEY))
        self._maybe_empty = [column.name for column in codec.columns if column.column.server_default is not None]

    # read

    def find(self, connection: sa.Connection, key: Any) -> Values | None:
        """Read the record of a key."""
        row = connection.execute(self._by_key, {_KEY: key}).first()
        return None if row is None else self.codec.values_of(row)

    def find_to_write(self, scope: Scope, key: Any) -> Values | None:
        """Read the record of a key, which nobody else can write until the transaction ends."""
        row = scope.execute(self._by_key_locked, {_KEY: key}).first()
        return None if row is None else self.codec.values_of(row)

    def find_many_to_write(self, scope: Scope, keys: Sequence[Any]) -> list[Values]:
        """Read the records of some keys in the order of the keys, for writing; what is missing is left out."""
        found: dict[Any, Values] = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = self.codec.select.where(self._key.in_(keys[start : start + _CHUNK])).with_for_update()
            for row in scope.execute(chunk):
                values = self.codec.values_of(row)
                found[values[self.codec.key.name]] = values
        return [found[key] for key in keys if key in found]

    def find_all(
        self, connection: sa.Connection, *, include_deleted: bool, after: Any = None, size: int | None = None
    ) -> list[Values]:
        """Read records in the order of their keys.

        Args:
            connection: Where to read.
            include_deleted: Whether soft-deleted records are among them.
            after: The key behind which to start, None for the first.
            size: How many at most, None for all.
        """
        statement = self._in_order if include_deleted else self._in_order.where(self._active)
        if after is not None:
            statement = statement.where(self._key > after)
        if size is not None:
            statement = statement.limit(size)
        return [self.codec.values_of(row) for row in connection.execute(statement).all()]

    def check_limit(self, scope: Scope, limit: int) -> None:
        """Refuse more active records than a limit, counting no further than needed.

        Raises:
            RecordLimitReached: There are more.
        """
        some = sa.select(sa.literal(1)).select_from(self._table).where(self._active).limit(limit + 1).subquery()
        if scope.execute(sa.select(sa.func.count()).select_from(some)).scalar_one() > limit:
            message = f"{self.codec.model.__name__} already has {limit} active records, which is its limit"
            raise RecordLimitReached(message, hint="delete one first")

    # write

    def insert(self, scope: Scope, records: Sequence[Values]) -> list[Values]:
        """Insert records; returns their values with the keys and whatever else the database filled in."""
        if len(records) == 1 or self.codec.fills_in:
            return [self._insert_one(scope, values) for values in records]
        records = self._with_keys(scope, records)
        scope.execute(self._insert, [self.codec.parameters(values) for values in records])
        self._note(scope, records)
        return list(records)

    def _insert_one(self, scope: Scope, values: Values) -> Values:
        name, key = self.codec.key.name, values[self.codec.key.name]
        result = scope.execute(self._insert, self._parameters(values))
        if key is None:
            values = {**values, name: result.inserted_primary_key[0]}
        elif self.codec.numbers_keys and not scope.dialect.counts_given_ids:
            reserve_ids(scope.connection, self._table, key)
        return self._written(scope, values)

    def update(self, scope: Scope, values: Values, changes: Values) -> Values:
        """Write some attributes of a record; returns all of its values."""
        key = values[self.codec.key.name]
        scope.execute(self._update, {**self.codec.parameters(changes), _KEY: key})
        return self._written(scope, {**values, **changes})

    def delete(self, scope: Scope, records: Sequence[Values]) -> None:
        """Remove records."""
        scope.execute(self._delete, [{_KEY: values[self.codec.key.name]} for values in records])
        self._note(scope, records)

    def mark(self, scope: Scope, records: Sequence[Values], changes: Values) -> None:
        """Write the same attributes into several records."""
        parameters = self.codec.parameters(changes)
        scope.execute(self._update, [{**parameters, _KEY: values[self.codec.key.name]} for values in records])
        self._note(scope, records)

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
        if given:
            reserve_ids(scope.connection, self._table, max(given))
        keys = iter(scope.dialect.allocate_ids(scope.connection, self._key, len(records) - len(given)))
        return [values if values[name] is not None else {**values, name: next(keys)} for values in records]
