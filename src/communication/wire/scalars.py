"""Booleans, numbers, texts and bytes, checked on their way in and out."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import Any

from communication.wire.refusal import Convert, Refused

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)
MAX_EXACT = 2**53 - 1
"""Beyond it, not every integer is a double."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,30})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def check_bool(value: Any) -> bool:
    """Return the value if it is a bool."""
    if value is True or value is False:
        return bool(value)
    raise Refused("must be true or false")


def check_text(value: Any) -> str:
    """Return the value if it is a text that UTF-8 can say."""
    if not isinstance(value, str):
        raise Refused("must be a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Refused("must be Unicode text, without lone surrogates") from error
    return str.__str__(value)


def check_bytes(value: Any) -> bytes:
    """Return the value if it is bytes."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise Refused("must be bytes")


def integer_checker(lowest: int, highest: int) -> Convert:
    """Return a converter that lets integers of that range through."""

    def check_integer(value: Any) -> int:
        if type(value) is int or (isinstance(value, int) and not isinstance(value, bool)):
            if lowest <= value <= highest:
                return int(value)
            raise Refused(f"must be between {lowest} and {highest}")
        raise Refused("must be an integer")

    return check_integer


def check_double(value: Any) -> float:
    """Return the number as a float, if a float can say it."""
    if type(value) is float:
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError as error:
            raise Refused("is too large for a double") from error
        if number == value or math.isnan(number):
            return number
        raise Refused("has more digits than a double can hold")
    raise Refused("must be a number")


def integer_reader(lowest: int, highest: int) -> Convert:
    """Return a converter of JSON integers: numbers, or strings of digits, as proto3 JSON has both."""
    check = integer_checker(lowest, highest)

    def read_integer(value: Any) -> int:
        if type(value) is str:
            if not _INTEGER.fullmatch(value):
                raise Refused("must be an integer")
            value = int(value)
        elif type(value) is float and value.is_integer() and abs(value) <= MAX_EXACT:
            value = int(value)
        return int(check(value))

    return read_integer


def read_double(value: Any) -> float:
    """Read a double from JSON: a number, a string with a number, or "NaN", "Infinity", "-Infinity"."""
    if type(value) is float and math.isinf(value):
        raise Refused("is too large for a double")
    if type(value) is not str:
        return check_double(value)
    if value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if not _NUMBER.fullmatch(value):
        raise Refused("must be a number")
    return read_double(float(value))


def write_double(value: Any) -> float | str:
    """Write a double as JSON has it, with strings for what JSON has no number for."""
    number = check_double(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")


def read_base64(value: Any) -> bytes:
    """Read bytes from standard or URL-safe base64, padded or not."""
    if type(value) is not str or not value.isascii():
        raise Refused("must be base64 text")
    data = value.encode("ascii")
    if b"-" in data or b"_" in data:
        data = data.translate(_URL_SAFE)
    if len(data) % 4:
        data += b"=" * (-len(data) % 4)
    try:
        return a2b_base64(data, strict_mode=True)
    except Base64Error as error:
        raise Refused("must be base64 text") from error


def write_base64(value: Any) -> str:
    """Write bytes as standard base64."""
    return b64encode(check_bytes(value)).decode("ascii")
