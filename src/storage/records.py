"""The record codec: one for each model, between instances, rows and snapshots.

It builds instances from rows without the cost of `__init__` and of a session, and knows what has changed in one since
it was read, so that a save touches nothing else.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Generic, cast

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json
from sqlalchemy.orm import InstanceState, Mapper, attributes, make_transient, make_transient_to_detached
from sqlmodel import SQLModel

from storage.collector import collector_at_rest
from storage.columns import ColumnKind, RecordColumn, columns_of, key_of
from storage.errors import Problem, RecordInvalid, UnsupportedModel
from storage.hooks import ModelType
from storage.values import Convert, Refused, bind_for, check_for, load_for, snapshot_for

Row = Sequence[Any]
Values = dict[str, Any]
_MANY = 1000  # so many new objects that the garbage collector would notice
_TEXTS = "vention_storage_texts"  # where an instance keeps its JSON columns as they were read

DELETED_AT = "deleted_at"


@dataclass(frozen=True, kw_only=True)
class Memento:
    """What an instance was before a write, to be put back when the write fails."""

    identity: Any
    """What it counted as stored by, None where it did not."""
    values: Values
    """Its attributes."""
    replaced: Values
    """The values that its holder had replaced since it was read."""
    texts: dict[str, bytes]
    """Its JSON columns as they were read."""


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
        self._identity = self._mapper.identity_key_from_primary_key((None,))
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
        self._floats = tuple(column.name for column in self.columns if column.kind is ColumnKind.FLOAT)
        self._required = tuple(
            column.name
            for column in self.columns
            if not column.column.nullable and column.column.server_default is None and not self._numbers(column)
        )
        if self._json:
            for event in ("load", "refresh"):
                sa.event.listen(model, event, self._remember)
        self._make = self._maker()
        self._key_adapter: TypeAdapter[Any] = TypeAdapter(self.key.annotation)
        fields = model.model_fields
        self._optional = [(name, fields[name]) for name in self.names if not fields[name].is_required()]

    @property
    def numbers_keys(self) -> bool:
        """Whether the database gives a record its key when it brings none."""
        return self._numbers(self.key)

    @property
    def constructs(self) -> bool:
        """Whether making an instance of the model does more than to take values, so that it cannot be left out."""
        model, manager = self.model, self._mapper.class_manager
        return (
            manager.original_init is not SQLModel.__init__
            or model.__new__ is not SQLModel.__new__
            or model.__setattr__ is not SQLModel.__setattr__
            or model.__pydantic_post_init__ is not None
            or bool(self._mapper.validators)
            or len(manager.dispatch.init) > 1  # the first one is the mapper's own
        )

    def _numbers(self, column: RecordColumn) -> bool:
        return column.column is self.table.autoincrement_column

    def _find_soft_delete(self) -> bool:
        column = next((column for column in self.columns if column.name == DELETED_AT), None)
        if column is not None and (column.kind is not ColumnKind.DATETIME or not column.nullable):
            message = f"{self.model.__name__}.{DELETED_AT} is not an optional datetime"
            raise UnsupportedModel(message, hint="declare it as Optional[datetime] = Field(default=None, index=True)")
        return column is not None

    # validation

    def also_check(self, name: str, check: Convert) -> None:
        """Have the values of an attribute pass one more check than its column's own.

        Args:
            name: The attribute.
            check: Returns the value, or raises `Refused`; it takes the place of one that was given before.
        """
        own = check_for(next(column for column in self.columns if column.name == name))
        self._checks[name] = check if own is None else lambda value: check(own(value))

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
            raise RecordInvalid(self.model.__name__, [Problem(field="", message=f"{shown} is not one")])
        self._refuse_related(instance)
        return self._validated({**(defaults or {}), **self._given(instance)})

    def validate_new(self, given: Mapping[str, Any]) -> Values:
        """Validate the attributes of a record that is to be inserted, the model's defaults for those that are missing.

        Args:
            given: Values by attribute.

        Returns:
            Every attribute, as it is to be kept.

        Raises:
            RecordInvalid: With every problem that was found.
        """
        missing = {
            name: field.get_default(call_default_factory=True) for name, field in self._optional if name not in given
        }
        return self._validated({**missing, **given})

    def _validated(self, given: Mapping[str, Any]) -> Values:
        holder = self.model.__new__(self.model)
        try:
            self.model.__pydantic_validator__.validate_python(given, self_instance=holder, by_name=True)
        except ValidationError as error:
            raise RecordInvalid(self.model.__name__, [_problem(item) for item in error.errors()]) from None
        values = {name: holder.__dict__[name] for name in self.names}
        return self._checked(values, given)

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

    def _checked(self, values: Values, given: Mapping[str, Any]) -> Values:
        problems = [Problem(field=name, message="is required") for name in self._required if values[name] is None]
        problems += [
            Problem(field=name, message="must be within ±2**53, which is what a float keeps exactly")
            for name in self._floats
            if isinstance(given.get(name), int) and values[name] != given[name]
        ]
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

    def values_of(self, row: Row) -> Values:
        """Turn a row of `select` into values."""
        values = dict(zip(self.names, row, strict=True))
        for name, load in self._loads.items():
            if values[name] is not None:
                values[name] = load(values[name])
        return values

    def copy(self, values: Mapping[str, Any]) -> Values:
        """Values that share nothing with those given, so that a hook may change them."""
        return {**values, **{name: copy.deepcopy(values[name]) for name in self._json}}

    def snapshot(self, values: Mapping[str, Any]) -> Values:
        """The JSON form of a record in the audit trail: bytes as base64, enums by member name."""
        snapshot = dict(values)
        for name, convert in self._snapshots.items():
            if snapshot[name] is not None:
                snapshot[name] = convert(snapshot[name])
        return snapshot

    # instances

    def build_all(self, rows: Sequence[Row]) -> list[ModelType]:
        """Make instances that count as stored from rows of `select`."""
        with collector_at_rest() if len(rows) >= _MANY else nullcontext():
            if self._loads or self._json:
                return [self.build(self.values_of(row)) for row in rows]
            make, names = self._make, self.names
            return [make(dict(zip(names, row, strict=True))) for row in rows]

    def build(self, values: Values) -> ModelType:
        """Make an instance that counts as stored, without a session and without `__init__`.

        Args:
            values: Every attribute; they become the instance's own.
        """
        instance = self._make(values)
        if self._json:
            self._remember(instance)
        return instance

    def _maker(self) -> Callable[[Values], ModelType]:
        """Make the function that makes instances; most of the time of a list is spent in it, so it looks up nothing."""
        model, key, (entity, _, token) = self.model, self.key.name, self._identity
        manager, attribute = self._mapper.class_manager, self._mapper.class_manager.STATE_ATTR
        new, set_slot = object.__new__, object.__setattr__
        fields_set = set(self.names)  # a stored record has every field

        def make(values: Values) -> ModelType:
            instance: ModelType = new(model)
            # What SQLModel's __new__ does, and pydantic's __init__.
            set_slot(instance, "__dict__", values)
            set_slot(instance, "__pydantic_fields_set__", fields_set.copy())
            set_slot(instance, "__pydantic_extra__", None)
            set_slot(instance, "__pydantic_private__", None)
            # What the manager's setup_instance() does, without its calls.
            values[attribute] = state = InstanceState(instance, manager)
            state.key = entity, (values[key],), token
            return instance

        return make

    def stamp(self, instance: ModelType, values: Values) -> None:
        """Give an instance the values that were written, and make it count as stored."""
        state = attributes.instance_state(instance)
        if state.key is None:
            instance.__dict__.update(values)
            make_transient_to_detached(instance)
        else:
            for name in self.names:
                attributes.set_committed_value(instance, name, values[name])
        state.key = self.identity(values[self.key.name])
        self._remember(instance)

    def capture(self, instance: ModelType) -> Memento:
        """Note what an instance is before a write."""
        state = attributes.instance_state(instance)
        if state.key is None:
            return Memento(identity=None, values=self._given(instance), replaced={}, texts={})
        replaced = {name: state.attrs[name].history.deleted for name in self._set(instance)}
        return Memento(
            identity=state.key,
            values=self._given(instance),
            replaced={name: before[0] for name, before in replaced.items() if before},
            texts=state.info.get(_TEXTS, {}),
        )

    def revert(self, instance: ModelType, memento: Memento) -> None:
        """Put an instance back to what it was before a write that failed; one that a session has is read again."""
        state = attributes.instance_state(instance)
        if state.session is not None and memento.identity is not None:
            state.session.expire(instance)
            return
        if memento.identity is None and state.key is not None:
            make_transient(instance)
        state.key = memento.identity
        for name in self._given(instance):
            del instance.__dict__[name]
        for name, value in memento.values.items():
            attributes.set_committed_value(instance, name, memento.replaced.get(name, value))
            attributes.set_attribute(instance, name, value)
        state.info[_TEXTS] = memento.texts

    def identity(self, key: Any) -> Any:
        """The identity by which a session knows the record of a key."""
        model, _, token = self._identity
        return model, (key,), token

    def changes(self, instance: ModelType, values: Values, row: Values) -> Values:
        """What a save of an instance writes: what its holder changed since it was read, where the row has it otherwise.

        Args:
            instance: The record.
            values: Its validated values.
            row: The values in the database.
        """
        return {name: values[name] for name in self._touched(instance, values) if self._differ(name, values, row)}

    def _touched(self, instance: ModelType, values: Values) -> Iterable[str]:
        state, given = attributes.instance_state(instance), instance.__dict__
        if state.key is None:
            return self.names
        texts: dict[str, bytes] = state.info.get(_TEXTS, {})
        touched = {name for name in self._set(instance) if state.attrs[name].history.has_changes()}
        touched |= {name for name, read in texts.items() if name in given and _json_text(given[name]) != read}
        touched |= {
            name for name in self.names if name in given and self._differ(name, values, given)
        }  # by a validator
        return touched

    def _set(self, instance: ModelType) -> Iterable[str]:
        """The attributes that were set since the instance was read."""
        return set(self.names) - attributes.instance_state(instance).unmodified

    def same(self, left: Values, right: Values) -> bool:
        """Whether two records have the same values."""
        return not any(self._differ(name, left, right) for name in self.names)

    def differing(self, names: Iterable[str], values: Values, row: Values) -> Values:
        """Those of some values that a row has otherwise."""
        return {name: values[name] for name in names if self._differ(name, values, row)}

    def _differ(self, name: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
        one, other = left[name], right[name]
        if name in self._json:  # 1, 1.0 and True are equal to Python, but not to JSON
            return _json_text(one) != _json_text(other) and _json_key(one) != _json_key(other)
        return bool(one != other)

    def _remember(self, instance: ModelType, *_context: Any) -> None:
        """Note the JSON columns as they were read, since a change inside one goes unnoticed by the instance."""
        if self._json:
            given = instance.__dict__
            texts = {name: _json_text(given[name]) for name in self._json if name in given}
            attributes.instance_state(instance).info[_TEXTS] = texts


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


def _json_text(value: Any) -> bytes:
    return to_json(value, by_alias=False)


def _json_key(value: Any) -> str:
    return json.dumps(from_json(_json_text(value)), sort_keys=True)


def _problem(error: Any) -> Problem:
    """One problem from one error of pydantic's."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).removeprefix(".")
    message = "is required" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
    return Problem(field=path, message=message[:1].lower() + message[1:])
