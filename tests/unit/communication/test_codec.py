"""What the server's codecs share: presence, errors that name each field, nothing leaked."""

from __future__ import annotations

import dataclasses
import logging
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator
from sqlmodel import Field as SQLField
from sqlmodel import SQLModel

from communication.codec import JsonCodec, ProtoCodec, ServerCodec
from communication.contract.contract import Outgoing
from tests.unit.communication.building import Wire, contract_of


class State(Enum):
    idle = 1


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    size: int = Field(default=1, ge=1)
    note: str | None = None
    free: Any = None
    tags: list[str] = []


class Order(BaseModel):
    items: list[Item]
    total: int = 0

    @field_validator("total")
    @classmethod
    def check_total(cls, total: int) -> int:
        if total == 13:
            raise ValueError("brings bad luck")
        if total == 14:
            raise RuntimeError("secret of the validator")
        return total

    @model_validator(mode="after")
    def check_whole(self) -> Order:
        if self.total == 15:
            raise ValueError("adds up to nothing")
        return self


WIRE = Wire(Order)
ITEM = Wire(Item)
CODECS = [pytest.param(codec, id=codec.name()) for codec in (ITEM.json, ITEM.proto)]


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_absent_is_not_set(codec: ServerCodec) -> None:
    item = ITEM.decode(codec, ITEM.encode(codec, {"name": "a", "note": ""}))
    assert item == Item(name="a", note="")
    assert item.model_fields_set & {"size", "note", "free"} == {"note"}


@pytest.mark.parametrize("codec", CODECS)
def test_a_field_without_presence_is_zero_when_absent(codec: ServerCodec) -> None:
    data = b"{}" if codec.name() == "json" else b""
    assert ITEM.decode(codec, data) == Item(name="")


@pytest.mark.parametrize("codec", CODECS)
def test_a_null_in_free_json_is_present(codec: ServerCodec) -> None:
    item = ITEM.decode(codec, ITEM.encode(codec, {"name": "a", "free": None}))
    assert "free" in item.model_fields_set
    assert item.free is None


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "source",
    [
        {"name": "a", "size": 3},
        SimpleNamespace(name="a", size=3, note=None, tags=(), unrelated=object()),
        Item(name="a", size=3),
        dataclasses.make_dataclass("Other", [("size", int), ("name", str)])(3, "a"),
    ],
)
def test_any_object_with_the_attributes_can_be_sent(codec: ServerCodec, source: Any) -> None:
    assert ITEM.decode(codec, ITEM.encode(codec, source)) == Item(name="a", size=3)


def test_a_table_model_can_be_sent_and_received(fresh_declarations: None) -> None:
    class Tool(SQLModel, table=True):
        id: int | None = SQLField(default=None, primary_key=True)
        name: str

    wire = Wire(Tool)
    tool = wire.from_json({"name": "saw"})
    assert (tool.id, tool.name, tool.model_fields_set) == (None, "saw", {"name"})
    tool.name = "drill"
    assert wire.to_json(tool) == {"name": "drill"}


def test_aliases_of_pydantic_stay_off_the_wire() -> None:
    wire = Wire(create_model("Model", size=(int, Field(alias="num", ge=1))))
    assert wire.from_json({"size": 3}).size == 3
    assert [str(item) for item in wire.refusals({"size": 0})] == ["size should be greater than or equal to 1"]
    assert [item.field for item in wire.refusals({"num": 3})] == ["num"]


@pytest.mark.parametrize(
    ("content", "violations"),
    [
        ({"items": [{"name": "a"}, {"nam": "b", "size": "x"}]}, ["items[1].nam is not a", "items[1].size must be an"]),
        ({"items": [{"name": "a", "size": 0}]}, ["items[0].size should be greater than or equal to 1"]),
        ({"items": [], "total": 13}, ["total brings bad luck"]),
        ({"items": [], "total": 15}, ["adds up to nothing"]),
        ({"items": {}}, ["items must be a list"]),
        ({"items": [None]}, ["items[0] must be an object"]),
        ([], ["must be an object"]),
    ],
)
def test_a_refusal_names_each_field(content: Any, violations: list[str]) -> None:
    said = [str(item) for item in WIRE.refusals(content)]
    assert len(said) == len(violations)
    for text, start in zip(said, violations, strict=True):
        assert text.startswith(start)


def test_a_required_field_that_cannot_be_zero_is_missed_on_both_wires() -> None:
    wire = Wire(create_model("Model", state=(State, ...), item=(Item, ...)))
    expected = ["state is required", "item is required"]
    assert [str(item) for item in wire.refusals({})] == expected
    assert [str(item) for item in wire.refusals({"state": None, "item": None})] == expected
    with pytest.raises(ConnectError, match="state is required, item is required"):
        wire.decode(wire.proto, b"")


def test_the_message_repeats_the_violations() -> None:
    with pytest.raises(ConnectError) as caught:
        WIRE.from_json({"items": [], "total": 13})
    assert caught.value.message == "DoRequest is invalid: total brings bad luck"


def test_many_violations_do_not_flood_the_caller() -> None:
    with pytest.raises(ConnectError, match="and perhaps more") as caught:
        WIRE.from_json({"items": [1] * 1000})
    assert len(caught.value.message) < 2000
    (violation,) = WIRE.refusals({"x" * 100_000: 1})
    assert len(violation.field) == 100


def test_what_a_validator_breaks_on_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConnectError) as caught:
        WIRE.from_json({"items": [], "total": 14})
    assert (caught.value.code, caught.value.message) == (Code.INTERNAL, "internal error")
    assert "secret of the validator" in caplog.text


class Broken:
    @property
    def name(self) -> str:
        raise RuntimeError("secret of the property")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"name": 5}, "name must be a text"),
        ({"name": None}, "name must not be None"),
        ({}, "name is required"),
        ({"name": "a", "size": 2**31}, "size must be between"),
        ({"name": "a", "tags": "bc"}, "tags must be a list"),
        ({"name": "a", "tags": None}, "tags must not be None"),
        ({"name": "a", "nam": "b"}, "nam is not a field of DoRequest"),
        ({"name": "\ud800"}, "name must be Unicode"),
        (None, "must be a DoRequest"),
        (5, "must be a DoRequest"),
        (Broken(), "secret of the property"),
    ],
)
def test_a_response_that_does_not_fit_is_logged_and_not_told(
    codec: ServerCodec, value: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="communication"), pytest.raises(ConnectError) as caught:
        ITEM.encode(codec, value)
    assert (caught.value.code, caught.value.message) == (Code.INTERNAL, "internal error")
    assert reason in caplog.text


def test_an_empty_message_carries_nothing_but_is_there() -> None:
    contract = contract_of(None, None)
    rpc = contract.rpcs[0]
    for codec, data in ((JsonCodec(contract), b"{}"), (ProtoCodec(contract), b"")):
        assert codec.decode(data, rpc.request) == {}  # None would read as a message that never came
        assert codec.encode(rpc.outgoing(None)) == data
    with pytest.raises(ConnectError, match="x is not a field of DoRequest"):
        JsonCodec(contract).decode(b'{"x": 1}', rpc.request)


def test_an_argument_that_is_no_model_arrives_as_itself() -> None:
    contract = contract_of(list[Item], list[Item])
    codec, rpc = JsonCodec(contract), contract.rpcs[0]
    arguments = rpc.arguments(codec.decode(b'{"value": [{"name": "a"}]}', rpc.request))
    assert arguments == ([Item(name="a")],)
    assert codec.encode(rpc.outgoing(arguments[0])) == b'{"result":[{"name":"a","size":1,"free":null,"tags":[]}]}'


def test_a_response_type_of_its_own_is_no_obstacle() -> None:
    contract = contract_of(int, Item)
    response = contract.rpcs[0].response
    assert JsonCodec(contract).encode(Outgoing(type=response, value=Item(name="a"))).startswith(b'{"name":"a"')
