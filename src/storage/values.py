"""Values: what a column would not give back equal is refused, and how each kind goes in and out of the database.

SQLite keeps 2**40 in an INTEGER column, turns NaN into NULL and a long decimal into another one. So every value is
checked before any SQL, by the same rules on every database.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any, get_args, get_origin

import sqlalchemy as sa
from pydantic import TypeAdapter

from storage.columns import ColumnKind, RecordColumn
from storage.database import current_database

Convert = Callable[[Any], Any]

INT16, INT32, INT64 = 2**15, 2**31, 2**63
JSON_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps (RFC 8259, section 6)."""
LONGEST_KEY = 500
"""The most characters of a key; an index of PostgreSQL's keeps 2,704 bytes, a character has up to four."""
_DEEPEST_JSON = 30  # as protobuf carries it: each level takes three of the hundred that its readers accept
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - SQLAlchemy's Interval counts from this naive time
_EXACT = Context(prec=1000)
_DEFAULT_SCALE = 10  # the places that SQLAlchemy's Numeric returns when no scale is given
_PLAIN_JSON = {dict, list, str, int, float, bool, type(None), Any, object}


class Refused(ValueError):
    """A value that its column would not give back equal.

    Args:
        message: What is wrong and what would be right.
        path: Where inside the value, such as `.axis` or `[2].x`.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


def check_for(column: RecordColumn) -> Convert | None:
    """The function that returns a value of the column as it is to be kept, or raises `Refused`; None where all pass."""
    match column.kind:
        case ColumnKind.TEXT:
            length = getattr(column.storage_type, "length", None)
            return _text_check(min(length or LONGEST_KEY, LONGEST_KEY) if column.column.primary_key else length)
        case ColumnKind.DECIMAL:
            return _decimal_check(column.storage_type)
        case ColumnKind.JSON:
            return _typed_json_check(column) if is_typed_json(column) else _checked_json
        case _:
            return _CHECKS.get(column.kind)


def bind_for(column: RecordColumn) -> Convert | None:
    """The function from a checked value to what SQLAlchemy binds; None where they are the same."""
    if column.kind is ColumnKind.DATETIME and not getattr(column.storage_type, "timezone", True):
        return lambda value: value.replace(tzinfo=None)
    if column.kind is ColumnKind.DECIMAL and isinstance(column.column.type, sa.String):
        return str
    if is_typed_json(column):
        adapter = TypeAdapter(column.annotation)
        return lambda value: adapter.dump_python(value, mode="json", by_alias=False)
    return None


def load_for(column: RecordColumn) -> Convert | None:
    """The function from what SQLAlchemy returns to the value; None where they are the same."""
    if column.kind is ColumnKind.DATETIME and isinstance(column.column.type, sa.DateTime):
        return lambda value: value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if column.kind is ColumnKind.DECIMAL and isinstance(column.column.type, sa.String):
        return Decimal
    if column.kind is ColumnKind.DECIMAL and getattr(column.storage_type, "scale", None) is None:
        return _shortest
    if is_typed_json(column):
        adapter = TypeAdapter(column.annotation)
        return lambda value: adapter.validate_python(value, by_name=True)
    if column.kind is ColumnKind.JSON and not _is_container(column.annotation):
        return _as_written
    return None


def snapshot_for(column: RecordColumn) -> Convert | None:
    """The function from a value to its JSON form in the audit trail; None where the JSON serializer does it."""
    if column.kind is ColumnKind.BYTES:
        return lambda value: base64.b64encode(value).decode()
    if column.kind is ColumnKind.ENUM:
        return lambda value: value.name
    return bind_for(column) if is_typed_json(column) else None


def is_typed_json(column: RecordColumn) -> bool:
    """Whether a JSON column keeps a type of its own, a pydantic model say, and not whatever JSON there is."""
    return column.kind is ColumnKind.JSON and not _is_plain(column.annotation)


def _is_container(annotation: Any) -> bool:
    return (get_origin(annotation) or annotation) in {dict, list}


def _as_written(value: Any) -> Any:
    """A number that is all of a JSON value, which SQLite keeps as an integer where it is integral, 1e16 for one."""
    return float(value) if type(value) is int and abs(value) > JSON_INTEGER else value


def _is_plain(annotation: Any) -> bool:
    if get_origin(annotation) in {dict, list}:
        return all(_is_plain(argument) for argument in get_args(annotation))
    return annotation in _PLAIN_JSON


def _integer_check(bound: int) -> Convert:
    message = f"must be from -2**{bound.bit_length() - 1} to 2**{bound.bit_length() - 1} - 1"
    hint = "; declare the column as BigInteger for more" if bound == INT32 else ""

    def check(value: int) -> int:
        if not -bound <= value < bound:
            raise Refused(message + hint)
        return value

    return check


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise Refused("must be a finite number")
    return value


def _text_check(length: int | None) -> Convert:
    def check(value: str) -> str:
        if not isinstance(value, str):
            raise Refused("must be text")
        _check_text(value)
        if length is not None and len(value) > length:
            raise Refused(f"must have at most {length} characters")
        return value

    return check


def _check_text(value: str, path: str = "") -> None:
    if "\0" in value:
        raise Refused("must not contain a NUL character, which PostgreSQL cannot keep", path)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Refused("must not contain half of a surrogate pair", path) from None


def _decimal_check(type_: sa.types.TypeEngine[Any]) -> Convert:
    if isinstance(type_, sa.String):
        return _decimal_text_check(type_.length)
    precision, scale = getattr(type_, "precision", None), getattr(type_, "scale", None)
    places = _DEFAULT_SCALE if scale is None else scale
    unit = Decimal(1).scaleb(-places)

    def check(value: Decimal) -> Decimal:
        whole, fraction = _digits(_finite_decimal(value))
        if fraction > places:
            raise Refused(f"must have at most {places} decimal places")
        if precision is not None and whole > precision - places:
            raise Refused(f"must be below 10**{precision - places}")
        if not current_database().dialect.keeps_decimal(value, places):
            raise Refused("has more digits than the database keeps; store it as text (sa_type=String) to keep them all")
        return _shortest(value) if scale is None else value.quantize(unit, context=_EXACT)

    return check


def _decimal_text_check(length: int | None) -> Convert:
    def check(value: Decimal) -> Decimal:
        if length is not None and len(str(_finite_decimal(value))) > length:
            raise Refused(f"must have at most {length} characters")
        return _finite_decimal(value)

    return check


def _shortest(value: Decimal) -> Decimal:
    """The number without zeros at the end of its fraction, which a column without a scale would add."""
    text = format(value, "f")
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def _finite_decimal(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise Refused("must be a finite number")
    return value


def _digits(value: Decimal) -> tuple[int, int]:
    """The digits before and after the point that are not zeros at the ends."""
    _, digits, exponent = value.as_tuple()
    shown = "".join(map(str, digits)).lstrip("0")
    significant = shown.rstrip("0")
    exponent = int(exponent) + len(shown) - len(significant)
    return (max(0, len(significant) + exponent), max(0, -exponent)) if significant else (0, 0)


def _aware_utc(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise Refused("must be aware: use datetime.now(timezone.utc), not datetime.now()")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise Refused("must be a time in the years 1 to 9999 of UTC") from None


def _zoneless(value: time) -> time:
    if value.tzinfo is not None:
        raise Refused("must be a time without a zone; use datetime to keep one")
    return value


def _storable_span(value: timedelta) -> timedelta:
    try:
        _EPOCH + value
    except OverflowError:
        raise Refused("must keep 1970-01-01 plus it within the years 1 to 9999") from None
    return value


_CHECKS: dict[ColumnKind, Convert] = {
    ColumnKind.SMALLINT: _integer_check(INT16),
    ColumnKind.INTEGER: _integer_check(INT32),
    ColumnKind.BIGINT: _integer_check(INT64),
    ColumnKind.FLOAT: _finite,
    ColumnKind.DATETIME: _aware_utc,
    ColumnKind.TIME: _zoneless,
    ColumnKind.TIMEDELTA: _storable_span,
}


def _checked_json(value: Any) -> Any:
    _check_json(value, "", _DEEPEST_JSON)
    return value


def _check_json(value: Any, path: str, room: int) -> None:
    if value is None or value is True or value is False:
        return
    kind = type(value)  # a subclass would not come back as what it was
    if kind is str:
        _check_text(value, path)
    elif kind is int:
        if not -JSON_INTEGER <= value <= JSON_INTEGER:
            raise Refused("must be within ±(2**53 - 1), which is what JSON readers keep; use text for more", path)
    elif kind is float:
        if not math.isfinite(value):
            raise Refused("must be a finite number", path)
    elif kind is dict:
        _check_json_object(value, path, room)
    elif kind is list:
        inner = _one_level_less(room)
        for index, item in enumerate(value):
            _check_json(item, f"{path}[{index}]", inner)
    else:
        raise Refused(f"is {kind.__name__}, which JSON cannot keep", path)


def _check_json_object(value: Mapping[Any, Any], path: str, room: int) -> None:
    inner = _one_level_less(room)
    for key, item in value.items():
        if type(key) is not str:
            raise Refused(f"has the key {key!r}; the keys of a JSON object are text", path)
        _check_text(key, path)
        _check_json(item, f"{path}.{key}", inner)


def _one_level_less(room: int) -> int:
    if not room:
        raise Refused(f"must not be nested more than {_DEEPEST_JSON} levels deep")
    return room - 1


def _typed_json_check(column: RecordColumn) -> Convert:
    adapter = TypeAdapter(column.annotation)

    def check(value: Any) -> Any:
        try:
            dumped = adapter.dump_python(value, mode="json", by_alias=False)
            returned = adapter.validate_python(_checked_json(dumped), by_name=True)
        except Refused:
            raise
        except ValueError as error:
            raise Refused("does not survive a round trip through JSON") from error
        if returned != value:
            raise Refused("does not come back equal from JSON")
        return value

    return check
