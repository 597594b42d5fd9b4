"""transaction(): who joins it, who does not, and who decides."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, event
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from storage.accessor import ModelAccessor
from storage.database import get_engine, in_thread, transaction, use_session
from storage.errors import DatabaseBusy, DuplicateRecord, WriteWouldDeadlock
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Recipe

sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


class OopsError(Exception):
    """What the tests raise inside a transaction."""


def codes(bins: ModelAccessor[Bin]) -> list[str]:
    return [found.code for found in bins.all()]


@pytest.fixture
def savepoints(engine: Engine) -> Iterator[list[str]]:
    """The savepoints that are open, the innermost last, where one connection writes."""
    names: list[str] = []

    def follow(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        *verb, name = statement.split()
        if verb == ["SAVEPOINT"]:
            names.append(name)
        elif verb == ["ROLLBACK", "TO", "SAVEPOINT"]:
            del names[names.index(name) + 1 :]
        elif verb == ["RELEASE", "SAVEPOINT"]:
            del names[names.index(name) :]

    event.listen(engine, "after_cursor_execute", follow)
    yield names
    event.remove(engine, "after_cursor_execute", follow)


def test_everything_inside_is_committed_together(bins: ModelAccessor[Bin], recipes: ModelAccessor[Recipe]) -> None:
    with transaction() as session:
        bins.insert(Bin(code="A1"))
        recipes.insert(Recipe(name="a"))
        session.add(Bin(code="A2"))

    assert codes(bins) == ["A1", "A2"]
    assert len(recipes.all()) == 1


def test_everything_inside_is_rolled_back_together(bins: ModelAccessor[Bin], audit: Audit) -> None:
    stored = bins.insert(Bin(code="A0"))

    with pytest.raises(OopsError), transaction() as session:
        bins.insert_many([Bin(code="A1")])
        stored.capacity = 7
        bins.save(stored)
        bins.delete(stored.id)
        session.add(Bin(code="A2"))
        session.flush()
        raise OopsError

    assert [(found.code, found.capacity) for found in bins.all()] == [("A0", 0)]
    assert len(audit()) == 1


def test_nobody_else_sees_it_before_the_end(bins: ModelAccessor[Bin]) -> None:
    with ThreadPoolExecutor(1) as pool, transaction():
        bins.insert(Bin(code="A1"))
        assert codes(bins) == ["A1"]
        assert pool.submit(codes, bins).result(timeout=10) == []


def test_records_of_a_rolled_back_transaction_are_as_they_were(bins: ModelAccessor[Bin]) -> None:
    new, stored = Bin(code="A1"), bins.insert(Bin(code="A0"))
    stored.capacity = 7
    with pytest.raises(OopsError), transaction():
        bins.insert(new)
        bins.save(stored)
        raise OopsError
    assert new.id is None
    assert sa.inspect(new).transient

    taken = bins.insert(Bin(code="A9"))
    bins.insert(new)
    bins.save(stored)

    assert new.id != taken.id
    assert [(found.code, found.capacity) for found in bins.all()] == [("A0", 7), ("A9", 0), ("A1", 0)]


def test_an_inner_transaction_that_raises_is_undone_alone(bins: ModelAccessor[Bin], audit: Audit) -> None:
    with transaction():
        bins.insert(Bin(code="A1"))
        inner = Bin(code="A2")
        with pytest.raises(OopsError), transaction() as session:
            bins.insert(inner)
            session.add(Bin(code="A3"))
            raise OopsError
        assert inner.id is None
        bins.insert(Bin(code="A4"))

    assert codes(bins) == ["A1", "A4"]
    assert len(audit()) == 2


def test_the_outer_transaction_decides(bins: ModelAccessor[Bin]) -> None:
    with pytest.raises(OopsError), transaction():
        with transaction():
            bins.insert(Bin(code="A1"))
            with transaction():
                bins.insert(Bin(code="A2"))
        raise OopsError

    assert codes(bins) == []


def test_an_inner_transaction_is_the_same_session(bins: ModelAccessor[Bin]) -> None:
    with transaction() as outer, transaction() as inner, use_session() as used:
        assert outer is inner is used


def test_an_inner_transaction_that_breaks_a_constraint_is_undone_alone(bins: ModelAccessor[Bin]) -> None:
    with transaction():
        bins.insert(Bin(code="A1"))
        with pytest.raises(IntegrityError), transaction() as session:
            session.add(Bin(code="A1"))
            session.flush()
        with pytest.raises(DuplicateRecord), transaction() as session:
            session.add(Bin(code="A1"))
        bins.insert(Bin(code="A2"))

    assert codes(bins) == ["A1", "A2"]


def test_a_failed_accessor_call_is_undone_alone(bins: ModelAccessor[Bin]) -> None:
    with transaction():
        bins.insert(Bin(code="A1"))
        with pytest.raises(DuplicateRecord):
            bins.insert_many([Bin(code="A2"), Bin(code="A1")])
        bins.insert(Bin(code="A3"))

    assert codes(bins) == ["A1", "A3"]


def test_parts_that_fail_one_after_the_other_do_not_nest(bins: ModelAccessor[Bin], savepoints: list[str]) -> None:
    bins.insert(Bin(code="A1"))
    with transaction() as session:
        session.connection()
        outer = list(savepoints)
        with pytest.raises(DuplicateRecord):
            bins.insert(Bin(code="A1"))
        assert savepoints == outer
        with pytest.raises(OopsError), transaction():
            session.add(Bin(code="A2"))
            session.flush()
            inner = list(savepoints)
            assert len(inner) > len(outer)
            with pytest.raises(DuplicateRecord):
                bins.insert(Bin(code="A1"))
            assert savepoints == inner
            raise OopsError
        assert savepoints == outer
        with pytest.raises(DuplicateRecord), transaction():
            session.add(Bin(code="A1"))
        assert savepoints == outer
        with pytest.raises(OopsError), transaction():
            raise OopsError
        bins.insert(Bin(code="A3"))

    assert codes(bins) == ["A1", "A3"]


def test_parts_of_a_session_that_fail_one_after_the_other_do_not_nest(engine: Engine, savepoints: list[str]) -> None:
    with use_session() as session:
        session.connection()
        outer = list(savepoints)
        for _ in range(2):
            with pytest.raises(OopsError), transaction():
                session.connection()
                assert len(savepoints) == len(outer) + 1
                raise OopsError
            assert savepoints == outer


def test_the_session_is_told_in_our_terms_what_its_commit_breaks(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(code="A1"))

    with pytest.raises(DuplicateRecord), transaction() as session:
        session.add(Bin(code="A1"))


def test_committing_the_session_commits_nothing_yet(bins: ModelAccessor[Bin]) -> None:
    with pytest.raises(OopsError), transaction() as session:
        bins.insert(Bin(code="A1"))
        session.commit()
        bins.insert(Bin(code="A2"))
        raise OopsError

    assert codes(bins) == []


def test_rolling_the_session_back_undoes_what_was_done_so_far(bins: ModelAccessor[Bin]) -> None:
    with transaction() as session:
        bins.insert(Bin(code="A1"))
        session.rollback()
        bins.insert(Bin(code="A2"))

    assert codes(bins) == ["A2"]


def test_session_and_accessor_see_the_same(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(code="A0"))
    with transaction() as session:
        held = session.get(Bin, 1)
        assert held is not None
        held.capacity = 3
        record = bins.get(1)
        assert record is not None
        assert record.capacity == 3
        record.code = "B0"
        bins.save(record)
        assert held.code == "B0"
        bins.delete(1)
        assert session.get(Bin, 1) is None
        session.add(Bin(code="A1"))
        assert codes(bins) == ["A1"]


def test_the_session_sees_again_what_an_inner_transaction_undid(bins: ModelAccessor[Bin]) -> None:
    record = bins.insert(Bin(code="A1"))
    with transaction() as session:
        held = session.get(Bin, 1)
        assert held is not None
        with pytest.raises(OopsError), transaction():
            record.code = "B1"
            bins.save(record)
            assert held.code == "B1"
            raise OopsError
        assert held.code == "A1"

    assert codes(bins) == ["A1"]


def test_records_of_the_session_stay_usable_after_the_block(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(code="A1"))
    with transaction() as session:
        found = session.exec(select(Bin)).one()
        added = Bin(code="A2")
        session.add(added)
    assert found.code == "A1"
    assert added.id == 2


def test_other_threads_do_not_join(bins: ModelAccessor[Bin]) -> None:
    waiting = threading.Event()

    def insert() -> None:
        waiting.set()
        bins.insert(Bin(code="by the thread"))

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(OopsError), transaction():
            bins.insert(Bin(code="A1"))
            future = pool.submit(insert)
            assert waiting.wait(10)
            raise OopsError
        future.result(timeout=10)

    assert codes(bins) == ["by the thread"]


@sqlite_only
def test_other_work_on_the_same_thread_does_not_join(bins: ModelAccessor[Bin]) -> None:
    opened = transaction()  # in a worker thread, as a web framework does it with a dependency that yields

    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as other:
        pool.submit(contextvars.copy_context().run, opened.__enter__).result(timeout=10)
        with pytest.raises(WriteWouldDeadlock):
            pool.submit(contextvars.copy_context().run, bins.insert, Bin(code="A1")).result(timeout=10)
        other.submit(contextvars.copy_context().run, opened.__exit__, None, None, None).result(timeout=10)
        pool.submit(bins.insert, Bin(code="A2")).result(timeout=10)

    assert codes(bins) == ["A2"]


def test_a_context_that_outlives_the_transaction_does_not_join_it(bins: ModelAccessor[Bin]) -> None:
    with pytest.raises(OopsError), transaction():
        context = contextvars.copy_context()
        context.run(bins.insert, Bin(code="A1"))
        raise OopsError
    context.run(bins.insert, Bin(code="A2"))

    assert codes(bins) == ["A2"]


@sqlite_only
async def test_other_tasks_do_not_join_and_do_not_freeze_the_loop(bins: ModelAccessor[Bin]) -> None:
    opened, finish = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        with transaction():
            bins.insert(Bin(code="A1"))
            opened.set()
            await finish.wait()
            raise OopsError

    holder = asyncio.create_task(hold())
    await opened.wait()
    with pytest.raises(WriteWouldDeadlock, match="in_thread"):
        bins.insert(Bin(code="A2"))
    with pytest.raises(WriteWouldDeadlock), transaction():
        pytest.fail("it must not begin")
    assert codes(bins) == []  # reading never waits
    finish.set()
    with pytest.raises(OopsError):
        await holder

    bins.insert(Bin(code="A3"))
    assert codes(bins) == ["A3"]


async def test_a_child_task_does_not_join(bins: ModelAccessor[Bin]) -> None:
    async def child() -> None:
        bins.insert(Bin(code="A1"))

    with transaction():
        bins.insert(Bin(code="A1"))
        with pytest.raises(WriteWouldDeadlock):
            await asyncio.create_task(child())

    assert codes(bins) == ["A1"]


async def test_a_record_that_another_task_of_the_loop_writes_is_not_waited_for(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(code="A1"))
    opened, finish = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        with transaction():
            bins.update(1, {"capacity": 1})
            opened.set()
            await finish.wait()

    holder = asyncio.create_task(hold())
    await opened.wait()
    with pytest.raises(WriteWouldDeadlock, match="in_thread"):
        bins.update(1, {"capacity": 2})
    finish.set()
    await holder

    assert [found.capacity for found in bins.all()] == [1]
    bins.update(1, {"capacity": 3})


async def test_a_transaction_may_span_awaits(bins: ModelAccessor[Bin]) -> None:
    with transaction():
        bins.insert(Bin(code="A1"))
        await asyncio.sleep(0)
        bins.insert(Bin(code="A2"))

    assert codes(bins) == ["A1", "A2"]


async def test_a_cancelled_task_lets_go_of_its_transaction(bins: ModelAccessor[Bin]) -> None:
    opened = asyncio.Event()

    async def hold() -> None:
        with transaction():
            bins.insert(Bin(code="A1"))
            opened.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await opened.wait()
    holder.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holder

    bins.insert(Bin(code="A2"))
    assert codes(bins) == ["A2"]


async def test_in_thread_is_the_bridge(bins: ModelAccessor[Bin]) -> None:
    made = await asyncio.gather(*(in_thread(bins.insert, Bin(code=str(number)), actor="maria") for number in range(20)))

    assert sorted(found.id or 0 for found in made) == list(range(1, 21))
    assert len(await in_thread(bins.all)) == 20


async def test_in_thread_inside_a_transaction_is_refused(bins: ModelAccessor[Bin]) -> None:
    with transaction():
        bins.insert(Bin(code="A1"))
        with pytest.raises(WriteWouldDeadlock, match="without await"):
            await in_thread(bins.insert, Bin(code="A2"))

    assert codes(bins) == ["A1"]


async def test_in_thread_waits_for_the_transaction_of_another_task(bins: ModelAccessor[Bin]) -> None:
    opened, started = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        with transaction():
            bins.insert(Bin(code="A1"))
            opened.set()
            await started.wait()

    async def insert() -> None:
        started.set()
        await in_thread(bins.insert, Bin(code="A2"))

    holder = asyncio.create_task(hold())
    await opened.wait()
    await asyncio.gather(holder, insert())

    assert codes(bins) == ["A1", "A2"]


def test_a_second_session_of_the_same_thread_would_deadlock(bins: ModelAccessor[Bin], engine: Engine) -> None:
    with transaction():
        bins.insert(Bin(code="A1"))
        with Session(engine) as other, pytest.raises(WriteWouldDeadlock, match="use_session"):
            other.add(Bin(code="A1"))
            other.flush()

    assert codes(bins) == ["A1"]


@sqlite_only
def test_who_waits_too_long_is_told_who_is_in_the_way(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, url: str
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", "0.2")
    bins: ModelAccessor[Bin] = request.getfixturevalue("bins")
    opened, finish = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction():
            opened.set()
            assert finish.wait(10)

    holder = threading.Thread(target=hold, name="the slow one")
    holder.start()
    try:
        assert opened.wait(10)
        with pytest.raises(DatabaseBusy, match="the slow one"):
            bins.insert(Bin(code="A1"))
        assert codes(bins) == []
    finally:
        finish.set()
        holder.join(10)

    assert bins.insert(Bin(code="A2")).id == 1


def test_the_engine_is_the_one_of_the_transaction(bins: ModelAccessor[Bin]) -> None:
    with transaction() as session:
        assert session.connection().engine is get_engine()
