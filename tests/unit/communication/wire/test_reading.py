"""Messages read, apart from what becomes of them."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from communication.wire.reading import JsonMessageReader, fill_namespace, fill_required, make_readers
from communication.wire.refusal import Refused
from tests.unit.communication.building import contract_of


class State(Enum):
    on = 1


class Job(BaseModel):
    name: str
    tags: list[str]
    state: State
    part: Job | None = None
    size: int = 0


CONTRACT = contract_of(Job)


def read(content: Any, finish: Any) -> Any:
    return make_readers(CONTRACT, JsonMessageReader, finish)["DoRequest"].read(content)


def test_only_what_python_requires_and_absence_means_is_filled_in() -> None:
    assert read({}, fill_required) == {"name": "", "tags": []}
    assert read({"part": {}}, fill_required)["part"] == {"name": "", "tags": []}


def test_what_is_filled_in_is_not_shared() -> None:
    readers = make_readers(CONTRACT, JsonMessageReader, fill_required)
    first, second = (readers["DoRequest"].read({})["tags"] for _ in range(2))
    assert first is not second


def test_a_namespace_has_every_field() -> None:
    inner = SimpleNamespace(name="a", tags=[], state=None, part=None, size=0)
    expected = SimpleNamespace(name="", tags=[], state=State.on, part=inner, size=3)
    assert read({"part": {"name": "a"}, "state": "STATE_ON", "size": 3}, fill_namespace) == expected


def test_all_that_is_wrong_is_collected_with_its_path() -> None:
    with pytest.raises(Refused) as caught:
        read({"name": 1, "part": {"tags": ["a", 2], "x": 1}, "state": "OFF"}, fill_required)
    assert [violation.field for violation in caught.value.violations] == ["name", "part.tags[1]", "part.x", "state"]
