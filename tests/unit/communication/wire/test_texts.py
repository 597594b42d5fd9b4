"""Decimals, UUIDs, dates and times as texts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from communication.wire import texts
from communication.wire.refusal import Refused

KEY = UUID("6fa459ea-ee8a-3ca4-894e-db77e160355e")


@pytest.mark.parametrize(
    "digits", ["123456789.123456", "123456789012345678.123456789012", "0", "-0.00", "1E+5", "1.50"]
)
def test_decimals_keep_all_their_digits(digits: str) -> None:
    number = texts.read_decimal(digits)
    assert (str(number), texts.write_decimal(number)) == (digits, digits)


@given(st.decimals(), st.uuids(), st.dates(), st.times())
def test_every_text_reads_back_equal_or_is_refused(number: Decimal, key: UUID, day: date, clock: time) -> None:
    if number.is_finite():
        assert texts.read_decimal(texts.write_decimal(number)).compare_total(number) == 0
    else:
        with pytest.raises(Refused):
            texts.write_decimal(number)
    assert texts.read_uuid(texts.write_uuid(key)) == key
    assert texts.read_date(texts.write_date(day)) == day
    assert texts.read_time(texts.write_time(clock)) == clock


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (texts.read_decimal, "NaN"),
        (texts.read_decimal, "Infinity"),
        (texts.read_decimal, "1_0"),
        (texts.read_decimal, "\uff11"),
        (texts.read_decimal, ".5"),
        (texts.read_decimal, "1e99999999"),
        (texts.read_decimal, 1.5),
        (texts.read_uuid, "6fa459eaee8a3ca4894edb77e160355e"),
        (texts.read_uuid, f"{{{KEY}}}"),
        (texts.read_uuid, KEY),
        (texts.read_date, "20240229"),
        (texts.read_date, "2023-02-29"),
        (texts.read_date, "2024-W09-4"),
        (texts.read_date, "2024-02-29T00:00:00"),
        (texts.read_date, "0000-01-01"),
        (texts.read_time, "24:00:00"),
        (texts.read_time, "13:37:00+01:00"),
        (texts.read_time, "133700"),
        (texts.read_time, "13:37:00.1234567"),
        (texts.read_time, ""),
    ],
)
def test_other_spellings_are_refused(read: Callable[[Any], Any], text: Any) -> None:
    with pytest.raises(Refused, match="such as"):
        read(text)


def test_a_browsers_time_without_seconds_is_read() -> None:
    assert texts.read_time("13:37") == time(13, 37)


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (texts.write_decimal, 1.5),
        (texts.write_decimal, Decimal("NaN")),
        (texts.write_uuid, str(KEY)),
        (texts.write_date, datetime(2024, 1, 1, tzinfo=UTC)),
        (texts.write_date, "2024-01-01"),
        (texts.write_time, time(13, 37, tzinfo=UTC)),
        (texts.write_time, "13:37:00"),
        (texts.write_any_text, datetime(2024, 1, 1, tzinfo=UTC)),
        (texts.write_any_text, 1),
    ],
)
def test_what_would_lose_something_is_not_written(write: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(Refused):
        write(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (Decimal("1.50"), "1.50"), (KEY, str(KEY)), (date(2024, 2, 29), "2024-02-29"), (time(1), "01:00:00")],
)
def test_a_client_may_say_a_text_as_what_it_means(value: Any, text: str) -> None:
    assert texts.write_any_text(value) == text
