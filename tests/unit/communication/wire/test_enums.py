"""Enums: members, labels, numbers."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any

import pytest

from communication.contract.messages import TypeRegistry
from communication.contract.types import EnumType, EnumValue
from communication.wire.enums import enum_reader, enum_writer
from communication.wire.refusal import Refused


class State(Enum):
    idle = "i"
    running = "r"


class Text(str, Enum):  # noqa: UP042 - the older kind is the point
    a = "A"


class Level(IntEnum):
    LOW = 5


def known(python: type[Enum]) -> EnumType:
    types = TypeRegistry()
    return types.enums[types.add_enum(python)]


UNKNOWN = EnumType(
    name="State",
    values=(EnumValue(label="STATE_UNSPECIFIED", number=0), EnumValue(label="STATE_RUNNING", number=2)),
)
"""What a client knows of an enum."""


def test_labels_and_numbers_are_read_as_members() -> None:
    read = enum_reader(known(State))
    assert (read("STATE_IDLE"), read(2)) == (State.idle, State.running)


@pytest.mark.parametrize("value", [0, "STATE_UNSPECIFIED", 3, "idle", "i", True, 1.0, None, [], {}])
def test_unspecified_and_unknown_values_are_refused(value: Any) -> None:
    with pytest.raises(Refused, match="must be one of STATE_IDLE, STATE_RUNNING"):
        enum_reader(known(State))(value)


@pytest.mark.parametrize(
    ("python", "value", "label", "number"),
    [
        (State, State.running, "STATE_RUNNING", 2),
        (State, "r", "STATE_RUNNING", 2),
        (Text, Text.a, "TEXT_A", 1),
        (Text, "A", "TEXT_A", 1),
        (Level, Level.LOW, "LEVEL_LOW", 1),
        (Level, 5, "LEVEL_LOW", 1),
    ],
)
def test_members_and_their_values_are_written(python: type[Enum], value: Any, label: str, number: int) -> None:
    assert enum_writer(known(python), as_label=True)(value) == label
    assert enum_writer(known(python), as_label=False)(value) == number


@pytest.mark.parametrize("value", ["running", Level.LOW, 1, None, []])
def test_what_is_no_member_is_not_written(value: Any) -> None:
    with pytest.raises(Refused, match="must be a State"):
        enum_writer(known(State), as_label=True)(value)


def test_without_a_class_names_of_members_are_used() -> None:
    assert enum_reader(UNKNOWN)(2) == "RUNNING"
    write = enum_writer(UNKNOWN, as_label=False)
    assert [write(value) for value in ("RUNNING", "running", "STATE_RUNNING", State.running)] == [2] * 4
    with pytest.raises(Refused, match="must be one of RUNNING"):
        write("UNSPECIFIED")
