"""Messages written: what stands for a field that is not there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from communication.contract.contract import Contract
from communication.wire.refusal import Refused
from communication.wire.writing import make_json_writers, make_proto_writers
from tests.unit.communication.building import contract_of


class Job(BaseModel):
    name: str
    size: int = 0
    retries: int = 3
    note: str | None = None
    free: Any = None
    maybe: dict[str, Any] | None = None
    tags: list[str] = []


CONTRACT = contract_of(Job)
AS_CLIENT = Contract.from_descriptor_set(CONTRACT.descriptor_set)


def write(value: Any) -> Any:
    return make_json_writers(CONTRACT)["DoRequest"].write(value)


def test_zero_is_written_where_absent_means_zero() -> None:
    assert write({"name": "a"}) == {"name": "a", "size": 0, "tags": []}


def test_none_is_absent_but_null_where_anything_may_stand() -> None:
    assert write({"name": "a", "free": None, "maybe": None, "note": None}) == {
        "name": "a",
        "size": 0,
        "free": None,
        "tags": [],
    }


def test_missing_attributes_are_as_missing_keys() -> None:
    assert write(SimpleNamespace(name="a", retries=1)) == write({"name": "a", "retries": 1})


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"size": 1}, "name is required"),
        ({"name": "a", "retries": None}, "retries must not be None"),
        ({"name": "a", "sise": 1, "x": 2}, "sise is not a field of DoRequest, x is not a field of DoRequest"),
        ({"name": 1, "tags": [1]}, r"name must be a text, tags\[0\] must be a text"),
        (object(), "must be a DoRequest"),
    ],
)
def test_what_does_not_fit_is_refused(value: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        write(value)


def test_a_client_need_give_no_more_than_it_has() -> None:
    writer = make_proto_writers(AS_CLIENT)["DoRequest"]
    assert writer.write({}).SerializeToString() == b""
    assert writer.write({"name": None, "tags": None}).SerializeToString() == b""
    assert [field.name for field, _ in writer.write({"free": None}).ListFields()] == ["free"]
