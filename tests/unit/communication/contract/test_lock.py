"""Numbers never change: the lock file."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import create_model

from communication.contract.contract import Contract
from communication.contract.lock import Lock, Slot
from communication.contract.markers import Int64
from communication.entries import ActionEntry
from communication.errors import ContractError
from tests.unit.communication.contract.buf import Buf


def contract(lock: Lock | None = None, *, states: tuple[str, ...] = ("IDLE", "BUSY"), **fields: Any) -> Contract:
    """A contract around a record of these fields, each of them required, and an enum of these states."""
    state: Any = Enum("State", states)  # type: ignore[misc]  # made anew for each contract
    attributes: dict[str, Any] = {name: (kind, ...) for name, kind in {"state": state, **fields}.items()}
    record = create_model("Record", **attributes)
    request = create_model("Request", record=(record, ...))
    return Contract.build("test", [ActionEntry("Save", print, request)], (), lock)


def numbers(built: Contract) -> dict[str, int]:
    return {field.name: field.number for field in built.messages["Record"].fields}


def labels(built: Contract) -> dict[str, int]:
    return {value.label: value.number for value in built.enums["State"].values}


def test_without_a_lock_the_order_of_declaration_counts() -> None:
    assert numbers(contract(a=int, b=str)) == {"state": 1, "a": 2, "b": 3}
    assert labels(contract()) == {"STATE_UNSPECIFIED": 0, "STATE_IDLE": 1, "STATE_BUSY": 2}


def test_a_field_added_in_the_middle_moves_no_other() -> None:
    first = contract(a=int, b=str)
    second = contract(first.lock, a=int, new=bool, b=str)
    assert numbers(second) == {"state": 1, "a": 2, "new": 4, "b": 3}
    assert numbers(contract(second.lock, b=str, new=bool, a=int)) == {"state": 1, "a": 2, "b": 3, "new": 4}


def test_a_removed_field_leaves_its_number_and_name_reserved() -> None:
    second = contract(contract(a=int, b=str).lock, b=str, c=int)
    record = second.messages["Record"]
    assert record.reserved == (("a", 2),)
    assert numbers(second) == {"state": 1, "b": 3, "c": 4}


def test_a_field_that_comes_back_gets_its_number_back() -> None:
    without = contract(contract(a=int, b=str).lock, b=str)
    back = contract(without.lock, b=str, a=int)
    assert numbers(back) == {"state": 1, "b": 3, "a": 2}
    assert back.messages["Record"].reserved == ()


def test_enum_values_keep_their_numbers_too() -> None:
    first = contract(states=("IDLE", "BUSY"))
    second = contract(first.lock, states=("BROKEN", "BUSY"))
    assert labels(second) == {"STATE_UNSPECIFIED": 0, "STATE_BROKEN": 3, "STATE_BUSY": 2}
    assert second.enums["State"].reserved == (("STATE_IDLE", 1),)


def test_a_message_that_is_gone_for_a_while_keeps_its_numbers() -> None:
    first = contract(a=int, b=str)
    meanwhile = Contract.build("test", [], (), first.lock)
    assert numbers(contract(meanwhile.lock, b=str, a=int)) == {"state": 1, "b": 3, "a": 2}


@pytest.mark.parametrize("other", [Int64, str, float, list[int]])
def test_another_type_under_a_known_name_is_refused_with_the_way_out(other: Any) -> None:
    first = contract(a=int)
    with pytest.raises(ContractError, match=r"Record\.a is int32 in the lock file and .* in the code; give the"):
        contract(first.lock, a=other)
    without = contract(first.lock)
    with pytest.raises(ContractError, match=r"Record\.a is int32"):
        contract(without.lock, a=other)


def test_none_or_a_default_changes_no_number() -> None:
    first = contract(a=int)
    assert numbers(contract(first.lock, a=int | None)) == {"state": 1, "a": 2}


def test_the_numbers_that_protobuf_keeps_for_itself_are_left_out() -> None:
    lock = Lock(messages={"Record": {"old": Slot(number=18_999, type="int32")}})
    assert numbers(contract(lock, a=int)) == {"state": 20_000, "a": 20_001}


def test_buf_finds_nothing_broken_after_adding_removing_and_returning(buf: Buf) -> None:
    first = contract(a=int, b=str, c=float)
    middle = contract(first.lock, a=int, new=bool, b=str, c=float)
    removed = contract(middle.lock, states=("STARTING", "BUSY"), c=float, b=str, newer=bytes)
    for number, (old, new) in enumerate([(first, middle), (middle, removed)]):
        module = buf.module(f"new{number}", new)
        assert buf.run("breaking", module, "--against", buf.image(f"old{number}", old)) == ""


def test_buf_would_find_what_happens_without_a_lock(buf: Buf) -> None:
    module = buf.module("new", contract(new=bool, a=int, b=str))
    assert 'Field "2"' in buf.run("breaking", module, "--against", buf.image("old", contract(a=int, b=str)))


def test_the_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "app.proto.lock"
    lock = contract(contract(a=int, b=str, old=list[bytes]).lock, states=("BUSY",), b=str, a=int).lock
    lock.write(path)
    assert Lock.read(path) == lock
    assert [item.name for item in tmp_path.iterdir()] == ["app.proto.lock"]


def test_the_file_is_sorted_and_has_a_line_for_each_number() -> None:
    text = contract(contract(b=str, a=int, old=list[bytes]).lock, a=int, b=str).lock.to_json()
    assert list(json.loads(text)["messages"]) == ["Record", "SaveRequest", "SaveResponse"]
    assert json.loads(text)["messages"]["Record"] == {
        "fields": {"state": "State = 1", "b": "string = 2", "a": "int32 = 3"},
        "removed": {"old": "repeated bytes = 4"},
    }
    assert '        "a": "int32 = 3"\n' in text
    assert text == contract(contract(b=str, a=int, old=list[bytes]).lock, a=int, b=str).lock.to_json()


def test_a_file_that_says_the_same_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "app.proto.lock"
    lock = contract(a=int).lock
    lock.write(path)
    before = path.stat()
    lock.write(path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_no_file_is_no_lock(tmp_path: Path) -> None:
    assert Lock.read(tmp_path / "app.proto.lock") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "messages": {}, "enums": {}}',
        '{"version": 1, "messages": {"A": {"fields": {"a": "int32"}}}, "enums": {}}',
        '{"version": 1, "messages": {"A": {"fields": {"a": "int32 = 1", "b": "int32 = 1"}}}, "enums": {}}',
        '{"version": 1, "messages": {"A": {"fields": {"a": 1}}}, "enums": {}}',
        '{"version": 1, "messages": {"A": {"fields": {"a": "int32 = 0"}}}, "enums": {}}',
    ],
)
def test_a_file_that_is_no_lock_is_refused_not_ignored(tmp_path: Path, text: str) -> None:
    path = tmp_path / "app.proto.lock"
    path.write_text(text)
    with pytest.raises(ContractError, match=r"the lock file app\.proto\.lock cannot be read; take it from"):
        Lock.read(path)
