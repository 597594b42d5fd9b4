"""Decimals, UUIDs, dates and times, which are texts on the wire."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from communication.wire.refusal import Refused
from communication.wire.scalars import check_text

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,6})?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?")


def read_decimal(value: Any) -> Decimal:
    """Read a decimal from its digits."""
    if type(value) is not str or not _DECIMAL.fullmatch(value):
        raise Refused('must be a decimal number in a text, such as "12.50"')
    return Decimal(value)


def write_decimal(value: Any) -> str:
    """Write a decimal with all its digits."""
    if not isinstance(value, Decimal) or not value.is_finite():
        raise Refused("must be a finite Decimal")
    return str(value)


def read_uuid(value: Any) -> UUID:
    """Read a UUID in its form with hyphens."""
    if type(value) is not str or not _UUID.fullmatch(value):
        raise Refused('must be a UUID, such as "6fa459ea-ee8a-3ca4-894e-db77e160355e"')
    return UUID(value)


def write_uuid(value: Any) -> str:
    """Write a UUID with hyphens, in lower case."""
    if not isinstance(value, UUID):
        raise Refused("must be a UUID")
    return str(value)


def read_date(value: Any) -> date:
    """Read a date."""
    if type(value) is str and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise Refused('must be a date, such as "2024-02-29"')


def write_date(value: Any) -> str:
    """Write a date; a datetime is none, as its time would be lost."""
    if not isinstance(value, date) or isinstance(value, datetime):
        raise Refused("must be a date")
    return value.isoformat()


def read_time(value: Any) -> time:
    """Read a time of day without a zone."""
    if type(value) is str and _TIME.fullmatch(value):
        try:
            return time.fromisoformat(value)
        except ValueError:
            pass
    raise Refused('must be a time without a zone, such as "13:37:00"')


def write_time(value: Any) -> str:
    """Write a time of day; one with a zone is refused, as the zone would be lost."""
    if not isinstance(value, time) or value.tzinfo is not None:
        raise Refused("must be a time without a zone")
    return value.isoformat()


def write_any_text(value: Any) -> str:
    """Write a text, or the text of a Decimal, UUID, date or time: a client sees no difference between these fields."""
    for python, write in ((Decimal, write_decimal), (UUID, write_uuid), (date, write_date), (time, write_time)):
        if isinstance(value, python):
            return write(value)
    return check_text(value)
