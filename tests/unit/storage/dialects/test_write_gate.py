"""The queue of the writers of one process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from storage.dialects.write_gate import WriteGate
from storage.errors import DatabaseBusy, WriteWouldDeadlock
from storage.owner import current_owner

PATIENCE = 10.0


@pytest.fixture
def gate() -> WriteGate:
    return WriteGate(PATIENCE)


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, which no event tells."""
    ticks = threading.Event()
    for _ in range(1000):
        if condition():
            return
        ticks.wait(0.01)
    pytest.fail("it did not happen")


def test_it_opens_at_once_when_nobody_is_inside(gate: WriteGate) -> None:
    assert gate.acquire(PATIENCE) == 0.0
    gate.release()
    assert gate.acquire(PATIENCE) == 0.0


def test_writers_enter_in_the_order_in_which_they_came(gate: WriteGate) -> None:
    entered: list[int] = []

    def enter(number: int) -> None:
        gate.acquire(PATIENCE)
        entered.append(number)
        gate.release()

    gate.acquire(PATIENCE)
    with ThreadPoolExecutor(5) as pool:
        waiting: list[Future[None]] = []
        for number in range(5):
            waiting.append(pool.submit(enter, number))
            until(lambda: len(gate._waiting) == len(waiting))
        gate.release()
        for future in waiting:
            future.result(PATIENCE)

    assert entered == [0, 1, 2, 3, 4]


def test_another_thread_may_release_it(gate: WriteGate) -> None:
    gate.acquire(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(gate.release).result(PATIENCE)

    assert gate.acquire(PATIENCE) == 0.0


def test_who_waits_too_long_is_told_by_whom(gate: WriteGate) -> None:
    gate.acquire(PATIENCE)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gate.acquire, 0.01)
        with pytest.raises(DatabaseBusy, match=threading.current_thread().name) as caught:
            waiting.result(PATIENCE)

    assert not isinstance(caught.value, WriteWouldDeadlock)
    gate.release()
    assert gate.acquire(PATIENCE) == 0.0  # nobody stands in line any more


def test_who_waits_too_long_is_told_what_the_owner_does(gate: WriteGate) -> None:
    other = WriteGate(PATIENCE)
    with ThreadPoolExecutor(1) as pool, gate.announced("an import"):
        assert gate.busy_with_task() is None  # it does not have the lock yet
        gate.acquire(PATIENCE)
        with pytest.raises(DatabaseBusy, match="because an import is under way; try again when it has ended") as caught:
            pool.submit(gate.acquire, 0.01).result(PATIENCE)
        gate.release()
        pool.submit(gate.acquire, PATIENCE).result(PATIENCE)
        assert gate.busy_with_task() is None  # somebody else has it
        assert other.busy_with_task() is None

    assert caught.value.task == "an import"
    assert gate.busy_with_task() is None


def test_the_same_thread_twice_would_wait_for_ever(gate: WriteGate) -> None:
    gate.acquire(PATIENCE)

    with pytest.raises(WriteWouldDeadlock, match="use_session"):
        gate.acquire(PATIENCE)


def test_who_keeps_itself_out_is_refused_and_nobody_else(gate: WriteGate) -> None:
    other = WriteGate(PATIENCE)
    with ThreadPoolExecutor(1) as pool, gate.closed_to_caller():
        for refused in (lambda: gate.acquire(PATIENCE), lambda: gate.refuse_deadlock(current_owner())):
            with pytest.raises(WriteWouldDeadlock, match="use_session"):
                refused()
        assert other.acquire(PATIENCE) == 0.0
        assert pool.submit(gate.acquire, PATIENCE).result(PATIENCE) == 0.0
        pool.submit(gate.release).result(PATIENCE)

    assert gate.acquire(PATIENCE) == 0.0


async def test_two_tasks_of_one_loop_would_wait_for_ever(gate: WriteGate) -> None:
    async def enter() -> None:
        gate.acquire(PATIENCE)

    gate.acquire(PATIENCE)
    with pytest.raises(WriteWouldDeadlock, match="in_thread"):
        await asyncio.create_task(enter())


async def test_a_worker_thread_waits_for_a_task(gate: WriteGate) -> None:
    gate.acquire(PATIENCE)
    waiting = asyncio.create_task(asyncio.to_thread(gate.acquire, PATIENCE))
    await asyncio.to_thread(until, lambda: bool(gate._waiting))
    gate.release()

    assert await waiting > 0
