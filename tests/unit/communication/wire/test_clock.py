"""Moments and spans, to the edges of what Python and protobuf can say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from communication.wire import clock
from communication.wire.refusal import Refused

FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29T13:37:00Z", datetime(2024, 2, 29, 13, 37, tzinfo=UTC)),
        ("2024-02-29T13:37:00+02:00", datetime(2024, 2, 29, 11, 37, tzinfo=UTC)),
        ("2024-02-29T13:37:00.5Z", datetime(2024, 2, 29, 13, 37, 0, 500_000, tzinfo=UTC)),
        ("2024-02-29T13:37:00.000001000Z", datetime(2024, 2, 29, 13, 37, 0, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", FIRST),
        ("9999-12-31T23:59:59.999999Z", LAST),
    ],
)
def test_moments_are_read_as_utc(text: str, moment: datetime) -> None:
    read = clock.read_moment(text)
    assert (read, read.tzinfo) == (moment, UTC)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2024-02-29T13:37:00", "with a zone"),
        ("2024-02-29 13:37:00Z", "with a zone"),
        ("20240229T133700Z", "with a zone"),
        ("2023-02-29T13:37:00Z", "with a zone"),
        ("2024-02-29T13:37:60Z", "with a zone"),
        ("2024-02-29T13:37:00+24:00", "with a zone"),
        ("2024-02-29T13:37:00.0000001Z", "finer than a microsecond"),
        ("0001-01-01T00:00:00+01:00", "between the years 1 and 9999"),
        ("9999-12-31T23:59:59-01:00", "between the years 1 and 9999"),
        ("0000-01-01T00:00:00Z", "with a zone"),
        ("", "with a zone"),
        ("\uff12024-02-29T13:37:00Z", "with a zone"),
        (1709213820, "with a zone"),
        (None, "with a zone"),
    ],
)
def test_other_moments_are_refused(text: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        clock.read_moment(text)


@given(st.datetimes(timezones=st.builds(timezone, st.timedeltas(-timedelta(hours=23), timedelta(hours=23)))))
def test_every_moment_survives_both_wires_or_is_refused(moment: datetime) -> None:
    try:
        text, fields = clock.write_moment(moment), clock.write_timestamp(moment)
    except Refused:
        assert moment.year in (1, 9999)
        return
    assert clock.read_moment(text) == moment
    assert clock.read_timestamp(Timestamp(**fields)) == moment


@pytest.mark.parametrize("write", [clock.write_moment, clock.write_timestamp])
@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 1, 1),  # noqa: DTZ001 - the naive one is the point
        FIRST.replace(tzinfo=timezone(timedelta(hours=1))),
        LAST.replace(tzinfo=timezone(timedelta(hours=-1))),
        "2024-01-01T00:00:00Z",
        FIRST.date(),
    ],
)
def test_what_is_no_moment_in_utc_is_not_written(write: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(Refused):
        write(value)


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(0, -1), (0, 10**9), (0, 1), (-62135596801, 0), (253402300800, 0), (2**62, 0)]
)
def test_timestamps_that_python_cannot_hold_are_refused(seconds: int, nanos: int) -> None:
    with pytest.raises(Refused):
        clock.read_timestamp(Timestamp(seconds=seconds, nanos=nanos))


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0s", timedelta()),
        ("1.5s", timedelta(seconds=1.5)),
        ("-1.5s", timedelta(seconds=-1.5)),
        ("-0.000001s", timedelta(microseconds=-1)),
        ("315576000000s", timedelta(seconds=315_576_000_000)),
    ],
)
def test_spans_are_seconds(text: str, span: timedelta) -> None:
    assert clock.read_span(text) == span
    assert clock.read_span(clock.write_span(span)) == span


@pytest.mark.parametrize("text", ["", "1", "1.s", ".5s", "1e3s", "1.0000000001s", "0.0000001s", "315576000001s", 1.5])
def test_other_spans_are_refused(text: Any) -> None:
    with pytest.raises(Refused):
        clock.read_span(text)


@given(st.timedeltas())
def test_every_span_survives_both_wires_or_is_refused(span: timedelta) -> None:
    try:
        text, fields = clock.write_span(span), clock.write_duration(span)
    except Refused:
        assert abs(span) > timedelta(seconds=315_576_000_000)
        return
    assert clock.read_span(text) == span
    assert clock.read_duration(Duration(**fields)) == span
    assert fields["seconds"] * fields["nanos"] >= 0


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(1, -1000), (-1, 1000), (0, 1), (0, 10**9), (315_576_000_001, 0), (315_576_000_000, 1000)]
)
def test_durations_that_break_the_rules_are_refused(seconds: int, nanos: int) -> None:
    with pytest.raises(Refused):
        clock.read_duration(Duration(seconds=seconds, nanos=nanos))


@pytest.mark.parametrize("write", [clock.write_span, clock.write_duration])
def test_what_is_no_span_is_not_written(write: Callable[[Any], Any]) -> None:
    with pytest.raises(Refused, match="must be a timedelta"):
        write(1.5)
