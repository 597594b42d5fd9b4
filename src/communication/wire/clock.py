"""Moments and spans: datetime and timedelta as RFC 3339 text, and as seconds and nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from communication.wire.refusal import Refused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_SPAN = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_MAX_SPAN_SECONDS = 315_576_000_000  # google.protobuf.Duration: about 10,000 years
_NANOS_IN_MICRO = 1_000
_NANOS_IN_SECOND = 1_000_000_000
_NOT_A_MOMENT = 'must be a time with a zone, such as "2024-02-29T13:37:00Z"'
_NOT_A_SPAN = 'must be a span in seconds, such as "1.5s"'
_TOO_FINE = "must not be finer than a microsecond"
_OUT_OF_RANGE = "must lie between the years 1 and 9999"
_TOO_LONG = f"must not be longer than {_MAX_SPAN_SECONDS} seconds"


def _to_utc(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise Refused("must be a datetime")
    if value.utcoffset() is None:
        raise Refused("must be a datetime with a zone")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise Refused(_OUT_OF_RANGE) from error


def _micros(fraction: str | None) -> int:
    nanos = int(fraction.ljust(9, "0")) if fraction else 0
    if nanos % _NANOS_IN_MICRO:
        raise Refused(_TOO_FINE)
    return nanos // _NANOS_IN_MICRO


def read_moment(value: Any) -> datetime:
    """Read RFC 3339 text as an aware datetime in UTC."""
    match = _MOMENT.fullmatch(value) if type(value) is str else None
    if match is None:
        raise Refused(_NOT_A_MOMENT)
    seconds, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(seconds + zone)
    except ValueError as error:
        raise Refused(_NOT_A_MOMENT) from error
    if fraction:
        moment = moment.replace(microsecond=_micros(fraction))
    return moment if zone == "Z" else _to_utc(moment)


def write_moment(value: Any) -> str:
    """Write an aware datetime as RFC 3339 text in UTC."""
    return f"{_to_utc(value).isoformat()[:-6]}Z"


def read_timestamp(message: Any) -> datetime:
    """Read a google.protobuf.Timestamp as an aware datetime in UTC."""
    seconds, nanos = message.seconds, message.nanos
    if not 0 <= nanos < _NANOS_IN_SECOND:
        raise Refused("must have nanos between 0 and 999999999")
    if nanos % _NANOS_IN_MICRO:
        raise Refused(_TOO_FINE)
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // _NANOS_IN_MICRO)
    except OverflowError as error:
        raise Refused(_OUT_OF_RANGE) from error


def write_timestamp(value: Any) -> dict[str, int]:
    """Return the fields of a google.protobuf.Timestamp."""
    span = _to_utc(value) - _EPOCH
    return {"seconds": span.days * 86_400 + span.seconds, "nanos": span.microseconds * _NANOS_IN_MICRO}


def _check_span(value: Any) -> timedelta:
    if not isinstance(value, timedelta):
        raise Refused("must be a timedelta")
    if abs(value) > timedelta(seconds=_MAX_SPAN_SECONDS):
        raise Refused(_TOO_LONG)
    return value


def read_span(value: Any) -> timedelta:
    """Read seconds with an `s` behind them."""
    match = _SPAN.fullmatch(value) if type(value) is str else None
    if match is None:
        raise Refused(_NOT_A_SPAN)
    sign, seconds, fraction = match.groups()
    span = timedelta(seconds=int(seconds), microseconds=_micros(fraction))
    return _check_span(-span if sign else span)


def write_span(value: Any) -> str:
    """Write a span as seconds with an `s` behind them."""
    span = _check_span(value)
    sign, size = ("-", -span) if span < timedelta() else ("", span)
    seconds = f"{sign}{size // _SECOND}"
    return f"{seconds}.{size.microseconds:06d}s" if size.microseconds else f"{seconds}s"


def read_duration(message: Any) -> timedelta:
    """Read a google.protobuf.Duration."""
    seconds, nanos = message.seconds, message.nanos
    if abs(seconds) > _MAX_SPAN_SECONDS:
        raise Refused(_TOO_LONG)
    if abs(nanos) >= _NANOS_IN_SECOND or seconds * nanos < 0:
        raise Refused("must have nanos below a second, of the same sign as its seconds")
    if nanos % _NANOS_IN_MICRO:
        raise Refused(_TOO_FINE)
    return _check_span(timedelta(seconds=seconds, microseconds=nanos // _NANOS_IN_MICRO))


def write_duration(value: Any) -> dict[str, int]:
    """Return the fields of a google.protobuf.Duration: seconds and nanos of the same sign."""
    span = _check_span(value)
    sign, size = (-1, -span) if span < timedelta() else (1, span)
    return {"seconds": sign * (size // _SECOND), "nanos": sign * size.microseconds * _NANOS_IN_MICRO}
