"""Who has a transaction open on the thread that asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from storage.dialects.open_transactions import OpenTransactions
from storage.owner import current_owner


@pytest.fixture
def connections() -> Iterator[tuple[Connection, Connection]]:
    engine = create_engine("sqlite://", poolclass=NullPool)
    with engine.connect() as one, engine.connect() as other:
        yield one, other


def test_those_of_this_thread_are_told_until_they_end(connections: tuple[Connection, Connection]) -> None:
    opened = OpenTransactions()
    for connection in connections:
        opened.add(connection)
    assert len(opened.of_this_thread()) == 2
    for connection in (*connections, *connections):
        opened.remove(connection)
    assert opened.of_this_thread() == []


def test_those_of_other_threads_are_not(connections: tuple[Connection, Connection]) -> None:
    opened = OpenTransactions()
    worker = threading.Thread(target=opened.add, args=connections[:1])
    worker.start()
    worker.join()
    assert opened.of_this_thread() == []


async def test_other_tasks_come_before_the_one_that_asks(connections: tuple[Connection, Connection]) -> None:
    opened = OpenTransactions()
    opened.add(connections[0])

    async def add() -> None:
        opened.add(connections[1])

    await asyncio.create_task(add(), name="another")
    first, last = opened.of_this_thread()
    assert "another" in str(first)
    assert last.same(current_owner())
