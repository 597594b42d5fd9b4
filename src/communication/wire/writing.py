"""Messages written: from any object with the right attributes, or a mapping, to a JSON object or a protobuf message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any, cast

from google.protobuf.message import Message

from communication import naming
from communication.contract.contract import Contract
from communication.contract.descriptors import message_classes
from communication.contract.types import ZERO_VALUES, Field, Kind, MessageType
from communication.errors import FieldViolation
from communication.wire import clock, free_json, scalars, texts
from communication.wire.enums import enum_writer
from communication.wire.refusal import Convert, Refused, each

_MISSING: Any = object()
_SHARED: Mapping[Kind, Convert] = MappingProxyType(
    {
        Kind.BOOL: scalars.check_bool,
        Kind.INT32: scalars.integer_checker(*scalars.INT32),
        Kind.STRING: scalars.check_text,
        Kind.DECIMAL: texts.write_decimal,
        Kind.UUID: texts.write_uuid,
        Kind.DATE: texts.write_date,
        Kind.TIME: texts.write_time,
    }
)
_check_int64 = scalars.integer_checker(*scalars.INT64)
_TO_JSON: Mapping[Kind, Convert] = MappingProxyType(
    {
        **_SHARED,
        Kind.INT64: lambda value: str(_check_int64(value)),
        Kind.DOUBLE: scalars.write_double,
        Kind.BYTES: scalars.write_base64,
        Kind.TIMESTAMP: clock.write_moment,
        Kind.DURATION: clock.write_span,
        Kind.VALUE: free_json.check_json,
    }
)
_TO_PROTO: Mapping[Kind, Convert] = MappingProxyType(
    {
        **_SHARED,
        Kind.INT64: _check_int64,
        Kind.DOUBLE: scalars.check_double,
        Kind.BYTES: scalars.check_bytes,
        Kind.TIMESTAMP: clock.write_timestamp,
        Kind.DURATION: clock.write_duration,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Slot:
    """How one field is written."""

    name: str
    key: str
    convert: Convert
    field: Field
    zero: Any
    """What is written when nothing is given; `_MISSING` for nothing at all."""


class MessageWriter:
    """Writes one message.

    Args:
        message: The message.
        finish: What becomes of its fields, which are converted and under the keys of the other side.
    """

    def __init__(self, message: MessageType, finish: Callable[[dict[str, Any]], Any]) -> None:
        self.name = message.name
        self._finish = finish
        self._names = tuple(field.name for field in message.fields)
        self._fetch = attrgetter(*self._names) if len(self._names) > 1 else None

    def connect(self, slots: list[_Slot]) -> None:
        """Take the converters of the fields, which may be writers of other messages and of this one."""
        self._slots = slots

    def write(self, value: Any) -> Any:
        """Return the message made of a value's fields; raise Refused with all that is wrong with them."""
        converted: dict[str, Any] = {}
        problems: list[FieldViolation] = []
        for slot, item in zip(self._slots, self._items(value), strict=True):
            try:
                if item is None or item is _MISSING:
                    item = _stand_in(slot, item)  # noqa: PLW2901 - what stands for nothing takes its place
                    if item is not _MISSING:
                        converted[slot.key] = item
                else:
                    converted[slot.key] = slot.convert(item)
            except Refused as refused:
                problems.extend(refused.within(slot.name))
        if problems:
            raise Refused(violations=problems)
        return self._finish(converted)

    def _items(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, Mapping):
            return self._items_of_mapping(value)
        if self._fetch is not None:
            try:
                return tuple(self._fetch(value))
            except AttributeError:
                pass  # some are missing: look for each of them
        items = tuple(getattr(value, name, _MISSING) for name in self._names)
        if value is None or (items and all(item is _MISSING for item in items)):
            raise Refused(f"must be a {self.name}")
        return items

    def _items_of_mapping(self, value: Mapping[Any, Any]) -> tuple[Any, ...]:
        items = tuple(value.get(name, _MISSING) for name in self._names)
        if len(value) > len(items) - items.count(_MISSING):
            unknown = [str(key) for key in value if key not in self._names]
            description = f"is not a field of {self.name}"
            raise Refused(violations=[FieldViolation(field=key, description=description) for key in unknown])
        return items


def _stand_in(slot: _Slot, item: Any) -> Any:
    """Return the converted value that stands for None or nothing, `_MISSING` when the field is to be left out."""
    if item is _MISSING:
        if slot.field.required:
            raise Refused("is required")
        return slot.zero
    if slot.field.nullable:
        return _MISSING
    if slot.field.kind is Kind.VALUE and not slot.field.repeated:
        return slot.convert(None)
    raise Refused("must not be None")


def make_json_writers(contract: Contract) -> dict[str, MessageWriter]:
    """Return for each message of a contract what writes it as an object of plain JSON types."""
    writers = {name: MessageWriter(message, lambda members: members) for name, message in contract.messages.items()}
    enums = {name: enum_writer(enum, as_label=True) for name, enum in contract.enums.items()}
    _connect(contract, writers, _TO_JSON, enums, as_json=True)
    return writers


def make_proto_writers(contract: Contract, *, any_text: bool = False) -> dict[str, MessageWriter]:
    """Return for each message of a contract what writes it as a google.protobuf message.

    Args:
        contract: The contract.
        any_text: Whether a text may be given as the Decimal, UUID, date or time that it says.
    """
    classes = message_classes(contract.descriptor_set)
    writers = {
        name: MessageWriter(item, _maker(classes[f"{naming.PACKAGE}.{name}"]))
        for name, item in contract.messages.items()
    }
    enums = {name: enum_writer(enum, as_label=False) for name, enum in contract.enums.items()}
    converters = {**_TO_PROTO, Kind.VALUE: _value_writer(classes.get("google.protobuf.Value"))}
    if any_text:
        converters[Kind.STRING] = texts.write_any_text
    _connect(contract, writers, converters, enums, as_json=False)
    return writers


def _connect(
    contract: Contract,
    writers: Mapping[str, MessageWriter],
    scalar_converters: Mapping[Kind, Convert],
    enums: Mapping[str, Convert],
    *,
    as_json: bool,
) -> None:
    def converter(field: Field) -> Convert:
        if field.kind is Kind.MESSAGE:
            convert: Convert = writers[str(field.type_name)].write
        elif field.kind is Kind.ENUM:
            convert = enums[str(field.type_name)]
        else:
            convert = scalar_converters[field.kind]
        return each(convert) if field.repeated else convert

    for name, message in contract.messages.items():
        slots = []
        for field in message.fields:
            convert = converter(field)
            key = field.json_name if as_json else field.name
            slots.append(_Slot(name=field.name, key=key, convert=convert, field=field, zero=_zero(field, convert)))
        writers[name].connect(slots)


def _zero(field: Field, convert: Convert) -> Any:
    if field.repeated:
        return []
    return _MISSING if field.presence or field.kind is Kind.ENUM else convert(ZERO_VALUES[field.kind])


def _maker(message_class: type[Message]) -> Callable[[dict[str, Any]], Message]:
    return lambda fields: message_class(**fields)


def _value_writer(value_class: type[Message] | None) -> Convert:
    def write_value(value: Any) -> Message:
        message = cast("type[Message]", value_class)()
        free_json.fill_value(message, free_json.check_json(value))
        return message

    return write_value
