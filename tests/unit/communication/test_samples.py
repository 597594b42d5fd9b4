from __future__ import annotations

import json
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

from pydantic import BaseModel, Field

from communication.codec import JsonCodec
from communication.contract.markers import ExpectedMarker
from communication.samples import sample_body
from tests.unit.communication.building import contract_of


class Gear(Enum):
    low = "low"
    high = "high"


class Axis(BaseModel):
    name: str = Field(examples=["x1"])
    gear: Gear
    speed: float = 1.0
    children: list[Axis] = []


class Move(BaseModel):
    axis: Axis
    at: datetime
    steps: list[int]
    note: str | None = None
    comment: Annotated[str | None, ExpectedMarker()] = None
    tag: str = Field(default="", examples=["night shift"])


def body_of(model: Any) -> dict[str, Any]:
    contract = contract_of(model)
    return sample_body(contract, contract.rpcs[0].request)


def test_a_sample_has_what_is_required_expected_or_has_an_example_and_nothing_else() -> None:
    assert body_of(Move) == {
        "axis": {"name": "x1", "gear": "GEAR_HIGH"},
        "at": "2026-01-31T12:00:00Z",
        "steps": [1],
        "comment": "text",
        "tag": "night shift",
    }


def test_a_sample_is_a_request_that_the_codec_takes() -> None:
    contract = contract_of(Move)
    codec = JsonCodec(contract)
    body = json.dumps(sample_body(contract, contract.rpcs[0].request)).encode()
    assert codec.decode(body, contract.rpcs[0].request).axis.name == "x1"


class Node(BaseModel):
    label: str
    next: Node | None = None
    twin: Annotated[Node | None, ExpectedMarker()] = None


def test_a_message_that_holds_itself_comes_to_an_end() -> None:
    assert body_of(Node) == {"label": "text", "twin": {"label": "text", "twin": {"label": "text"}}}
