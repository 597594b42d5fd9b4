"""The client's codec: knows messages from their descriptors only."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest
from connectrpc.code import Code
from pydantic import BaseModel

from communication.codec import ClientCodec, ProtoCodec
from communication.contract.contract import Contract, Outgoing
from communication.contract.markers import Int64
from communication.errors import RpcError
from tests.unit.communication.building import contract_of


class State(Enum):
    idle = 1
    running = 2


class Part(BaseModel):
    name: str


class Job(BaseModel):
    name: str
    state: State
    started_at: datetime | None = None
    took: timedelta | None = None
    data: bytes = b""
    big: Int64 = 0
    price: Decimal | None = None
    day: date | None = None
    parts: list[Part] = []
    main: Part | None = None
    free: dict[str, Any] | None = None


SERVER = contract_of(Job, Job)
CONTRACT = Contract.from_descriptor_set(SERVER.descriptor_set)
CODEC = ClientCodec(CONTRACT)
REQUEST = CONTRACT.rpcs[0].request
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def sent(value: Any) -> Any:
    """What the server gets."""
    data = CODEC.encode(Outgoing(type=REQUEST, value=value))
    return ProtoCodec(SERVER).decode(data, SERVER.rpcs[0].request)


def received(value: Any) -> Any:
    """What the client gets."""
    data = ProtoCodec(SERVER).encode(SERVER.rpcs[0].outgoing(value))
    return CODEC.decode(data, CONTRACT.rpcs[0].response)


def test_a_response_is_a_namespace_of_python_values() -> None:
    job = Job(
        name="a",
        state=State.running,
        started_at=NOON,
        took=timedelta(seconds=1.5),
        data=b"\xff",
        big=2**60,
        price=Decimal("1.50"),
        parts=[Part(name="b")],
        free={"a": [1]},
    )
    assert received(job) == SimpleNamespace(
        name="a",
        state="RUNNING",
        started_at=NOON,
        took=timedelta(seconds=1.5),
        data=b"\xff",
        big=2**60,
        price="1.50",
        day=None,
        parts=[SimpleNamespace(name="b")],
        main=None,
        free={"a": [1]},
    )


@pytest.mark.parametrize("state", ["RUNNING", "running", "STATE_RUNNING", State.running])
def test_a_request_is_a_mapping_of_python_values(state: Any) -> None:
    job = sent(
        {
            "name": "a",
            "state": state,
            "price": Decimal("1.50"),
            "day": date(2024, 2, 29),
            "parts": [{"name": "b"}, SimpleNamespace(name="c")],
        }
    )
    assert job == Job(
        name="a",
        state=State.running,
        price=Decimal("1.50"),
        day=date(2024, 2, 29),
        parts=[Part(name="b"), Part(name="c")],
    )


def test_what_came_can_be_sent_back() -> None:
    job = Job(name="a", state=State.idle, started_at=NOON, main=Part(name=""))
    assert sent(received(job)) == job


def test_none_leaves_a_field_out_but_is_null_in_free_json() -> None:
    job = sent({"name": "a", "state": "IDLE", "took": None, "parts": None, "free": None})
    assert "took" not in job.model_fields_set
    assert "free" in job.model_fields_set


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"nam": "a"}, "nam"),
        ({"name": 5}, "name"),
        ({"state": "BROKEN"}, "state"),
        ({"started_at": datetime(2024, 1, 1)}, "started_at"),  # noqa: DTZ001 - the naive one is the point
        ({"big": 2**63}, "big"),
        ({"parts": [{"name": "a"}, {"nam": "b"}]}, "parts[1].nam"),
        ({"free": {"a": 2**53}}, "free.a"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_before_it_is_sent(value: Any, field: str) -> None:
    with pytest.raises(RpcError) as caught:
        CODEC.encode(Outgoing(type=REQUEST, value=value))
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert [item.field for item in caught.value.violations] == [field]


@pytest.mark.parametrize("data", [b"\xff", b"\x10\x07"], ids=["garbage", "unknown enum value"])
def test_a_response_that_cannot_be_read_is_an_error_of_the_server(data: bytes) -> None:
    with pytest.raises(RpcError, match="the server sent a response that cannot be read") as caught:
        CODEC.decode(data, CONTRACT.rpcs[0].response)
    assert caught.value.code is Code.INTERNAL
