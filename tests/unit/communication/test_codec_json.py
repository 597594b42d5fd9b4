"""JSON on the wire: proto3 JSON, strictly."""

from __future__ import annotations

from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from pydantic import BaseModel, create_model

from communication.contract.markers import FieldPaths, Int64
from tests.unit.communication.building import Wire


class Axis(BaseModel):
    axis_1: int = 0
    plcID: str = ""  # noqa: N815 - a name as users have them
    _hidden: int = 0
    started_at: float | None = None
    big: Int64 | None = None
    free: dict[str, Any] | None = None
    data: bytes = b""
    update_mask: FieldPaths = []


WIRE = Wire(Axis)


def test_names_go_out_in_lower_camel_case() -> None:
    assert WIRE.to_json(Axis(axis_1=1, plcID="a", started_at=0.5)) == {
        "axis1": 1,
        "plcID": "a",
        "startedAt": 0.5,
        "data": "",
        "updateMask": [],
    }


def test_either_spelling_comes_in() -> None:
    assert WIRE.from_json({"axis_1": 1, "started_at": 0.5}) == WIRE.from_json({"axis1": 1, "startedAt": 0.5})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"axis_1": 1, "axis1": 1}, "axis_1 is given in both spellings"),
        ({"axis_2": 1}, "axis_2 is not a field of DoRequest"),
        ({"AXIS1": 1}, "AXIS1 is not a field of DoRequest"),
        ({"_hidden": 1}, "_hidden is not a field of DoRequest"),
    ],
)
def test_names_are_taken_strictly(content: Any, said: str) -> None:
    assert [str(item) for item in WIRE.refusals(content)] == [said]


def test_null_is_absent_but_a_value_inside_free_json() -> None:
    axis = WIRE.from_json({"axis1": None, "startedAt": None, "updateMask": None, "free": {"a": None}})
    assert axis.model_fields_set == {"free"}
    assert axis.free == {"a": None}
    assert WIRE.from_json({"free": None}).model_fields_set == {"free"}


def test_none_goes_out_as_absent() -> None:
    assert "free" not in WIRE.to_json(Axis())


def test_int64_goes_out_as_text_to_keep_its_digits() -> None:
    assert WIRE.to_json(Axis(big=2**53 + 1))["big"] == "9007199254740993"
    assert WIRE.from_json({"big": 2**53 + 1}).big == WIRE.from_json({"big": "9007199254740993"}).big == 2**53 + 1


@pytest.mark.parametrize(
    ("spelled", "paths"),
    [("name,startedAt", ["name", "startedAt"]), ("name", ["name"]), ("", []), (["a", "b"], ["a", "b"])],
)
def test_field_paths_may_be_spelled_as_a_field_mask(spelled: Any, paths: list[str]) -> None:
    assert WIRE.from_json({"updateMask": spelled}).update_mask == paths
    assert WIRE.to_json(Axis(update_mask=paths))["updateMask"] == paths


def test_a_plain_list_of_texts_may_not() -> None:
    wire = Wire(create_model("Model", tags=(list[str], [])))
    assert [str(item) for item in wire.refusals({"tags": "a,b"})] == ["tags must be a list"]


def test_field_paths_are_texts() -> None:
    assert [str(item) for item in WIRE.refusals({"updateMask": [1]})] == ["update_mask[0] must be a text"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty; send {}"),
        (b"{", "not valid JSON"),
        (b'{"axis1": 1} x', "not valid JSON"),
        (b'{"startedAt": NaN}', "not valid JSON"),
        (b'{"plcID": "\xff"}', "not valid JSON"),
        (b'{"plcID": "\\ud800"}', "not valid JSON"),
        (b'{"axis1": 1, "axis1": 2}', "same name twice"),
        (b'{"free": {"a": 1, "\\u0061": 2}}', "same name twice"),
        (b'{"free": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"free": ' + b'{"a":' * 150 + b"1" + b"}" * 151, "must not be nested deeper"),
        (b"null", "must be an object"),
        (b'"a:b"', "must be an object"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(ConnectError, match=said) as caught:
        WIRE.from_json(body)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_colons_in_texts_are_no_names() -> None:
    assert WIRE.from_json(b'{"plcID": "a:b:c"}').plcID == "a:b:c"


def test_a_message_of_messages_ends_somewhere() -> None:
    class Node(BaseModel):
        node: Node | None = None

    Node.model_rebuild()
    wire = Wire(Node)
    with pytest.raises(ConnectError) as caught:
        wire.from_json(b'{"node":' * 5000 + b"null" + b"}" * 5000)
    assert caught.value.code is Code.INVALID_ARGUMENT
