"""The checks of single values; what comes back from a database is shown by the integration tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from storage.columns import RecordColumn, columns_of
from storage.database import set_database_url
from storage.values import Refused, bind_for, check_for, is_typed_json, load_for, snapshot_for


class Base(SQLModel, registry=registry()):
    """Root of the models here."""


class Axis(BaseModel):
    """A typed JSON value."""

    speed: float = 1.0
    raw: bytes = b""


class Tool(Base, table=True):
    """With the columns that are checked."""

    id: int | None = Field(default=None, primary_key=True)
    label: str = Field(default="", sa_type=sa.String(8))
    price: Decimal = Field(default=Decimal(0), max_digits=6, decimal_places=2)
    exact: Decimal = Field(default=Decimal(0), sa_type=sa.String(10))
    settings: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    rows: list[dict[str, int]] | None = Field(default=None, sa_type=sa.JSON)
    axis: Axis | None = Field(default=None, sa_type=sa.JSON)


COLUMNS: dict[str, RecordColumn] = {column.name: column for column in columns_of(Tool)}


@pytest.fixture(scope="module", autouse=True)
def sqlite() -> None:
    set_database_url("sqlite://")


def check(name: str, value: Any) -> Any:
    function = check_for(COLUMNS[name])
    assert function is not None
    return function(value)


@pytest.mark.parametrize("value", ["0", "-0", "0E+9", "0E-9", "9999.99", "-9999.99", "1E+3", "1.10", "1.1000000"])
def test_a_decimal_within_precision_and_scale(value: str) -> None:
    assert check("price", Decimal(value)) == Decimal(value)


@pytest.mark.parametrize("value", ["10000", "1E+4", "0.001", "1.101", "NaN", "sNaN", "-Infinity"])
def test_a_decimal_beyond_precision_or_scale(value: str) -> None:
    with pytest.raises(Refused):
        check("price", Decimal(value))


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_is_kept_as_it_is_or_refused(value: Decimal) -> None:
    try:
        kept = check("price", value)
    except Refused:
        assert value != round(value, 2) or abs(value) >= 10_000 if abs(value) < 10**20 else True
    else:
        assert kept == value == Decimal(f"{value:.2f}")


def test_texts_are_as_long_as_their_column() -> None:
    assert check("label", "ß" * 8)
    with pytest.raises(Refused, match="8 characters"):
        check("label", "ß" * 9)


def test_a_decimal_as_text_is_as_long_as_its_column() -> None:
    assert check("exact", Decimal("12345.6789"))
    with pytest.raises(Refused, match="10 characters"):
        check("exact", Decimal("12345.67891"))


def test_plain_and_typed_json_are_told_apart() -> None:
    assert [name for name, column in COLUMNS.items() if is_typed_json(column)] == ["axis"]


def test_a_refusal_inside_json_has_a_path() -> None:
    with pytest.raises(Refused) as caught:
        check("settings", {"axes": [{"x": 1}, {"x": 2**53}]})

    assert caught.value.path == ".axes[1].x"


class Text(str):
    """A text that is more than one."""

    __slots__ = ()


@pytest.mark.parametrize("value", [Text("a"), {1}, (1,), b"", object(), 1j, Decimal(1)])
def test_json_that_would_come_back_as_something_else_is_refused(value: Any) -> None:
    with pytest.raises(Refused):
        check("settings", {"value": value})


def test_a_typed_value_that_json_cannot_keep_is_refused() -> None:
    with pytest.raises(Refused, match="round trip"):
        check("axis", Axis(raw=b"\xff"))
    with pytest.raises(Refused, match="finite"):
        check("axis", Axis(speed=float("inf")))


def test_a_typed_value_goes_in_as_json_and_comes_out_as_itself() -> None:
    column, axis = COLUMNS["axis"], Axis(speed=2.0, raw=b"ab")
    bind, load, snapshot = bind_for(column), load_for(column), snapshot_for(column)
    assert bind is not None
    assert load is not None
    assert snapshot is not None

    assert bind(axis) == snapshot(axis) == {"speed": 2.0, "raw": "ab"}
    assert load(bind(axis)) == axis
