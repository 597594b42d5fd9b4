"""Python classes as messages: fields, presence, names that meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, create_model
from pydantic import Field as PydanticField
from pydantic.dataclasses import dataclass as pydantic_dataclass
from sqlmodel import Field as SQLField
from sqlmodel import SQLModel

from communication.contract.messages import TypeRegistry
from communication.contract.types import Field, Kind
from communication.errors import ContractError

T = TypeVar("T")


class State(Enum):
    idle = 1
    running = 2


class Page(BaseModel, Generic[T]):
    items: list[T]


class Node(BaseModel):
    name: str
    children: list[Node] = []
    parent: Node | None = None


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    z: float = 1.0
    label: str = dataclasses.field(default_factory=str)
    length: float = dataclasses.field(init=False, default=0.0)


@pydantic_dataclass
class Sized:
    size: int = PydanticField(default=3, gt=0)


def fields_of(python: type) -> dict[str, Field]:
    types = TypeRegistry()
    return {field.name: field for field in types.messages[types.add_message(python)].fields}


@pytest.mark.parametrize(
    ("annotation", "default", "presence"),
    [
        (str, ..., False),
        (str, "", False),
        (str, "x", True),
        (str | None, ..., True),
        (str | None, None, True),
        (bool, False, False),
        (bool, True, True),
        (int, 0, False),
        (float, 0.0, False),
        (bytes, b"", False),
        (State, ..., False),
        (State, State.idle, True),
        (datetime, ..., True),
        (Point, ..., True),
        (dict, ..., True),
        (list[str], ..., False),
        (list[str], [], False),
    ],
)
def test_presence_is_explicit_when_absent_is_not_zero(annotation: Any, default: Any, *, presence: bool) -> None:
    model = create_model("Model", field=(annotation, default))
    assert fields_of(model)["field"].presence is presence


def test_a_default_made_anew_may_be_anything_so_presence_is_explicit() -> None:
    model = create_model("Model", field=(str, PydanticField(default_factory=lambda: "x")))
    assert fields_of(model)["field"].presence


def test_dataclasses_of_both_kinds_are_read() -> None:
    point = fields_of(Point)
    assert {name: field.presence for name, field in point.items()} == {"x": False, "y": False, "z": True, "label": True}
    assert [field.required for field in point.values()] == [True, False, False, False]
    assert fields_of(Sized)["size"].presence


def test_a_table_model_is_a_message_too(fresh_declarations: None) -> None:
    class Gadget(SQLModel, table=True):
        id: int | None = SQLField(default=None, primary_key=True)
        name: str

    assert [(field.name, field.presence) for field in fields_of(Gadget).values()] == [("id", True), ("name", False)]


def test_fields_are_numbered_in_the_order_of_declaration_by_their_own_names() -> None:
    model = create_model("Model", b=(int, PydanticField(alias="q")), a=(int, ...))
    assert [(item.name, item.number) for item in fields_of(model).values()] == [("b", 1), ("a", 2)]


def test_an_excluded_field_stays_off_the_wire() -> None:
    model = create_model("Model", name=(str, ...), secret=(str, PydanticField(default="", exclude=True)))
    assert list(fields_of(model)) == ["name"]


def test_a_message_may_hold_itself() -> None:
    fields = fields_of(Node)
    assert (fields["children"].type_name, fields["parent"].type_name) == ("Node", "Node")


def test_a_class_used_twice_is_one_message() -> None:
    types = TypeRegistry()
    model = create_model("Line", a=(Point, ...), b=(Point, ...))
    types.add_message(model)
    types.add_message(Point)
    assert list(types.messages) == ["Line", "Point"]


def test_a_generic_model_is_spelled_out() -> None:
    types = TypeRegistry()
    assert types.add_message(Page[int]) == "PageInt"


def test_an_enum_begins_with_unspecified() -> None:
    types = TypeRegistry()
    types.add_enum(State)
    values = types.enums["State"].values
    assert [(value.label, value.number, value.member) for value in values] == [
        ("STATE_UNSPECIFIED", 0, None),
        ("STATE_IDLE", 1, State.idle),
        ("STATE_RUNNING", 2, State.running),
    ]


def enum_of(name: str, *members: str) -> Any:
    return Enum(name, members)


def two_classes_of_one_name() -> Any:
    return create_model("Both", a=(create_model("Point", x=(int, ...)), ...), b=(Point, ...))


def labels_of_two_enums() -> Any:
    job, job_state = enum_of("Job", "STATE_ON"), enum_of("JobState", "ON")
    return create_model("Both", a=(job, ...), b=(job_state, ...))


def labels_of_one_enum() -> Any:
    return create_model("One", a=(enum_of("Mode", "on", "ON"), ...))


def an_unspecified_member() -> Any:
    return create_model("One", a=(enum_of("Mode", "UNSPECIFIED"), ...))


def fields_that_meet_in_json() -> Any:
    return create_model("Axes", axis_1=(int, 0), axis1=(int, 0))


def a_filled_list() -> Any:
    return create_model("Tags", tags=(list[str], ["a"]))


def a_field_beyond_ascii() -> Any:
    return dataclasses.make_dataclass("Sizes", [("größe", int)])


def a_member_beyond_ascii() -> Any:
    return create_model("One", a=(enum_of("Mode", "größe"), ...))


def a_scalar_type_name() -> Any:
    return create_model("One", a=(create_model("string", x=(int, ...)), ...))


def an_undefined_name() -> Any:
    return dataclasses.make_dataclass("Broken", [("a", "Nowhere")])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (two_classes_of_one_name, "meet on the wire as Point"),
        (labels_of_two_enums, "the enum label JOB_STATE_ON"),
        (labels_of_one_enum, "the enum label MODE_ON"),
        (an_unspecified_member, "the enum label MODE_UNSPECIFIED"),
        (fields_that_meet_in_json, "Axes.axis_1 and Axes.axis1 meet in JSON"),
        (a_filled_list, "Tags.tags has a default"),
        (a_field_beyond_ascii, "field Sizes.größe"),
        (a_member_beyond_ascii, "Mode.größe"),
        (a_scalar_type_name, "means something else"),
        (an_undefined_name, "Broken refers to Nowhere"),
    ],
)
def test_what_would_be_ambiguous_on_the_wire_is_refused(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ContractError, match=text):
        TypeRegistry().add_message(make())


def test_a_default_from_validated_data_is_not_asked_for() -> None:
    model = create_model("Model", a=(int, 1), b=(int, PydanticField(default_factory=lambda data: data["a"])))
    assert fields_of(model)["b"].presence
    assert fields_of(model)["b"].kind is Kind.INT32
