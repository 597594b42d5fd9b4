"""Enums: members in Python, labels in JSON, numbers in protobuf."""

from __future__ import annotations

from typing import Any

from communication import naming
from communication.contract.types import EnumType, EnumValue
from communication.wire.refusal import Convert, Refused


def enum_reader(enum: EnumType) -> Convert:
    """Return a converter of labels and numbers to members, or to labels without prefix where there is no class."""
    prefix = f"{naming.upper_snake_case(enum.name)}_"
    known: dict[Any, Any] = {}
    for value in enum.values[1:]:
        member = value.label.removeprefix(prefix) if value.member is None else value.member
        known[value.label] = known[value.number] = member
    labels = ", ".join(value.label for value in enum.values[1:])

    def read_member(value: Any) -> Any:
        if type(value) in (str, int) and value in known:
            return known[value]
        raise Refused(f"must be one of {labels}")

    return read_member


def enum_writer(enum: EnumType, *, as_label: bool) -> Convert:
    """Return a converter of members (or their values; without a class their names) to labels or numbers.

    Args:
        enum: The enum.
        as_label: Whether to return labels, as JSON has them, or numbers.
    """
    prefix = f"{naming.upper_snake_case(enum.name)}_"
    known: dict[Any, str | int] = {}
    for value in enum.values[1:]:
        known.update(dict.fromkeys(_spellings(value, prefix), value.label if as_label else value.number))
    names = ", ".join(value.label.removeprefix(prefix) for value in enum.values[1:])

    def write_member(value: Any) -> str | int:
        if enum.python is None:
            value = str(getattr(value, "name", value)).upper()
        elif type(value) is not enum.python:
            value = _to_member(enum.python, value)
        if value in known:
            return known[value]
        raise Refused(f"must be one of {names}")

    return write_member


def _spellings(value: EnumValue, prefix: str) -> list[Any]:
    if value.member is not None:
        return [value.member]
    return [value.label, value.label.removeprefix(prefix)]


def _to_member(python: Any, value: Any) -> Any:
    try:
        return python(value)
    except (ValueError, TypeError) as error:
        raise Refused(f"must be a {python.__name__}") from error
