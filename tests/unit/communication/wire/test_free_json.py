"""Free JSON: what a double could not give back equal is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from communication.wire.free_json import MAX_DEPTH, check_json, fill_value, read_value
from communication.wire.refusal import Refused

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def through_proto(value: Any) -> Any:
    message = Value()
    fill_value(message, value)
    return read_value(Value.FromString(message.SerializeToString()))


@given(TREES)
def test_every_tree_survives_protobuf_or_is_refused(value: Any) -> None:
    try:
        checked = check_json(value)
    except Refused:
        return
    assert checked == value
    assert through_proto(checked) == value


@pytest.mark.parametrize("number", [2**53 - 1, -(2**53) + 1, 0, 1.5, 2.0**60, 5e-324])
def test_numbers_that_a_double_holds_are_kept(number: float) -> None:
    assert through_proto(check_json(number)) == number


def test_an_integral_double_becomes_an_int_again() -> None:
    assert type(through_proto(7)) is int
    assert type(through_proto(7.5)) is float
    assert type(through_proto(2.0**60)) is float


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"a": [0, 2**53]}, r"a\[1\] must be between"),
        (-(2**53), "must be between"),
        (math.nan, "must be a finite number"),
        ([math.inf], r"\[0\] must be a finite number"),
        ("\ud800", "lone surrogates"),
        ({"\ud800": 1}, "lone surrogates"),
        ({1: 2}, "texts as keys"),
        (b"a", "must be JSON, not bytes"),
        ({"a": {1, 2}}, "a must be JSON, not set"),
        (nested(MAX_DEPTH + 1), f"deeper than {MAX_DEPTH}"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(value: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        check_json(value)


def test_the_deepest_tree_survives_protobuf() -> None:
    assert through_proto(check_json(nested(MAX_DEPTH))) == nested(MAX_DEPTH)


def test_a_tuple_counts_as_a_list() -> None:
    assert check_json((1, 2)) == [1, 2]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (Value(), "must have a kind"),
        (Value(number_value=math.nan), "finite"),
        (Value(number_value=-math.inf), "finite"),
    ],
)
def test_what_json_cannot_say_is_refused_from_protobuf_too(message: Value, why: str) -> None:
    with pytest.raises(Refused, match=why):
        read_value(message)


def test_a_deeper_tree_is_refused_from_protobuf_too() -> None:
    message = Value()
    fill_value(message, nested(MAX_DEPTH + 1))
    with pytest.raises(Refused, match="deeper"):
        read_value(message)
