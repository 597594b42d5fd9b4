"""protobuf on the wire, compared with what Google's library makes of it."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from google.protobuf.json_format import MessageToDict, ParseDict
from pydantic import BaseModel

from communication.contract.descriptors import message_classes
from tests.unit.communication.building import Wire


class State(Enum):
    idle = 1
    running = 2


class Job(BaseModel):
    name: str
    state: State
    count: int | None = None
    history: list[State] = []
    free: Any = None


WIRE = Wire(Job)
MESSAGE = message_classes(WIRE.contract.descriptor_set)["vention.app.v1.DoRequest"]
JOB = Job(name="größe\0", state=State.running, count=0, history=[State.idle], free={"a": [1, 1.5, None, True, "b", {}]})
SPELLED = {
    "name": "größe\0",
    "state": "STATE_RUNNING",
    "count": 0,
    "history": ["STATE_IDLE"],
    "free": {"a": [1.0, 1.5, None, True, "b", {}]},
}


def test_googles_library_reads_what_we_write() -> None:
    data = WIRE.encode(WIRE.proto, JOB)
    assert MessageToDict(MESSAGE.FromString(data)) == SPELLED


def test_we_read_what_googles_library_writes() -> None:
    data = ParseDict(SPELLED, MESSAGE()).SerializeToString()
    assert WIRE.decode(WIRE.proto, data) == JOB
    assert WIRE.decode(WIRE.proto, bytearray(data)) == JOB  # type: ignore[arg-type]  # connectrpc hands over either


def test_both_json_codecs_agree() -> None:
    assert WIRE.to_json(JOB) == SPELLED


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x02a", b"\x0a\x01\xff"], ids=["garbage", "cut off", "not UTF-8"])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ConnectError, match="the body is no DoRequest in protobuf form") as caught:
        WIRE.decode(WIRE.proto, data)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_fields_from_the_future_are_passed_over() -> None:
    data = WIRE.encode(WIRE.proto, JOB) + b"\xa0\x06\x01"
    assert WIRE.decode(WIRE.proto, data) == JOB


@pytest.mark.parametrize("number", [0, 3, -1])
def test_an_enum_value_that_is_unknown_or_unspecified_is_refused(number: int) -> None:
    data = MESSAGE(name="a", state=1, history=[number]).SerializeToString()
    with pytest.raises(ConnectError, match=r"history\[0\] must be one of STATE_IDLE, STATE_RUNNING"):
        WIRE.decode(WIRE.proto, data)
