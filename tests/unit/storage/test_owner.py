from __future__ import annotations

import asyncio
import threading

from storage.owner import Owner, current_owner, current_task


def in_thread() -> Owner:
    owners: list[Owner] = []
    worker = threading.Thread(target=lambda: owners.append(current_owner()), name="worker")
    worker.start()
    worker.join(10)
    return owners[0]


def test_a_thread_outside_a_loop_is_one_owner() -> None:
    mine = current_owner()

    assert mine.same(current_owner())
    assert mine.task is None
    assert not mine.same(in_thread())
    assert not mine.blocks(in_thread())
    assert str(in_thread()) == "thread 'worker'"


async def test_each_task_is_an_owner() -> None:
    async def ask() -> Owner:
        return current_owner()

    mine, other = current_owner(), await asyncio.create_task(ask(), name="other")

    assert mine.task is current_task() is asyncio.current_task()
    assert not mine.same(other)
    assert mine.blocks(other)
    assert str(other).startswith("task 'other' on thread")


async def test_a_thread_is_no_part_of_the_task_that_started_it() -> None:
    mine, other = current_owner(), await asyncio.to_thread(current_owner)

    assert other.task is None
    assert not mine.same(other)
    assert not mine.blocks(other)
