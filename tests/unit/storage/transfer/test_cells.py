"""Cells: every value of every kind of column comes back equal, and none of them is run by a spreadsheet."""

from __future__ import annotations

import csv
import enum
import io
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from storage.columns import ColumnKind, RecordColumn, columns_of
from storage.transfer.cells import cell_reader, cell_writer, escape, unescape
from storage.values import Refused


class Base(SQLModel, registry=registry()):
    """Keeps the table to this test."""


class Shade(enum.Enum):
    DARK = "="
    LIGHT = "l"


class Corner(BaseModel):
    x: float
    label: str | None = None


class Row(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    small: int | None = Field(default=None, sa_type=sa.SmallInteger)
    big: int | None = Field(default=None, sa_type=sa.BigInteger)
    number: float | None = None
    flag: bool | None = None
    text: str | None = None
    data: bytes | None = None
    money: Decimal | None = None
    moment: datetime | None = None
    day: date | None = None
    clock: time | None = None
    span: timedelta | None = None
    token: UUID | None = None
    shade: Shade | None = None
    anything: Any = Field(default=None, nullable=True, sa_type=sa.JSON)
    corner: Corner | None = Field(default=None, sa_type=sa.JSON)


COLUMNS: dict[str, RecordColumn] = {column.name: column for column in columns_of(Row)}
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.builds(
    str.__add__,
    st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", "'", "''", " =", '"', ",", "\r\n"]),
    st.text("a=',\"\r\n"),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": st.integers(-(2**31), 2**31 - 1),
    "small": st.integers(-(2**15), 2**15 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "flag": st.booleans(),
    "text": TEXTS,
    "data": st.binary(),
    "money": st.decimals(allow_nan=False, allow_infinity=False),
    "moment": st.datetimes(timezones=st.just(UTC)).map(lambda value: value.replace(fold=0)),
    "day": st.dates(),
    "clock": st.times().map(lambda value: value.replace(fold=0)),
    "span": st.timedeltas(min_value=timedelta(days=-719162), max_value=timedelta(days=2932896)),
    "token": st.uuids(),
    "shade": st.sampled_from(Shade),
    "anything": JSON.filter(lambda value: value is not None),
    "corner": st.builds(
        Corner, x=st.floats(allow_nan=False, allow_infinity=False), label=st.none() | TEXTS.filter(str.isprintable)
    ),
}
NUMBERS = {ColumnKind.SMALLINT, ColumnKind.INTEGER, ColumnKind.BIGINT, ColumnKind.FLOAT, ColumnKind.DECIMAL}


def through_csv(cell: str) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\r\n").writerow([cell, "next"])
    ((read, following),) = csv.reader(io.StringIO(file.getvalue(), newline=""), strict=True)
    assert following == "next"
    return read


def test_there_is_a_strategy_for_every_kind_of_column() -> None:
    assert set(VALUES) == set(COLUMNS)
    assert {column.kind for column in COLUMNS.values()} == set(ColumnKind)


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_a_value_comes_back_equal(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    cell = cell_writer(COLUMNS[name])(value)
    back = cell_reader(COLUMNS[name])(through_csv(cell))
    assert (back, repr(back), type(back)) == (value, repr(value), type(value))


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_no_cell_is_empty_or_a_formula(name: str, data: st.DataObject) -> None:
    cell = cell_writer(COLUMNS[name])(data.draw(VALUES[name]))
    assert cell
    if COLUMNS[name].kind in NUMBERS:
        assert set(cell) <= set("0123456789.eE+-")
        assert Decimal(cell).is_finite()
    else:
        assert cell[0] not in "=+-@\t\r\n"
        assert not cell.lstrip().startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("name", VALUES)
def test_none_is_the_empty_cell_and_nothing_else(name: str) -> None:
    assert cell_writer(COLUMNS[name])(None) == ""
    assert cell_reader(COLUMNS[name])("") is None


@given(TEXTS)
def test_the_escape_can_be_undone(text: str) -> None:
    assert unescape(escape(text)) == text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("", "'"),
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-", "'-"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("  =1", "'  =1"),
        ("\N{FULLWIDTH EQUALS SIGN}1", "'\N{FULLWIDTH EQUALS SIGN}1"),
        ("'=1", "''=1"),
        ("it's", "it's"),
        ("a=1", "a=1"),
    ],
)
def test_what_the_escape_looks_like(text: str, cell: str) -> None:
    assert escape(text) == cell


BAD: list[tuple[str, str, str]] = [
    ("id", "1_000", "must be an integer"),
    ("id", " 1", "must be an integer"),
    ("id", "1.0", "must be an integer"),
    ("id", "９", "must be an integer"),  # noqa: RUF001 - a digit of another script
    ("number", "nan", "must be a number"),
    ("number", "1,5", "must be a number"),
    ("flag", "yes", "must be true or false"),
    ("data", "###", "must be base64"),
    ("money", "1e", "must be a decimal number"),
    ("moment", "yesterday", "must be a time like"),
    ("day", "2026-02-30", "must be a date like"),
    ("clock", "25:00", "must be a time of day"),
    ("span", "long", "must be a duration"),
    ("token", "1", "must be a UUID"),
    ("shade", "GREY", "must be one of DARK, LIGHT"),
    ("anything", "{", "must be JSON"),
    ("corner", '{"y": 1}', "must be JSON that the column can keep: field required"),
]


@pytest.mark.parametrize(("name", "cell", "why"), BAD)
def test_a_cell_that_is_no_such_value_is_refused(name: str, cell: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        cell_reader(COLUMNS[name])(cell)


@pytest.mark.parametrize(("name", "cell", "value"), [("flag", "TRUE", True), ("number", "-5", -5.0), ("big", "-5", -5)])
def test_what_a_spreadsheet_makes_of_a_cell_is_understood(name: str, cell: str, value: object) -> None:
    read: Callable[[str], Any] = cell_reader(COLUMNS[name])
    assert read(cell) == value
