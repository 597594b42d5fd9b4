"""The record codec: one for each model, between instances, rows and snapshots.

It builds instances from rows without the cost of `__init__` and of a session, and knows what has changed in one since
it was read, so that a save touches nothing else.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, cast

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import InstanceState, Mapper, attributes, make_transient, make_transient_to_detached

from storage.columns import ColumnKind, RecordColumn, columns_of, key_of
from storage.errors import Problem, RecordInvalid, UnsupportedModel
from storage.hooks import ModelType
from storage.values import Refused, bind_for, check_for, load_for, snapshot_for

Values = dict[str, Any]
_STORED = "vention_storage"  # where an instance keeps the values it was read or written with

DELETED_AT = "deleted_at"


@dataclass(frozen=True, kw_only=True)
class Memento:
    """What an instance was before a write, to be put back when the write fails."""

    persistent: bool
    """Whether it counted as stored."""
    values: Values
    """Its attributes."""
    stored: Values | None
    """The values it was read or written with."""


class RecordCodec(Generic[ModelType]):
    """How the records of one model are validated, written, read and told in the audit trail.

    Args:
        model: A class declared with `table=True`.

    Raises:
        UnsupportedModel: It has a composite key, or a column that cannot be kept.
    """

    def __init__(self, model: type[ModelType]) -> None:
        self.model = model
        self.columns = columns_of(model)
        self.key = key_of(model, self.columns)
        self.soft_delete = self._find_soft_delete()
        self._mapper: Mapper[ModelType] = cast(Mapper[ModelType], sa.inspect(model))
        self.table = cast(sa.Table, self._mapper.local_table)
        self.names = tuple(column.name for column in self.columns)
        self.select = sa.select(*(column.column for column in self.columns))
        self.fills_in = any(_filled_in(column.column) for column in self.columns)
        """Whether the database or the column adds values of its own, so that a written row must be read again."""
        self._checks = _functions(check_for, self.columns)
        self._binds = _functions(bind_for, self.columns)
        self._loads = _functions(load_for, self.columns)
        self._snapshots = _functions(snapshot_for, self.columns)
        self._json = frozenset(column.name for column in self.columns if column.kind is ColumnKind.JSON)
        self._required = tuple(
            column.name
            for column in self.columns
            if not column.column.nullable and column.column.server_default is None and not self._numbers(column)
        )
        self._key_adapter: TypeAdapter[Any] = TypeAdapter(self.key.annotation)

    @property
    def numbers_keys(self) -> bool:
        """Whether the database gives a record its key when it brings none."""
        return self._numbers(self.key)

    def _numbers(self, column: RecordColumn) -> bool:
        return column.column is self.table.autoincrement_column

    def _find_soft_delete(self) -> bool:
        column = next((column for column in self.columns if column.name == DELETED_AT), None)
        if column is not None and (column.kind is not ColumnKind.DATETIME or not column.nullable):
            message = f"{self.model.__name__}.{DELETED_AT} is not an optional datetime"
            raise UnsupportedModel(message, hint="declare it as Optional[datetime] = Field(default=None, index=True)")
        return column is not None

    # validation

    def validate(self, instance: ModelType, *, defaults: Mapping[str, Any] | None = None) -> Values:
        """Validate an instance by its model and by its columns.

        Args:
            instance: The record.
            defaults: Values of attributes that it has not loaded.

        Returns:
            Every attribute, as it is to be kept.

        Raises:
            RecordInvalid: With every problem that was found.
        """
        if not isinstance(instance, self.model):
            shown = type(instance).__name__
            raise RecordInvalid(self.model.__name__, [Problem(field="", message=f"is expected, not {shown}")])
        self._refuse_related(instance)
        given = {**(defaults or {}), **self._given(instance)}
        holder = self.model.__new__(self.model)
        try:
            self.model.__pydantic_validator__.validate_python(given, self_instance=holder, by_name=True)
        except ValidationError as error:
            raise RecordInvalid(self.model.__name__, [_problem(item) for item in error.errors()]) from None
        return self._checked({name: holder.__dict__[name] for name in self.names})

    def validate_key(self, key: Any) -> Any:
        """Validate a key.

        Raises:
            RecordInvalid: It is not of the key's type.
        """
        name = self.key.name
        try:
            value = self._key_adapter.validate_python(key, strict=isinstance(key, bool | float))
            return self._checks[name](value) if name in self._checks else value
        except ValidationError as error:
            problems = [Problem(field=name, message=_problem(item).message) for item in error.errors()]
        except Refused as error:
            problems = [Problem(field=name, message=str(error))]
        raise RecordInvalid(self.model.__name__, problems)

    def _given(self, instance: ModelType) -> Values:
        present = instance.__dict__
        return {name: present[name] for name in self.names if name in present}

    def validate_loaded(self, instance: ModelType) -> Values:
        """Validate an instance of which a session may not have loaded every attribute.

        Returns:
            The attributes that are there, with the key.

        Raises:
            RecordInvalid: With every problem that was found.
        """
        if isinstance(instance, self.model):
            state = attributes.instance_state(instance)
            if state.identity is not None and state.unloaded & set(self.names):
                return {**self._given(instance), self.key.name: state.identity[0]}
        return self.validate(instance)

    def is_deleted(self, values: Values) -> bool:
        """Whether the record of these values is soft-deleted."""
        return self.soft_delete and values[DELETED_AT] is not None

    def _checked(self, values: Values) -> Values:
        problems = [Problem(field=name, message="is required") for name in self._required if values[name] is None]
        for name, check in self._checks.items():
            if values[name] is not None:
                try:
                    values[name] = check(values[name])
                except Refused as error:
                    problems.append(Problem(field=name + error.path, message=str(error)))
        if problems:
            raise RecordInvalid(self.model.__name__, problems)
        return values

    def _refuse_related(self, instance: ModelType) -> None:
        for relationship in self._mapper.relationships:
            history = attributes.instance_state(instance).attrs[relationship.key].history
            if any(related is not None for related in history.added or ()):
                message = "has related objects, which are not written along; insert each by its accessor, set the id"
                raise RecordInvalid(self.model.__name__, [Problem(field=relationship.key, message=message)])

    # rows

    def parameters(self, values: Mapping[str, Any]) -> Values:
        """Turn values into the parameters of a statement, by the names of the columns."""
        binds = self._binds
        return {
            column.column.key: binds[column.name](values[column.name])
            if column.name in binds and values[column.name] is not None
            else values[column.name]
            for column in self.columns
            if column.name in values
        }

    def values_of(self, row: Iterable[Any]) -> Values:
        """Turn a row of `select` into values."""
        values = dict(zip(self.names, row, strict=True))
        for name, load in self._loads.items():
            if values[name] is not None:
                values[name] = load(values[name])
        return values

    def snapshot(self, values: Mapping[str, Any]) -> Values:
        """The JSON form of a record in the audit trail: bytes as base64, enums by member name."""
        snapshot = dict(values)
        for name, convert in self._snapshots.items():
            if snapshot[name] is not None:
                snapshot[name] = convert(snapshot[name])
        return snapshot

    # instances

    def build(self, values: Values) -> ModelType:
        """Make an instance that counts as stored, without a session and without `__init__`.

        Args:
            values: Every attribute; the codec keeps the dict.
        """
        instance: ModelType = self._mapper.class_manager.new_instance()
        instance.__dict__.update(values)
        object.__setattr__(instance, "__pydantic_fields_set__", set(self.names))
        state = attributes.instance_state(instance)
        state.key = self._mapper.identity_key_from_primary_key((values[self.key.name],))
        self._remember(state, values)
        return instance

    def stamp(self, instance: ModelType, values: Values) -> None:
        """Give an instance the values that were written, and make it count as stored."""
        for name in self.names:
            attributes.set_committed_value(instance, name, values[name])
        state = attributes.instance_state(instance)
        if state.key is None:
            make_transient_to_detached(instance)
        self._remember(state, values)

    def capture(self, instance: ModelType) -> Memento:
        """Note what an instance is before a write."""
        state = attributes.instance_state(instance)
        return Memento(persistent=state.key is not None, values=self._given(instance), stored=state.info.get(_STORED))

    def revert(self, instance: ModelType, memento: Memento) -> None:
        """Put an instance back to what it was before a write that failed."""
        state = attributes.instance_state(instance)
        if state.key is not None and not memento.persistent:
            make_transient(instance)
        for name in set(self._given(instance)) - set(memento.values):
            del instance.__dict__[name]
        instance.__dict__.update(memento.values)
        if memento.stored is not None:
            state.info[_STORED] = memento.stored
        else:
            state.info.pop(_STORED, None)

    def identity(self, key: Any) -> Any:
        """The identity by which a session knows the record of a key."""
        return self._mapper.identity_key_from_primary_key((key,))

    def changes(self, instance: ModelType, values: Values, row: Values) -> Values:
        """What a save of an instance writes: what its holder changed since it was read, where the row has it otherwise.

        Args:
            instance: The record.
            values: Its validated values.
            row: The values in the database.
        """
        return {name: values[name] for name in self._touched(instance, values) if self._differ(name, values, row)}

    def _touched(self, instance: ModelType, values: Values) -> Iterable[str]:
        state = attributes.instance_state(instance)
        stored = state.info.get(_STORED)
        if stored is not None:
            return [name for name in self.names if self._differ(name, values, stored)]
        if state.key is not None:  # read by somebody's session, which keeps the history itself
            return [name for name in self.names if state.attrs[name].history.has_changes()]
        return self.names

    def _differ(self, name: str, left: Values, right: Values) -> bool:
        if name in self._json:  # 1, 1.0 and True are equal to Python, but not to JSON
            bind = self._binds.get(name)
            return _json_key(left[name], bind) != _json_key(right[name], bind)
        return bool(left[name] != right[name])

    def _remember(self, state: InstanceState[Any], values: Values) -> None:
        if self._json:
            values = {**values, **{name: copy.deepcopy(values[name]) for name in self._json}}
        state.info[_STORED] = values


@functools.cache
def codec_of(model: type[ModelType]) -> RecordCodec[ModelType]:
    """The codec of a model, made once.

    Raises:
        UnsupportedModel: The model has a composite key, or a column that cannot be kept.
    """
    return RecordCodec(model)


def _functions(make: Any, columns: Iterable[RecordColumn]) -> dict[str, Any]:
    made = {column.name: make(column) for column in columns}
    return {name: function for name, function in made.items() if function is not None}


def _filled_in(column: sa.Column[Any]) -> bool:
    return any((column.server_default, column.server_onupdate, column.onupdate, column.computed))


def _json_key(value: Any, bind: Any) -> str:
    return json.dumps(bind(value) if bind and value is not None else value, sort_keys=True)


def _problem(error: Any) -> Problem:
    """One problem from one error of pydantic's."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).removeprefix(".")
    message = "is required" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
    return Problem(field=path, message=message[:1].lower() + message[1:])
