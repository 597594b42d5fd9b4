"""What goes over the wire, said without Python classes: kinds, fields, messages, enums.

Messages refer to each other by name, so a message may hold itself and every value here can be compared and kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import Any


class Kind(Enum):
    """What one value is, in Python and on the wire."""

    BOOL = auto()
    """`bool`, bool"""
    INT32 = auto()
    """`int`, int32"""
    INT64 = auto()
    """`Int64`, int64: a string in JSON, a bigint in TypeScript"""
    DOUBLE = auto()
    """`float`, double"""
    STRING = auto()
    """`str`, string"""
    BYTES = auto()
    """`bytes`, bytes: base64 in JSON"""
    TIMESTAMP = auto()
    """aware `datetime`, google.protobuf.Timestamp: RFC 3339 in JSON"""
    DURATION = auto()
    """`timedelta`, google.protobuf.Duration: `1.5s` in JSON"""
    ENUM = auto()
    """`Enum`, enum: its label in JSON"""
    MESSAGE = auto()
    """pydantic model or dataclass, message"""
    VALUE = auto()
    """`Any`, `dict`, `list`: any JSON, google.protobuf.Value"""
    DECIMAL = auto()
    """`Decimal`, string"""
    UUID = auto()
    """`UUID`, string"""
    DATE = auto()
    """`date`, string: `2024-02-29`"""
    TIME = auto()
    """`time` without a zone, string: `13:37:00`"""


STRING_KINDS = frozenset({Kind.STRING, Kind.DECIMAL, Kind.UUID, Kind.DATE, Kind.TIME})
"""The kinds that are strings on the wire."""
ALWAYS_PRESENT_KINDS = frozenset(
    {Kind.MESSAGE, Kind.VALUE, Kind.TIMESTAMP, Kind.DURATION, Kind.DECIMAL, Kind.UUID, Kind.DATE, Kind.TIME}
)
"""The kinds that have no zero value, so that a singular field of theirs always has explicit presence."""
ZERO_VALUES: Mapping[Kind, Any] = MappingProxyType(
    {Kind.BOOL: False, Kind.INT32: 0, Kind.INT64: 0, Kind.DOUBLE: 0.0, Kind.STRING: "", Kind.BYTES: b""}
)
"""What absence means for a field without explicit presence."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a message."""

    name: str
    """Its name in the .proto file and in Python."""
    json_name: str
    """Its name in JSON; a request may use either."""
    number: int
    """Its number on the wire."""
    kind: Kind
    """What each of its values is."""
    type_name: str | None = None
    """For MESSAGE and ENUM, the name of that message or enum, without the package."""
    repeated: bool = False
    """Whether it holds a list."""
    presence: bool = False
    """Whether absent is told apart from the zero value (`optional`, or a message)."""
    nullable: bool = False
    """Whether None is one of its values in Python."""
    required: bool = False
    """Whether Python has no default for it."""
    paths: bool = False
    """Whether JSON may also spell the list as one text with commas (`FieldPaths`)."""


@dataclass(frozen=True, kw_only=True)
class EnumValue:
    """One value of an enum."""

    label: str
    """Its name on the wire, such as `JOB_STATE_RUNNING`."""
    number: int
    """Its number on the wire; 0 is the unspecified one."""
    member: Enum | None = None
    """The Python member; None for the unspecified value, and where only a descriptor is known."""


@dataclass(frozen=True, kw_only=True)
class EnumType:
    """An enum on the wire."""

    name: str
    """Its name, without the package."""
    values: tuple[EnumValue, ...]
    """Its values; the first is the unspecified one, number 0."""
    python: type[Enum] | None = None
    """The Python class; None where only a descriptor is known."""
    reserved: tuple[tuple[str, int], ...] = ()
    """Labels and numbers that were used once and never will be again."""


@dataclass(frozen=True, kw_only=True)
class MessageType:
    """A message on the wire."""

    name: str
    """Its name, without the package."""
    fields: tuple[Field, ...]
    """Its fields, in the order in which they are declared."""
    python: type | None = None
    """The pydantic model or dataclass it is decoded to; None where it is empty or only a descriptor is known."""
    reserved: tuple[tuple[str, int], ...] = ()
    """Names and numbers of fields that were used once and never will be again."""
