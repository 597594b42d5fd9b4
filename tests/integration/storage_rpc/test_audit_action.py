"""DatabaseReadAudit as a caller sees it, in JSON, in protobuf and by the project's own client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from communication.client import ConnectClient
from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import transaction
from tests.integration.storage_rpc.cell import Caller, Cell
from tests.integration.storage_rpc.models import Meter, Person, Sample


async def ids(call: Caller, **request: Any) -> list[int]:
    answer = await call("DatabaseReadAudit", request)
    assert answer.status == 200, answer.body
    return [int(entry["id"]) for entry in answer.body["entries"]]


async def test_an_entry_has_everything(cell: Cell) -> None:
    await cell.call("PeopleCreateRecord", {"record": {"name": "Ada"}, "actor": "ana"})
    await cell.call("PeopleUpdateRecord", {"recordId": 1, "record": {"name": "Eve"}}, x_user="ben")

    answer = await cell.call("Database_ReadAudit", {"component": "people"})

    updated, created = answer.body["entries"]
    moment = updated.pop("timestamp")
    assert datetime.now(UTC) - datetime.fromisoformat(moment) < timedelta(minutes=1)
    before = {"id": 1, "name": "Ada", "badge": None, "level": 1, "trips": 0, "greeting": "hello", "deleted_at": None}
    assert updated == {
        "id": "2",
        "component": "people",
        "recordId": "1",
        "recordKey": "1",
        "operation": "update",
        "actor": "ben",
        "before": before,
        "after": {**before, "name": "Eve"},
        "changed": ["name"],
    }
    assert "before" not in created
    assert created["after"] == before


async def test_filters(cell: Cell) -> None:
    cell.people.insert(Person(name="Ada"), actor="ana")
    cell.people.insert(Person(name="Bob"), actor="ben")
    cell.people.delete(1, actor="ben")
    cell.meters.insert(Meter(id=2**40), actor="ana")
    middle = cell.trail("people")[1].timestamp.isoformat()

    assert await ids(cell.call) == [4, 3, 2, 1]
    assert await ids(cell.call, component="people") == [3, 2, 1]
    assert await ids(cell.call, recordId=1) == [3, 1]
    assert await ids(cell.call, recordId=str(2**40)) == [4]
    assert await ids(cell.call, record_key="2") == [2]
    assert await ids(cell.call, actor="ben") == [3, 2]
    assert await ids(cell.call, operation="soft_delete") == [3]
    assert await ids(cell.call, since=middle, component="people") == [3, 2]
    assert await ids(cell.call, until=middle) == [1]
    assert await ids(cell.call, limit=1, offset=2) == [2]
    assert await ids(cell.call, component="errands") == []  # served, and nothing written yet
    assert await ids(cell.call, component="database") == []
    assert await ids(cell.call, component="people", actor="nobody") == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"since": "today"}, "since"),
        ({"operation": "insert"}, "operation"),
        ({"operation": ""}, "operation"),
        ({"component": "peple"}, "component"),
        ({"component": "people\0"}, "component"),
        ({"component": ""}, "component"),
    ],
)
async def test_what_cannot_be_asked(call: Caller, request_: dict[str, Any], field: str) -> None:
    answer = await call("DatabaseReadAudit", request_)
    assert answer.error == (400, "invalid_argument")
    assert set(answer.violations) == {field}
    assert "AuditLog" not in answer.body["message"]


async def test_what_can_be_asked_is_named(cell: Cell) -> None:
    answer = await cell.call("DatabaseReadAudit", {"operation": "insert"})
    names = "create, update, delete, soft_delete, restore, backup"
    assert answer.body["message"] == f"the request is invalid: operation must be one of {names}"
    answer = await cell.call("DatabaseReadAudit", {"component": "peple"})
    assert "of: database, errands, " in answer.violations["component"]


async def test_a_component_of_an_older_version_of_the_app_is_found(cell: Cell) -> None:
    ModelAccessor(Person, "staff").insert(Person(name="Ada"))
    assert await ids(cell.call, component="staff") == [1]
    assert await ids(cell.call, component="staff", actor="nobody") == []


async def test_numbers_that_a_double_cannot_hold_are_texts(cell: Cell) -> None:
    cell.meters.insert(Meter(total=2**53 - 1))
    cell.meters.insert(Meter(total=2**53))
    cell.meters.insert(Meter(total=-(2**63)))
    answer = await cell.call("DatabaseReadAudit", {})
    totals = [entry["after"]["total"] for entry in answer.body["entries"]]
    assert totals == [str(-(2**63)), str(2**53), 2**53 - 1]
    in_protobuf = await cell.call.proto("DatabaseReadAudit", b"")
    fields = in_protobuf.entries[0].after.struct_value.fields
    assert fields["total"].string_value == str(-(2**63))


async def test_a_value_nested_deeper_than_the_wire_goes_is_a_text(cell: Cell) -> None:
    deep: Any = 1
    for _ in range(30):
        deep = [deep]
    cell.samples.insert(Sample(anything=deep))
    answer = await cell.call("DatabaseReadAudit", {})
    value, depth = answer.body["entries"][0]["after"]["anything"], 0
    while isinstance(value, list):
        (value,), depth = value, depth + 1
    assert value == "[" * (30 - depth) + "1" + "]" * (30 - depth)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # PostgreSQL has no NaN in JSON, and no older versions
async def test_what_older_versions_wrote_does_not_stop_it(cell: Cell) -> None:
    with transaction() as session:
        odd = {"speed": float("nan"), "id": 2**70}
        session.connection().exec_driver_sql(
            "INSERT INTO auditlog (timestamp, component, record_key, operation, actor, after)"
            " VALUES ('2025-01-01 00:00:00', 'old', 'x', 'create', 'me',"
            ' \'{"speed": NaN, "id": 1180591620717411303424}\')'
        )
    answer = await cell.call("DatabaseReadAudit", {"component": "old"})
    assert answer.body["entries"][0]["after"] == {"speed": str(odd["speed"]), "id": str(odd["id"])}


async def test_the_client_of_the_project(cell: Cell) -> None:
    cell.people.insert(Person(name="Ada"), actor="ana")
    async with ConnectClient(cell.url) as client:
        since = datetime.now(UTC) - timedelta(minutes=1)
        (entry,) = (await client.call("DatabaseReadAudit", {"actor": "ana", "since": since})).entries
    assert (entry.id, entry.record_id, entry.before, entry.after["name"]) == (1, 1, None, "Ada")
    (stored,) = cell.trail("people")
    assert isinstance(stored, AuditLog)
    assert entry.timestamp == stored.timestamp
