"""Many writers at once: threads, tasks and processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlmodel import Session

from storage.accessor import ModelAccessor
from storage.database import get_engine, in_thread, transaction
from storage.errors import DuplicateRecord, RecordLimitReached
from tests.integration.storage.conftest import Audit
from tests.integration.storage.limits import limited
from tests.integration.storage.models import Bin, Recipe

THREADS = 16


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Run work in many threads that start together; what each returned or raised."""
    together = threading.Barrier(THREADS)

    def run(number: int) -> Any:
        together.wait(30)
        try:
            return work(number)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS), timeout=60))


def test_every_insert_gets_a_key_of_its_own(bins: ModelAccessor[Bin], audit: Audit) -> None:
    made = at_once(lambda number: [bins.insert(Bin(code=f"{number}-{turn}")).id for turn in range(5)])

    keys = [key for per_thread in made for key in per_thread]
    assert len(set(keys)) == THREADS * 5
    assert {found.id for found in bins.all()} == set(keys)
    assert sorted(entry.record_id or 0 for entry in audit()) == sorted(keys)


def test_of_many_with_the_same_unique_value_one_wins(bins: ModelAccessor[Bin], audit: Audit) -> None:
    outcomes = at_once(lambda number: bins.insert(Bin(code="A1")))

    assert sum(isinstance(outcome, Bin) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, DuplicateRecord) for outcome in outcomes) == THREADS - 1
    assert len(bins.all()) == len(audit()) == 1


def test_of_many_deletions_one_says_true(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipes.insert(Recipe(name="a"))

    assert at_once(lambda number: recipes.delete(1)).count(True) == 1
    assert len(audit()) == 2


def test_a_read_and_write_in_one_transaction_loses_nothing(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(code="counter"))

    def count(number: int) -> None:
        with transaction() as session:
            record = session.get(Bin, 1, with_for_update=True)
            assert record is not None
            record.capacity += 1
            bins.save(record)

    assert at_once(count) == [None] * THREADS
    stored = bins.get(1)
    assert stored is not None
    assert stored.capacity == THREADS


def test_batches_and_single_inserts_do_not_share_keys(bins: ModelAccessor[Bin]) -> None:
    def insert(number: int) -> list[int | None]:
        if number % 2:
            return [bins.insert(Bin(code=f"{number}")).id]
        return [made.id for made in bins.insert_many(Bin(code=f"{number}-{turn}") for turn in range(10))]

    keys = [key for per_thread in at_once(insert) for key in per_thread]
    assert len(keys) == len(set(keys)) == THREADS // 2 * 11


def test_a_limit_is_exact_between_threads(recipes: ModelAccessor[Recipe]) -> None:
    def insert(number: int) -> Recipe:
        with limited(recipes, 5):
            return recipes.insert(Recipe(name=str(number)))

    outcomes = at_once(insert)

    assert sum(isinstance(outcome, Recipe) for outcome in outcomes) == 5
    assert sum(isinstance(outcome, RecordLimitReached) for outcome in outcomes) == THREADS - 5
    assert len(recipes.all()) == 5


def test_a_limit_is_exact_between_two_processes_of_32_threads(
    url: str, recipes: ModelAccessor[Recipe], project: Path
) -> None:
    command = [sys.executable, "-m", "tests.integration.storage.limit_worker", url, "32", "20"]
    environment = {**os.environ, "VENTION_STORAGE_BUSY_TIMEOUT": "60"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, cwd=project, env=environment, **pipes) for _ in range(2)]
    try:
        assert [worker.stdout.readline() for worker in workers if worker.stdout] == ["ready\n"] * 2
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        told = [worker.communicate(timeout=90)[0].split() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()

    assert sum(int(inserted) for inserted, _ in told) == 20
    assert sum(int(refused) for _, refused in told) == 44
    assert len(recipes.all()) == 20


async def test_tasks_write_by_the_bridge_while_threads_write_too(bins: ModelAccessor[Bin]) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(4) as pool:
        threads = [loop.run_in_executor(pool, bins.insert, Bin(code=f"thread {number}")) for number in range(20)]
        await asyncio.gather(*threads, *(in_thread(bins.insert, Bin(code=f"task {number}")) for number in range(20)))

    assert len(bins.all()) == 40


def test_readers_do_not_wait_for_a_writer(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(code="A1"))
    with ThreadPoolExecutor(1) as pool, transaction() as session:
        session.add(Bin(code="A2"))
        session.flush()
        assert [found.code for found in pool.submit(bins.all).result(timeout=10)] == ["A1"]


def test_a_forgotten_session_does_not_lock_the_database_for_ever(bins: ModelAccessor[Bin]) -> None:
    def forget() -> None:
        session = Session(get_engine())
        session.add(Bin(code="A1"))
        session.flush()
        session.close()

    worker = threading.Thread(target=forget)
    worker.start()
    worker.join(10)

    assert bins.insert(Bin(code="A2")).id is not None
