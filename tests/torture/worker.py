"""A program that writes in every way at once, and tells each step: `worker <url> <name> [options]`.

It goes on until its input ends or somebody kills it. What it tells: `intend JOB KIND`, then `done JOB` or
`failed JOB ERROR SECONDS`, and `enter JOB`, `leave JOB` of a hook.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from storage import database
from storage.database import get_engine, in_thread, transaction, use_session
from storage.errors import StorageError
from tests.torture.workshop import SHARED, Note, Part, Workshop, open_file, tell

SINGLE_THREADS = 8
MIXED_THREADS = 4
TASKS = 4
BREATH = 0.01
"""Seconds between a failure and the next attempt."""
SINGLE = ("insert", "insert", "update", "update", "delete", "batch")
"""Kinds of jobs that are one call of an accessor, which shares a commit with others."""
MIXED = (*SINGLE, "count", "transaction", "session", "joined")
"""All kinds, those that have a transaction of their own among them."""


class Hand:
    """A thread or a task that does jobs, on parts of its own and on the shared one."""

    def __init__(self, workshop: Workshop, name: str, kinds: Sequence[str] = MIXED) -> None:
        self._workshop, self._parts, self._kinds = workshop, workshop.parts, kinds
        self._name, self._number = name, 0
        self._random = random.Random(name)  # noqa: S311 - not for secrets
        self._mine: list[Any] = []

    def work(self) -> None:
        """Do any job, on this thread."""
        with self._job(self._any_kind()) as (job, kind):
            jobs: dict[str, Callable[[str], None]] = {
                "insert": self._insert,
                "update": self._update,
                "delete": self._delete,
                "batch": self._batch,
                "count": self._count,
                "transaction": self._transaction,
                "session": self._session,
                "joined": self._joined,
            }
            jobs[kind](job)

    async def work_as_task(self) -> None:
        """Do any job as a task: on another thread, on the event loop itself, or in a transaction that awaits."""
        ways: tuple[Callable[[], Awaitable[None]], ...] = (self._elsewhere, self._here, self._awaiting)
        await self._random.choice(ways)()
        await asyncio.sleep(0)

    def _any_kind(self) -> str:
        return self._random.choice(self._kinds) if len(self._mine) > 1 else "insert"

    @contextmanager
    def _job(self, kind: str) -> Iterator[tuple[str, str]]:
        self._number += 1
        job, started = f"{self._name}-{self._number}", time.monotonic()
        tell(f"intend {job} {kind}")
        try:
            yield job, kind
        except (StorageError, DBAPIError) as error:
            tell(f"failed {job} {type(error).__name__} {time.monotonic() - started:.2f}")
            time.sleep(BREATH)
        else:
            tell(f"done {job}")

    def _insert(self, job: str) -> None:
        self._mine.append(self._parts.insert(Part(job=job), actor=job).id)

    def _update(self, job: str) -> None:
        part = self._parts.get(self._random.choice(self._mine))
        assert part is not None
        self._write_again(part, job)

    def _write_again(self, part: Part, job: str) -> None:
        part.revision += 1
        part.job = job
        self._parts.save(part, actor=job)

    def _delete(self, job: str) -> None:
        assert self._parts.delete(self._mine[-1], actor=job)
        self._mine.pop()

    def _batch(self, job: str) -> None:
        self._mine += [part.id for part in self._parts.insert_many([Part(job=job) for _ in range(5)], actor=job)]

    def _count(self, job: str) -> None:
        with transaction():
            part = self._parts.get(SHARED)
            assert part is not None
            self._workshop.pause()
            self._write_again(part, job)

    def _transaction(self, job: str) -> None:
        with transaction():
            self._parts.insert(Part(job=job), actor=job)
            self._workshop.pause()
            with transaction():
                self._update(job)
            self._parts.insert(Part(job=job), actor=job)

    def _session(self, job: str) -> None:
        with Session(get_engine()) as session:
            session.add(Note(job=job))
            session.flush()
            self._workshop.pause()
            session.add(Note(job=job))
            session.commit()

    def _joined(self, job: str) -> None:
        with Session(get_engine()) as session, use_session(session):
            session.add(Note(job=job))
            self._parts.insert(Part(job=job), actor=job)
            session.commit()

    async def _elsewhere(self) -> None:
        await in_thread(self.work)

    async def _here(self) -> None:
        self.work()

    async def _awaiting(self) -> None:
        with self._job("awaiting") as (job, _), transaction():
            self._parts.insert(Part(job=job), actor=job)
            await asyncio.sleep(self._workshop.length_of_pause())
            self._parts.insert(Part(job=job), actor=job)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--pragma", help="what SQLite is told at each new connection")
    given = parser.parse_args()
    database.set_database_url(given.url)
    if given.pragma:
        _tell_sqlite(given.pragma)
    open_file(given.url)
    _work(Workshop(pause=given.pause, telling=True), given.name)


def _tell_sqlite(pragma: str) -> None:
    @event.listens_for(get_engine(), "connect")
    def connected(driver: Any, _record: Any) -> None:
        driver.execute(f"PRAGMA {pragma}")


def _work(workshop: Workshop, name: str) -> None:
    over = threading.Event()

    def as_thread(hand: Hand) -> None:
        while not over.is_set():
            hand.work()

    async def as_task(hand: Hand) -> None:
        while not over.is_set():
            await hand.work_as_task()

    async def as_tasks() -> None:
        await asyncio.gather(*(as_task(Hand(workshop, f"{name}-task{number}")) for number in range(TASKS)))

    hands = [Hand(workshop, f"{name}-single{number}", SINGLE) for number in range(SINGLE_THREADS)]
    hands += [Hand(workshop, f"{name}-mixed{number}") for number in range(MIXED_THREADS)]
    threads = [threading.Thread(target=as_thread, args=[hand]) for hand in hands]
    threads.append(threading.Thread(target=asyncio.run, args=[as_tasks()]))
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
