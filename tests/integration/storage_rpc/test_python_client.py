"""The project's own client on records, as the documentation uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from connectrpc.code import Code

from communication.client import ConnectClient
from communication.errors import FieldViolation, RpcError
from tests.integration.storage_rpc.cell import Cell
from tests.integration.storage_rpc.models import Gripper, Person, Sample, Shift


@pytest.fixture
async def client(cell: Cell) -> AsyncIterator[ConnectClient]:
    async with ConnectClient(cell.url, headers={"X-User": "ada"}) as connected:
        yield connected


async def test_the_life_of_a_record(cell: Cell, client: ConnectClient) -> None:
    created = (await client.call("PeopleCreateRecord", {"record": {"name": "Ada"}, "actor": "operator"})).record
    assert (created.id, created.name, created.badge, created.level, created.deleted_at) == (1, "Ada", None, 1, None)
    got = await client.call("PeopleGetRecord", {"record_id": 1, "include_deleted": False})
    assert got.record == created
    updated = await client.call("PeopleUpdateRecord", {"record_id": 1, "record": {"name": "Eve", "level": 0}})
    assert (updated.record.name, updated.record.level, updated.record.greeting) == ("Eve", 0, "hello")
    masked = {"record_id": 1, "record": {}, "update_mask": ["greeting"]}
    assert (await client.call("PeopleUpdateRecord", masked)).record.greeting is None
    assert (await client.call("PeopleDeleteRecord", {"record_id": 1})).status == "deleted"
    assert (await client.call("PeopleListRecords")).records == []
    (deleted,) = (await client.call("PeopleListRecords", {"include_deleted": True})).records
    assert datetime.now(UTC) - deleted.deleted_at < timedelta(minutes=1)
    restored = (await client.call("PeopleRestoreRecord", {"record_id": 1})).record
    assert restored.deleted_at is None
    assert [entry.actor for entry in cell.trail("people")] == ["operator", "ada", "ada", "ada", "ada"]


async def test_values_arrive_as_what_they_are(client: ConnectClient) -> None:
    sent: dict[str, Any] = {
        "big": 2**60,
        "data": b"\xff\0",
        "price": Decimal("12.500"),
        "at": datetime(2024, 2, 29, tzinfo=UTC),
        "span": timedelta(seconds=1.5),
        "token": UUID(int=5),
        "shift": Shift.late_night,
        "settings": {"axes": [1, 2.5, None]},
        "gripper": Gripper(vacuum=True, note="x"),
    }
    record = (await client.call("SamplesCreateRecord", {"record": Sample(**sent)})).record
    assert (record.big, record.data, record.at, record.span) == (2**60, b"\xff\0", sent["at"], sent["span"])
    assert (record.price, record.token, record.shift) == ("12.500", str(UUID(int=5)), "LATE_NIGHT")
    assert record.settings == sent["settings"]
    assert (record.gripper.vacuum, record.gripper.force, record.gripper.note) == (True, 1.5, "x")


async def test_older_names(client: ConnectClient) -> None:
    await client.call("People_CreateRecord", {"record": {"name": "Ada"}})
    assert (await client.call("People_ListRecords", {})).records[0].name == "Ada"
    assert (await client.call("Test_fixtures_ListRecords")).records == []


async def test_pages(client: ConnectClient) -> None:
    for name in "abc":
        await client.call("PeopleCreateRecord", {"record": Person(name=name)})
    first = await client.call("PeopleListRecords", {"page_size": 2})
    second = await client.call("PeopleListRecords", {"page_size": 2, "page_token": first.next_page_token})
    found = [record.name for page in (first, second) for record in page.records]
    assert (found, second.next_page_token) == ([*"abc"], "")


async def test_errors_have_a_code_and_name_the_fields(client: ConnectClient) -> None:
    async def refusal(name: str, request: Any) -> RpcError:
        with pytest.raises(RpcError) as caught:
            await client.call(name, request)
        return caught.value

    assert (await refusal("PeopleGetRecord", {"record_id": 9})).code is Code.NOT_FOUND
    missing = await refusal("PeopleCreateRecord", {"record": {}})
    assert missing.code is Code.INVALID_ARGUMENT
    assert missing.violations == (FieldViolation(field="record.name", description="is required"),)
    await client.call("PeopleCreateRecord", {"record": {"name": "Ada", "badge": "A1"}})
    taken = await refusal("PeopleCreateRecord", {"record": {"name": "Eve", "badge": "A1"}})
    assert taken.code is Code.ALREADY_EXISTS
    assert [violation.field for violation in taken.violations] == ["record.badge"]
    assert (await refusal("ErrandsRestoreRecord", {"record_id": 1})).code is Code.FAILED_PRECONDITION
    assert (await refusal("PeopleDropRecord", {})).code is Code.UNIMPLEMENTED


async def test_many_calls_at_once(cell: Cell, client: ConnectClient) -> None:
    async def life(number: int) -> None:
        key = (await client.call("PeopleCreateRecord", {"record": {"name": f"p{number}"}})).record.id
        record = (await client.call("PeopleUpdateRecord", {"record_id": key, "record": {"trips": number + 1}})).record
        assert (record.id, record.name, record.trips) == (key, f"p{number}", number + 1)
        if number % 2:
            await client.call("PeopleDeleteRecord", {"record_id": key})

    await asyncio.gather(*(life(number) for number in range(40)))
    assert sorted(person.trips for person in cell.people.all()) == list(range(1, 41, 2))
    assert len(cell.trail("people")) == 100
