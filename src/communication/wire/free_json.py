"""Free JSON: `Any`, `dict` and `list` in Python, google.protobuf.Value on the wire, whose numbers are doubles."""

from __future__ import annotations

import math
from typing import Any

from communication.wire.refusal import LONGEST_ECHO, Refused
from communication.wire.scalars import MAX_EXACT, check_text

MAX_DEPTH = 30
"""How deep lists and objects may be nested: protobuf reads 100 messages deep, an object in a Value takes three."""


def check_json(value: Any, depth: int = 0) -> Any:
    """Return a copy of the value in plain JSON types.

    Args:
        value: What may be JSON.
        depth: How deep it is nested.

    Raises:
        Refused: Something in it is not JSON, or a double could not give it back equal.
    """
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return check_text(value)
    if isinstance(value, (int, float)):
        return _check_number(value)
    if depth == MAX_DEPTH:
        raise Refused(f"must not be nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        return {_check_key(key): _check_inside(str(key)[:LONGEST_ECHO], item, depth) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_check_inside(f"[{index}]", item, depth) for index, item in enumerate(value)]
    raise Refused(f"must be JSON, not {type(value).__name__}")


def _check_inside(place: str, value: Any, depth: int) -> Any:
    try:
        return check_json(value, depth + 1)
    except Refused as refused:
        raise Refused(violations=refused.within(place)) from refused


def _check_key(key: Any) -> str:
    if not isinstance(key, str):
        raise Refused("must have texts as keys")
    return check_text(key)


def _check_number(value: Any) -> float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refused("must be a finite number, as JSON has no other")
        return float(value)
    if abs(value) > MAX_EXACT:
        raise Refused(f"must be between -{MAX_EXACT} and {MAX_EXACT}, as numbers in JSON are doubles; use a text")
    return int(value)


def read_value(message: Any, depth: int = 0) -> Any:
    """Read a google.protobuf.Value; an integral number becomes an int, as JSON does not tell 1 from 1.0.

    Args:
        message: The Value.
        depth: How deep it is nested.
    """
    kind = message.WhichOneof("kind")
    if kind == "number_value":
        return _read_number(message.number_value)
    if kind in ("string_value", "bool_value"):
        return getattr(message, kind)
    if kind == "null_value":
        return None
    if kind is None:
        raise Refused("must have a kind")
    if depth == MAX_DEPTH:
        raise Refused(f"must not be nested deeper than {MAX_DEPTH}")
    if kind == "struct_value":
        return {key: read_value(item, depth + 1) for key, item in message.struct_value.fields.items()}
    return [read_value(item, depth + 1) for item in message.list_value.values]


def _read_number(number: float) -> float:
    if not math.isfinite(number):
        raise Refused("must be a finite number, as JSON has no other")
    return int(number) if number.is_integer() and abs(number) <= MAX_EXACT else number


def fill_value(message: Any, value: Any) -> None:
    """Fill a google.protobuf.Value.

    Args:
        message: An empty Value.
        value: Plain JSON that `check_json` has let through.
    """
    if value is None:
        message.null_value = 0
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, (int, float)):
        message.number_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, dict):
        message.struct_value.SetInParent()
        for key, item in value.items():
            fill_value(message.struct_value.fields[key], item)
    else:
        message.list_value.SetInParent()
        for item in value:
            fill_value(message.list_value.values.add(), item)
