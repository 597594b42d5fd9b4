"""Messages read: from a JSON object or a protobuf message to the values of the fields that are present."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

from google.protobuf.message import Message

from communication.contract.contract import Contract
from communication.contract.types import ZERO_VALUES, Field, Kind, MessageType
from communication.errors import FieldViolation
from communication.wire import clock, free_json, scalars, texts
from communication.wire.enums import enum_reader
from communication.wire.refusal import LONGEST_ECHO, MOST_VIOLATIONS, Convert, Refused, each

Values = dict[str, Any]
Finish = Callable[[Values], Any]
"""What becomes of a message's values once they are read."""

_TEXTS = {
    Kind.DECIMAL: texts.read_decimal,
    Kind.UUID: texts.read_uuid,
    Kind.DATE: texts.read_date,
    Kind.TIME: texts.read_time,
}
_FROM_JSON: Mapping[Kind, Convert] = MappingProxyType(
    {
        Kind.BOOL: scalars.check_bool,
        Kind.INT32: scalars.integer_reader(*scalars.INT32),
        Kind.INT64: scalars.integer_reader(*scalars.INT64),
        Kind.DOUBLE: scalars.read_double,
        Kind.STRING: scalars.check_text,
        Kind.BYTES: scalars.read_base64,
        Kind.TIMESTAMP: clock.read_moment,
        Kind.DURATION: clock.read_span,
        Kind.VALUE: free_json.check_json,
        **_TEXTS,
    }
)
_FROM_PROTO: Mapping[Kind, Convert] = MappingProxyType(
    {
        Kind.BOOL: bool,
        Kind.INT32: int,
        Kind.INT64: int,
        Kind.DOUBLE: float,
        Kind.STRING: str,
        Kind.BYTES: bytes,
        Kind.TIMESTAMP: clock.read_timestamp,
        Kind.DURATION: clock.read_duration,
        Kind.VALUE: free_json.read_value,
        **_TEXTS,
    }
)


class MessageReader(ABC):
    """Reads one message.

    Args:
        message: The message.
        finish: What becomes of its values.
    """

    scalars: Mapping[Kind, Convert]

    def __init__(self, message: MessageType, finish: Finish) -> None:
        self.name = message.name
        self._finish = finish

    @abstractmethod
    def read(self, source: Any) -> Any:
        """Return the message's values, finished; raise Refused with all that is wrong with them."""

    @abstractmethod
    def connect(self, fields: tuple[tuple[Field, Convert], ...]) -> None:
        """Take the converters of the fields, which may be readers of other messages and of this one."""


class JsonMessageReader(MessageReader):
    """Reads a message from a parsed JSON object."""

    scalars = _FROM_JSON

    def connect(self, fields: tuple[tuple[Field, Convert], ...]) -> None:
        """Take the converters of the fields."""
        self._fields: dict[str, tuple[str, Convert, bool]] = {}
        for field, convert in fields:
            entry = (field.name, _read_paths if field.paths else convert, field.kind is Kind.VALUE)
            self._fields[field.json_name] = self._fields[field.name] = entry

    def read(self, source: Any) -> Any:
        """Return the values of an object's members."""
        if type(source) is not dict:
            raise Refused("must be an object")
        values: Values = {}
        problems: list[FieldViolation] = []
        for key, item in source.items():
            try:
                name, convert, keeps_null = self._fields[key]
            except KeyError:
                problems.append(FieldViolation(field=key[:LONGEST_ECHO], description=f"is not a field of {self.name}"))
                if len(problems) >= MOST_VIOLATIONS:
                    break
                continue
            if name in values:
                problems.append(FieldViolation(field=name, description="is given in both spellings"))
            elif item is not None or keeps_null:
                try:
                    values[name] = convert(item)
                except Refused as refused:
                    problems.extend(refused.within(name))
        if problems:
            raise Refused(violations=problems)
        return self._finish(values)


class ProtoMessageReader(MessageReader):
    """Reads a message from its protobuf form."""

    scalars = _FROM_PROTO

    def connect(self, fields: tuple[tuple[Field, Convert], ...]) -> None:
        """Take the converters of the fields."""
        self._fields = {field.name: convert for field, convert in fields}

    def read(self, source: Message) -> Any:
        """Return the values of the fields that are present."""
        values: Values = {}
        problems: list[FieldViolation] = []
        for descriptor, item in type(source).ListFields(source):  # a field may be called like the method
            name = descriptor.name
            try:
                values[name] = self._fields[name](item)
            except Refused as refused:
                problems.extend(refused.within(name))
        if problems:
            raise Refused(violations=problems)
        return self._finish(values)


def make_readers(
    contract: Contract, reader: type[MessageReader], finish: Callable[[MessageType], Finish]
) -> dict[str, MessageReader]:
    """Return a reader for each message of a contract, by the message's name.

    Args:
        contract: The contract.
        reader: The class of the readers.
        finish: Makes what becomes of a message's values.
    """
    readers = {name: reader(message, finish(message)) for name, message in contract.messages.items()}
    enums = {name: enum_reader(enum) for name, enum in contract.enums.items()}

    def converter(field: Field) -> Convert:
        if field.kind is Kind.MESSAGE:
            convert: Convert = readers[str(field.type_name)].read
        elif field.kind is Kind.ENUM:
            convert = enums[str(field.type_name)]
        else:
            convert = reader.scalars[field.kind]
        return each(convert) if field.repeated else convert

    for name, message in contract.messages.items():
        readers[name].connect(tuple((field, converter(field)) for field in message.fields))
    return readers


def fill_required(message: MessageType) -> Finish:
    """Return a function that adds the zero values that absence stands for, where Python has no default."""
    absent = [(field.name, _zero(field)) for field in message.fields if field.required and not field.presence]
    zeros = [(name, make) for name, make in absent if make is not None]

    def finish(values: Values) -> Values:
        for name, make in zeros:
            if name not in values:
                values[name] = make()
        return values

    return finish


def fill_namespace(message: MessageType) -> Finish:
    """Return a function that makes a namespace of the values, with zero, [] or None for what is absent."""
    zeros = [(field.name, None if field.presence else _zero(field)) for field in message.fields]

    def finish(values: Values) -> SimpleNamespace:
        filled = {name: None if make is None else make() for name, make in zeros}
        return SimpleNamespace(**{**filled, **values})

    return finish


def _zero(field: Field) -> Callable[[], Any] | None:
    """Return what makes the value that absence stands for; None for an enum, whose zero is no member."""
    if field.repeated:
        return list
    return None if field.kind is Kind.ENUM else type(ZERO_VALUES[field.kind])


def _read_paths(value: Any) -> list[str]:
    if isinstance(value, str):
        value = value.split(",") if value else []
    return _read_texts(value)


_read_texts: Callable[[Any], list[str]] = each(scalars.check_text)
