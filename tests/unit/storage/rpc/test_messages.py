"""Models as messages."""

from __future__ import annotations

import warnings
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel, RootModel
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from communication.contract.contract import Contract
from communication.contract.types import Kind
from storage.accessor import ModelAccessor
from storage.rpc.entries import record_entries
from storage.rpc.messages import printer_of, record_message


class Base(SQLModel, registry=registry()):
    """Keeps the tables of this module to themselves."""


class Color(Enum):
    red = "r"


class Spot(BaseModel):
    x: float


class Axes(RootModel[list[int]]):
    """No message: a list at its root."""


class Wired(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=3)
    small: int = Field(default=1, sa_type=sa.SmallInteger)
    big: int = Field(default=1, sa_type=sa.BigInteger)
    price: Decimal = Decimal(0)
    at: datetime | None = None
    color: Color = Color.red
    settings: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    spot: Spot | None = Field(default=None, sa_type=sa.JSON)
    spots: list[Spot] = Field(default_factory=list, sa_type=sa.JSON)
    axes: Axes | None = Field(default=None, sa_type=sa.JSON)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what SQLModel says of the names

    class Shadowing(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        json: str = ""  # type: ignore[assignment]
        copy: str = ""  # type: ignore[assignment]
        schema: str = ""  # type: ignore[assignment]


@pytest.fixture
def contract() -> Contract:
    return Contract.build("cell", record_entries(ModelAccessor(Wired, "wired"), 5))


def test_a_record_has_the_name_of_its_model_and_a_field_for_each_column(contract: Contract) -> None:
    kinds = {field.name: field.kind for field in contract.messages["Wired"].fields}
    assert kinds == {
        "id": Kind.INT32,
        "name": Kind.STRING,
        "small": Kind.INT32,
        "big": Kind.INT64,
        "price": Kind.DECIMAL,
        "at": Kind.TIMESTAMP,
        "color": Kind.ENUM,
        "settings": Kind.VALUE,
        "spot": Kind.MESSAGE,
        "spots": Kind.VALUE,
        "axes": Kind.VALUE,
    }


def test_every_field_of_a_record_has_presence(contract: Contract) -> None:
    assert all(field.presence for field in contract.messages["Wired"].fields)


def test_a_message_is_made_once() -> None:
    assert record_message(Wired) is record_message(Wired)


def test_a_name_that_shadows_pydantics_is_not_warned_of_again() -> None:
    assert list(record_message(Shadowing).model_fields) == ["id", "json", "copy", "schema"]


def test_a_record_without_json_of_its_own_is_printed_as_it_is() -> None:
    record = Shadowing(json="x")
    assert printer_of(Shadowing)(record) is record


def test_typed_json_that_is_no_message_is_printed_as_json() -> None:
    record = Wired(name="x", spot=Spot(x=1), spots=[Spot(x=2)], axes=Axes([1]))
    printed = printer_of(Wired)(record)
    assert (printed["spots"], printed["axes"], printed["spot"]) == ([{"x": 2.0}], [1], Spot(x=1))


def test_the_entries_of_an_accessor_have_their_older_names_as_aliases() -> None:
    entries = record_entries(ModelAccessor(Wired, "pick_place"), 5)
    assert [(entry.name, entry.aliases) for entry in entries] == [
        ("PickPlaceListRecords", ("Pick_place_ListRecords",)),
        ("PickPlaceGetRecord", ("Pick_place_GetRecord",)),
        ("PickPlaceCreateRecord", ("Pick_place_CreateRecord",)),
        ("PickPlaceUpdateRecord", ("Pick_place_UpdateRecord",)),
        ("PickPlaceDeleteRecord", ("Pick_place_DeleteRecord",)),
        ("PickPlaceRestoreRecord", ("Pick_place_RestoreRecord",)),
    ]


def test_entries_of_the_same_accessor_are_equal_and_others_are_not() -> None:
    accessor = ModelAccessor(Wired, "wired")
    assert record_entries(accessor, 5) == record_entries(accessor, 5)
    limited, other = record_entries(accessor, 4), record_entries(ModelAccessor(Wired, "wired"), 5)
    changed = [left != right for left, right in zip(record_entries(accessor, 5), limited, strict=True)]
    assert changed == [False, False, True, False, False, True]
    assert all(left != right for left, right in zip(record_entries(accessor, 5), other, strict=True))
