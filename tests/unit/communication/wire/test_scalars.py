"""Booleans, numbers, texts and bytes at their edges."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from communication.wire import scalars
from communication.wire.refusal import Refused

read_int32 = scalars.integer_reader(*scalars.INT32)
read_int64 = scalars.integer_reader(*scalars.INT64)
check_int32 = scalars.integer_checker(*scalars.INT32)


class Word(StrEnum):
    YES = "yes"


@pytest.mark.parametrize("value", [0, 1, "true", None, 1.0])
def test_only_true_and_false_are_bools(value: Any) -> None:
    assert scalars.check_bool(True) is True
    with pytest.raises(Refused):
        scalars.check_bool(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [(2**31 - 1, 2**31 - 1), (-(2**31), -(2**31)), ("-5", -5), (5.0, 5), (1e5, 100_000), ("0", 0), (-0.0, 0)],
)
def test_integers_in_json_are_numbers_or_digits(value: Any, number: int) -> None:
    read = read_int32(value)
    assert (read, type(read)) == (number, int)


@pytest.mark.parametrize(
    "value",
    [2**31, -(2**31) - 1, "2147483648", 1.5, True, "", "1.0", "01", "+1", " 1", "1_0", "\uff11", None, [], math.inf],
)
def test_what_is_no_int32_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        read_int32(value)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 - 1, 2**53, 2**53 + 1])
def test_int64_keeps_every_digit(number: int) -> None:
    assert read_int64(str(number)) == read_int64(number) == number


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, float(2**53), 1e18, "1" * 5000])
def test_an_int64_that_may_have_lost_digits_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        read_int64(value)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_only_ints_are_written_as_integers(value: Any) -> None:
    with pytest.raises(Refused, match="must be an integer"):
        check_int32(value)


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), ("1.5", 1.5), ("-1e3", -1000.0), (2**53, 2.0**53), (1.5, 1.5)])
def test_doubles_in_json_are_numbers_or_digits(value: Any, number: float) -> None:
    read = scalars.read_double(value)
    assert (read, type(read)) == (number, float)


@pytest.mark.parametrize("value", [2**53 + 1, 10**400, math.inf, "1e400", "inf", "nan", "", "0x1", True, None, "1_0"])
def test_what_a_double_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        scalars.read_double(value)


@given(st.floats() | st.integers())
def test_every_double_survives_json_or_is_refused(value: float) -> None:
    try:
        written = scalars.write_double(value)
    except Refused:
        assert isinstance(value, int)
        assert float(value) != value
        return
    read = scalars.read_double(written)
    assert read == value or (math.isnan(read) and math.isnan(value))


@pytest.mark.parametrize(("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")])
def test_what_json_has_no_number_for_is_a_text(value: float, text: str) -> None:
    assert scalars.write_double(value) == text


@pytest.mark.parametrize("text", ["", "a\0b", "größe", "😀"])
def test_texts_are_kept_as_they_are(text: str) -> None:
    assert scalars.check_text(text) == text


def test_a_text_enum_is_written_as_its_text() -> None:
    assert type(scalars.check_text(Word.YES)) is str


@pytest.mark.parametrize("value", ["\ud800", "a\udfffb", b"a", 1, None])
def test_what_utf8_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        scalars.check_text(value)


@given(st.binary())
def test_bytes_are_read_from_both_alphabets_padded_or_not(data: bytes) -> None:
    text = scalars.write_base64(data)
    url_safe = text.replace("+", "-").replace("/", "_")
    for spelling in (text, text.rstrip("="), url_safe, url_safe.rstrip("=")):
        assert scalars.read_base64(spelling) == data


@pytest.mark.parametrize("text", ["a", "a===", "aGk=\n", "a b=", "größe", "aGk=aGk=", "=", None, 1])
def test_what_is_no_base64_is_refused(text: Any) -> None:
    with pytest.raises(Refused, match="base64"):
        scalars.read_base64(text)


def test_only_bytes_are_written_as_bytes() -> None:
    assert scalars.check_bytes(memoryview(b"a")) == b"a"
    with pytest.raises(Refused, match="must be bytes"):
        scalars.write_base64("a")
