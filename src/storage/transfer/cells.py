"""Cells: how a value stands in a CSV file, so that it comes back equal and no spreadsheet runs it.

An empty cell is None. A text that is empty, starts with an apostrophe, or starts (after spaces) with a character that
makes a spreadsheet take it for a formula, gets an apostrophe in front, which reading takes off again. So each text has
one form, and each form stands for one text. Numbers stand as they are: `-5` is no formula.

| Kind | Cell |
| --- | --- |
| integers, float, Decimal | `-5`, `1e-07`, `1.50` |
| bool | `true`, `false` |
| text | itself |
| bytes | base64 |
| datetime, date, time, timedelta | ISO 8601: `2026-01-31T12:00:00+00:00`, `2026-01-31`, `12:00:00`, `P1DT2H` |
| UUID, Enum | its digits, the name of the member |
| JSON | compact JSON |
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from storage.columns import ColumnKind, RecordColumn
from storage.values import Refused, bind_for, is_typed_json, load_for

# What starts a formula (https://owasp.org/www-community/attacks/CSV_Injection), in full width as well.
_FORMULA = frozenset("=+-@\t\r\n＝＋－＠")  # noqa: RUF001 - full width on purpose
_MARK = "'"
_NUMBERS = {
    ColumnKind.SMALLINT,
    ColumnKind.INTEGER,
    ColumnKind.BIGINT,
    ColumnKind.FLOAT,
    ColumnKind.DECIMAL,
}
_INTEGER = re.compile(r"-?[0-9]{1,30}")
_NUMBER = re.compile(r"-?[0-9.]+([eE][+-]?[0-9]{1,9})?")
_SPAN: TypeAdapter[timedelta] = TypeAdapter(timedelta)


def escape(text: str) -> str:
    """Make a text inert in a spreadsheet, and tell it from None.

    Example:
        >>> escape("=1+1"), escape(""), escape("'quoted'"), escape("plain")
        ("'=1+1", "'", "''quoted'", 'plain')
    """
    start = text.lstrip()[:1]
    return _MARK + text if not text or text[0] == _MARK or text[0] in _FORMULA or start in _FORMULA else text


def unescape(cell: str) -> str:
    """Give back the text that `escape` was given."""
    return cell.removeprefix(_MARK)


def cell_writer(column: RecordColumn) -> Callable[[Any], str]:
    """The function from a value of the column to its cell."""
    write = _json_writer(column) if column.kind is ColumnKind.JSON else _WRITERS.get(column.kind, str)
    if column.kind in _NUMBERS:
        return lambda value: "" if value is None else write(value)
    return lambda value: "" if value is None else escape(write(value))


def cell_reader(column: RecordColumn) -> Callable[[str], Any]:
    """The function from a cell to the value, not validated yet; it raises `Refused` where the cell is no such value."""
    read, expected = _reader_of(column)

    def value_of(cell: str) -> Any:
        if not cell:
            return None
        try:
            return read(unescape(cell))
        except ValidationError as error:
            raise Refused(f"must be {expected}: {error.errors()[0]['msg'].lower()}") from error
        except (ValueError, KeyError, InvalidOperation) as error:
            raise Refused(f"must be {expected}") from error

    return value_of


def _json_writer(column: RecordColumn) -> Callable[[Any], str]:
    dump = bind_for(column) if is_typed_json(column) else None
    return lambda value: to_json(value if dump is None else dump(value)).decode()


_WRITERS: dict[ColumnKind, Callable[[Any], str]] = {
    ColumnKind.FLOAT: lambda value: repr(float(value)),
    ColumnKind.BOOLEAN: lambda value: "true" if value else "false",
    ColumnKind.BYTES: lambda value: base64.b64encode(value).decode(),
    ColumnKind.DATETIME: datetime.isoformat,
    ColumnKind.DATE: date.isoformat,
    ColumnKind.TIME: time.isoformat,
    ColumnKind.TIMEDELTA: lambda value: str(_SPAN.dump_python(value, mode="json")),
    ColumnKind.ENUM: lambda value: str(value.name),
}


def _reader_of(column: RecordColumn) -> tuple[Callable[[str], Any], str]:
    """How to read a text, and what it has to be."""
    if column.kind is ColumnKind.JSON:
        load = load_for(column)
        return (from_json if load is None else lambda text: load(from_json(text))), "JSON that the column can keep"
    if column.kind is ColumnKind.ENUM:
        return column.annotation.__getitem__, f"one of {', '.join(member.name for member in column.annotation)}"
    return _READERS[column.kind]


def _matching(pattern: re.Pattern[str], convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Python takes more for a number than others do: spaces, underscores, digits of other scripts."""

    def read(text: str) -> Any:
        if not pattern.fullmatch(text):
            raise ValueError
        return convert(text)

    return read


_WHOLE: tuple[Callable[[str], Any], str] = (_matching(_INTEGER, int), "an integer")
_READERS: dict[ColumnKind, tuple[Callable[[str], Any], str]] = {
    ColumnKind.SMALLINT: _WHOLE,
    ColumnKind.INTEGER: _WHOLE,
    ColumnKind.BIGINT: _WHOLE,
    ColumnKind.FLOAT: (_matching(_NUMBER, float), "a number"),
    ColumnKind.DECIMAL: (_matching(_NUMBER, Decimal), "a decimal number"),
    ColumnKind.BOOLEAN: (lambda text: {"true": True, "false": False}[text.lower()], "true or false"),
    ColumnKind.TEXT: (str, "text"),
    ColumnKind.BYTES: (lambda text: base64.b64decode(text, validate=True), "base64"),
    ColumnKind.DATETIME: (datetime.fromisoformat, "a time like 2026-01-31T12:00:00+00:00"),
    ColumnKind.DATE: (date.fromisoformat, "a date like 2026-01-31"),
    ColumnKind.TIME: (time.fromisoformat, "a time of day like 12:00:00"),
    ColumnKind.TIMEDELTA: (_SPAN.validate_python, "a duration like P1DT2H"),
    ColumnKind.UUID: (UUID, "a UUID"),
}
