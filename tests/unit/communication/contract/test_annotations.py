"""Which annotation is what on the wire."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypeVar, Union, get_args
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, Field, JsonValue, PositiveInt, RootModel
from typing_extensions import TypeAliasType, TypedDict

from communication.contract.annotations import is_model, read_annotation
from communication.contract.markers import FieldPaths, Int64
from communication.contract.types import Kind
from communication.errors import ContractError

T = TypeVar("T")
UserId = NewType("UserId", int)
Name = TypeAliasType("Name", str)


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Bits(Flag):
    A = 1


class Point(BaseModel):
    x: float


class Root(RootModel[int]):
    pass


class Page(BaseModel, Generic[T]):
    items: list[T]


@dataclasses.dataclass
class Pair:
    a: int


class Keys(TypedDict):
    a: int


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (bool, Kind.BOOL),
        (int, Kind.INT32),
        (Int64, Kind.INT64),
        (PositiveInt, Kind.INT32),
        (Annotated[int, Field(ge=0)], Kind.INT32),
        (UserId, Kind.INT32),
        (float, Kind.DOUBLE),
        (str, Kind.STRING),
        (Name, Kind.STRING),
        (Literal["a", "b"], Kind.STRING),
        (bytes, Kind.BYTES),
        (datetime, Kind.TIMESTAMP),
        (AwareDatetime, Kind.TIMESTAMP),
        (timedelta, Kind.DURATION),
        (Decimal, Kind.DECIMAL),
        (UUID, Kind.UUID),
        (date, Kind.DATE),
        (time, Kind.TIME),
        (Color, Kind.ENUM),
        (Level, Kind.ENUM),
        (Word, Kind.ENUM),
        (Point, Kind.MESSAGE),
        (Page[int], Kind.MESSAGE),
        (Pair, Kind.MESSAGE),
        (Any, Kind.VALUE),
        (dict, Kind.VALUE),
        (list, Kind.VALUE),
        (list[Any], Kind.VALUE),
        (dict[str, Any], Kind.VALUE),
        (dict[str, list[int | None]], Kind.VALUE),
        (JsonValue, Kind.VALUE),
    ],
)
def test_each_annotation_has_its_kind(annotation: Any, kind: Kind) -> None:
    shape = read_annotation(annotation, "Job.x")
    assert (shape.kind, shape.repeated, shape.nullable) == (kind, False, False)


@pytest.mark.parametrize(
    "annotation",
    [Optional[int], int | None, Union[None, int], Annotated[int | None, "text"]],  # noqa: UP007, UP045 - all spellings
)
def test_none_makes_it_nullable(annotation: Any) -> None:
    shape = read_annotation(annotation, "Job.x")
    assert (shape.kind, shape.nullable) == (Kind.INT32, True)


def test_int64_counts_inside_optional_and_list() -> None:
    assert read_annotation(Int64 | None, "Job.x").kind is Kind.INT64
    listed = read_annotation(list[Int64], "Job.x")
    assert (listed.kind, listed.repeated) == (Kind.INT64, True)


def test_metadata_that_pydantic_took_out_counts() -> None:
    assert read_annotation(int, "Job.x", get_args(Int64)[1:]).kind is Kind.INT64


def test_a_list_of_free_json_is_repeated() -> None:
    shape = read_annotation(list[dict[str, Any]], "Job.x")
    assert (shape.kind, shape.repeated) == (Kind.VALUE, True)


def test_field_paths_is_a_list_of_texts_with_a_mark() -> None:
    shape = read_annotation(FieldPaths, "Job.x")
    assert (shape.kind, shape.repeated, shape.paths) == (Kind.STRING, True, True)
    assert not read_annotation(list[str], "Job.x").paths


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int | str, "may be of several types"),
        (list[int] | None, "look alike on the wire"),
        (list[int | None], "list of values that may be None"),
        (list[list[int]], "list of lists"),
        (set[int], r"set\[int\]"),
        (tuple[int, ...], "tuple"),
        (object, "object"),
        (complex, "complex"),
        (Bits, "Bits"),
        (Root, "Root"),
        (Keys, "Keys"),
        (Literal[1, 2], "Literal"),
        (dict[int, str], "dict"),
        (dict[str, datetime], "dict"),
        (T, "T"),
        ("Job", "Job"),
    ],
)
def test_what_has_no_form_on_the_wire_is_refused_by_name(annotation: Any, text: str) -> None:
    with pytest.raises(ContractError, match=text) as caught:
        read_annotation(annotation, "Job.x")
    assert str(caught.value).startswith("Job.x is") or str(caught.value).startswith("Job.x may")
    assert caught.value.hint


def test_models_are_pydantic_models_and_dataclasses() -> None:
    assert [is_model(item) for item in (Point, Pair, Root, Pair(1), int, list[Point])] == [True, True] + [False] * 4
