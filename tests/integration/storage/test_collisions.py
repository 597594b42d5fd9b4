"""Transactions that want the same records: somebody is told at once what to do, and the other one goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from storage.accessor import ModelAccessor
from storage.database import get_engine, set_database_url, transaction
from storage.errors import DatabaseBusy, ForeignKeyViolation, WriteWouldDeadlock
from storage.schema.tables import create
from storage.scope import Scope
from storage.writer import write_async
from tests.integration.storage.conftest import Audit
from tests.integration.storage.limits import limited
from tests.integration.storage.models import Bin

postgresql_only = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
PATIENCE = 20.0


class Base(SQLModel, registry=registry()):
    """Root of the models of this module."""


class Cabinet(Base, table=True):
    """What a drawer is in."""

    id: int | None = Field(default=None, primary_key=True)


class Drawer(Base, table=True):
    """Its reference is looked at when the transaction commits."""

    id: int | None = Field(default=None, primary_key=True)
    cabinet_id: int = Field(
        sa_column=sa.Column(sa.ForeignKey("cabinet.id", deferrable=True, initially="DEFERRED"), nullable=False)
    )


@pytest.fixture
def drawers(engine: Engine) -> ModelAccessor[Drawer]:
    create(engine, Base.metadata)
    return ModelAccessor(Drawer, "drawers")


def at_once(*works: Callable[[], object]) -> list[BaseException | None]:
    """Run works in threads of their own; what each raised."""
    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(work) for work in works]
        return [future.exception(PATIENCE) for future in running]


@postgresql_only
def test_two_that_lock_in_opposite_order(bins: ModelAccessor[Bin]) -> None:
    bins.insert_many([Bin(code="A1"), Bin(code="A2")])
    met = threading.Barrier(2)

    def write(first: int, second: int) -> None:
        with transaction():
            bins.update(first, {"capacity": first})
            met.wait(PATIENCE)
            bins.update(second, {"capacity": first})

    outcomes = at_once(lambda: write(1, 2), lambda: write(2, 1))

    (undone,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(undone, DatabaseBusy)
    assert not isinstance(undone, WriteWouldDeadlock)
    assert "the same order" in str(undone)
    winner = 1 + outcomes.index(None)
    assert [found.capacity for found in bins.all()] == [winner, winner]


@postgresql_only
def test_a_serialization_failure_says_to_try_again(bins: ModelAccessor[Bin], url: str) -> None:
    bins.insert(Bin(code="A1"))
    strict = {"options": "-c default_transaction_isolation=serializable"}
    set_database_url(make_url(url).update_query_dict(strict).render_as_string(hide_password=False))
    met = threading.Barrier(2)

    def write(capacity: int) -> None:
        with transaction():
            assert bins.get(1) is not None
            met.wait(PATIENCE)
            bins.update(1, {"capacity": capacity})

    outcomes = at_once(lambda: write(1), lambda: write(2))

    (undone,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(undone, DatabaseBusy)
    assert "try the whole transaction again" in str(undone)
    assert [found.capacity for found in bins.all()] == [1 + outcomes.index(None)]


@postgresql_only
def test_a_wait_that_is_too_long_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, url: str
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", "0.2")
    bins: ModelAccessor[Bin] = request.getfixturevalue("bins")
    with ThreadPoolExecutor(1) as pool, transaction():
        bins.insert(Bin(code="A1"))
        waiting = pool.submit(bins.insert, Bin(code="A1"))
        with pytest.raises(DatabaseBusy, match="VENTION_STORAGE_BUSY_TIMEOUT") as caught:
            waiting.result(PATIENCE)
    assert not isinstance(caught.value, WriteWouldDeadlock)


@postgresql_only
def test_a_wait_for_the_turn_to_count_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, url: str
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", "0.2")
    bins: ModelAccessor[Bin] = request.getfixturevalue("bins")

    def insert() -> None:
        with limited(bins, 5):
            bins.insert(Bin(code="A2"))

    with transaction():
        bins.insert(Bin(code="A1"))
        (refused,) = at_once(insert)
    assert type(refused) is DatabaseBusy
    insert()


@postgresql_only
def test_more_threads_than_connections_take_turns(bins: ModelAccessor[Bin]) -> None:
    works = [lambda number=number: bins.insert(Bin(code=str(number))) for number in range(60)]
    assert at_once(*works) == [None] * 60


def test_a_reference_that_is_looked_at_in_the_commit_fails_its_own_writer(
    drawers: ModelAccessor[Drawer], bins: ModelAccessor[Bin], audit: Audit
) -> None:
    lost = Drawer(cabinet_id=9)
    with pytest.raises(ForeignKeyViolation):
        drawers.insert(lost)
    assert lost.id is None
    with pytest.raises(ForeignKeyViolation), transaction():
        bins.insert(Bin(code="A1"))
        drawers.insert(lost)
    assert (lost.id, bins.all(), drawers.all(), audit()) == (None, [], [], [])

    bins.insert(Bin(code="A1"))
    with transaction():
        drawers.insert(lost)
        ModelAccessor(Cabinet, "cabinets").insert(Cabinet(id=9))
    assert lost.id is not None


@postgresql_only
def test_of_those_who_commit_at_once_only_the_one_with_a_bad_reference_fails(drawers: ModelAccessor[Drawer]) -> None:
    ModelAccessor(Cabinet, "cabinets").insert(Cabinet(id=1))
    outcomes = at_once(
        *(lambda cabinet=cabinet: drawers.insert(Drawer(cabinet_id=cabinet)) for cabinet in [1, 1, 9, 1, 1, 9])
    )
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [ForeignKeyViolation] * 2
    assert [outcomes[index] is not None for index in (2, 5)] == [True, True]
    assert len(drawers.all()) == 4


def test_ids_that_are_given_and_ids_that_are_counted_do_not_meet(bins: ModelAccessor[Bin]) -> None:
    def counted() -> None:
        for number in range(40):
            bins.insert(Bin(code=f"counted {threading.get_ident()} {number}"))

    def given() -> None:
        bins.insert_many(Bin(id=100_000 + 50 * number, code=f"given {number}") for number in range(3))

    assert at_once(counted, given, counted) == [None] * 3
    assert len(bins.all()) == 83
    assert bins.insert(Bin(code="last")).id == max(found.id or 0 for found in bins.all())


@postgresql_only
async def test_a_task_that_is_cancelled_while_its_work_runs_is_told_after_the_commit(
    bins: ModelAccessor[Bin], caplog: pytest.LogCaptureFixture
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def work(scope: Scope) -> None:
        entered.set()
        assert go_on.wait(PATIENCE)
        bins.writes.insert(scope, [Bin(code="A1")], "task")

    task = asyncio.create_task(write_async(work))
    assert await asyncio.to_thread(entered.wait, PATIENCE)
    for _ in range(3):  # asyncio's users cancel once, anyio as long as it takes
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(bins.all()) == 1
    assert "committed all the same" in caplog.text


@postgresql_only
async def test_a_task_that_is_cancelled_before_its_work_runs_has_written_nothing(bins: ModelAccessor[Bin]) -> None:
    task = asyncio.create_task(write_async(lambda scope: bins.writes.insert(scope, [Bin(code="A1")], "task")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bins.all() == []
    assert get_engine().pool.checkedout() == 0  # type: ignore[attr-defined]
