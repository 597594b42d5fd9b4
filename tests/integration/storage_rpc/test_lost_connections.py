"""What a caller is told while PostgreSQL goes away, and that the service goes on by itself."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.integration.storage_rpc.cell import Cell
from tests.integration.storage_rpc.models import Person
from tests.postgresql import PostgreSQL


@pytest.fixture
def url(postgresql_database: str) -> str:
    return make_url(postgresql_database).update_query_dict({"application_name": "tested"}).render_as_string(False)


async def test_a_write_that_is_cut_off_is_unavailable_and_the_next_one_is_not(
    cell: Cell, postgresql_server: PostgreSQL
) -> None:
    losing = True

    @cell.people.after_insert()
    def lose(session: Any, instance: Person) -> None:
        if losing:
            postgresql_server.end_connections()

    answer = await cell.call("PeopleCreateRecord", {"record": {"name": "Ada"}})
    assert answer.error == (503, "unavailable")
    losing = False
    assert (await cell.call("PeopleListRecords")).body["records"] == []
    assert (await cell.call("PeopleCreateRecord", {"record": {"name": "Ada"}})).status == 200
    assert len(cell.trail("people")) == 1


async def test_connections_that_end_while_idle_are_no_callers_business(
    cell: Cell, postgresql_server: PostgreSQL
) -> None:
    await cell.call("PeopleCreateRecord", {"record": {"name": "Ada"}})
    for rpc, body in (
        ("PeopleGetRecord", {"recordId": 1}),
        ("PeopleUpdateRecord", {"recordId": 1, "record": {"name": "Eve"}}),
        ("DatabaseReadAudit", {}),
        ("DatabaseHealth", {}),
        ("PeopleDeleteRecord", {"recordId": 1}),
    ):
        postgresql_server.end_connections()
        assert (await cell.call(rpc, body)).status == 200, rpc


async def test_two_that_lock_in_opposite_order(cell: Cell) -> None:
    """The one that the server undoes is told to try again."""
    met = threading.Barrier(2)
    for name in ("Ada", "Bob"):
        await cell.call("PeopleCreateRecord", {"record": {"name": name}})

    @cell.people.after_update()
    def write_the_other(session: Any, instance: Person) -> None:
        if instance.trips == 1:
            met.wait(20)
            cell.people.update(3 - (instance.id or 0), {"trips": 2})

    async with asyncio.TaskGroup() as group:
        calls = [
            group.create_task(cell.call("PeopleUpdateRecord", {"recordId": key, "record": {"trips": 1}}))
            for key in (1, 2)
        ]
    answers = sorted((call.result() for call in calls), key=lambda answer: answer.status)
    assert [answer.status for answer in answers] == [200, 503]
    assert answers[1].body["code"] == "unavailable"
