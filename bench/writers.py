"""Many writers at once, in a process of its own so that its disk can be slowed: `python -m bench.writers`.

It is started by `bench.sections.commits` and prints its samples as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path

from bench.contenders.product import open_database
from bench.contenders.raw_driver import RawDriver
from bench.part import Part, new_part, new_parts
from bench.rounds import in_turn
from bench.sample import Sample, of_times
from storage.accessor import ModelAccessor
from storage.database import current_database
from storage.dialects.sqlite_driver import DRIVER
from storage.errors import DatabaseBusy
from storage.scope import Scope, open_transaction
from storage.writer import write_async

Write = Callable[[Part], object]

_STOCK = 8_000
"""Records for each second that exist before the clock starts, as those of the accessor's section do."""


class Tally:
    """What all writers of one measurement did; only what ended in time counts for the rate.

    Args:
        seconds: How long it lasts.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0
        self._times: list[float] = []
        self._in_time = 0
        self._busy = 0

    def start(self) -> None:
        """Start the clock."""
        self._until = time.perf_counter() + self._seconds

    @property
    def running(self) -> bool:
        """Whether there is time left."""
        return time.perf_counter() < self._until

    def acknowledge(self, started: float) -> None:
        """Note a write that is on the disk."""
        now = time.perf_counter()
        self._times.append(now - started)
        self._in_time += now < self._until

    def refuse(self) -> None:
        """Note a write that waited in vain for the lock."""
        self._busy += 1

    def sample(self) -> Sample:
        """Everything as one sample."""
        found = of_times(self._times, self._seconds, self._busy)
        return Sample(rate=self._in_time / self._seconds, p50=found.p50, p99=found.p99, errors=found.errors)


class Writers:
    """A number of writers who insert audited records for a while, each waiting for its commit.

    Args:
        folder: Where the databases are.
        number: How many writers.
        seconds: How long.
    """

    def __init__(self, folder: Path, number: int, seconds: float) -> None:
        self._folder = folder
        self._number = number
        self._seconds = seconds
        self._accessor = ModelAccessor(Part, "parts")

    def threads(self) -> Sample:
        """Threads that call the accessor."""
        self._open()
        return self._on_threads(lambda: self._accessor.insert)

    def tasks(self) -> Sample:
        """Tasks of one event loop, as RPC handlers write."""
        self._open()
        return asyncio.run(self._on_tasks())

    def direct(self) -> Sample:
        """Threads that do what the accessor does, each record in a transaction of its own."""
        self._open()
        database, accessor = current_database(), self._accessor

        def write(part: Part) -> None:
            values = [accessor.codec.validate(part)]
            with open_transaction(database.engine, database.dialect) as scope:
                accessor.writes.insert(scope, [part], "bench", values)

        return self._on_threads(lambda: write)

    def raw(self) -> Sample:
        """Threads with a connection of the driver's each, who wait for SQLite's lock."""
        path = self._folder / "raw.db"
        open_database(path)  # which makes the tables
        drivers = [RawDriver(path) for _ in range(self._number)]
        free = iter(drivers)
        try:
            return self._on_threads(lambda: next(free).insert)
        finally:
            for driver in drivers:
                driver.close()

    def _open(self) -> None:
        open_database(self._folder / "ours.db")
        self._accessor.insert(new_part())  # the first write of an accessor looks at the trail

    def _stock(self) -> Iterator[Part]:
        return chain(new_parts(int(_STOCK * self._seconds)), (new_part() for _ in count()))

    def _on_threads(self, make: Callable[[], Write]) -> Sample:
        tally, stock = Tally(self._seconds), self._stock()
        ready = threading.Barrier(self._number, action=tally.start)

        def work(write: Write) -> None:
            ready.wait()
            while tally.running:
                part = next(stock)
                started = time.perf_counter()
                try:
                    write(part)
                except (DatabaseBusy, DRIVER.OperationalError):
                    tally.refuse()
                else:
                    tally.acknowledge(started)

        threads = [threading.Thread(target=work, args=(make(),)) for _ in range(self._number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return tally.sample()

    async def _on_tasks(self) -> Sample:
        tally, stock = Tally(self._seconds), self._stock()
        writes, codec = self._accessor.writes, self._accessor.codec

        async def work() -> None:
            while tally.running:
                part = next(stock)
                started = time.perf_counter()
                values = [codec.validate(part)]

                def insert(scope: Scope, part: Part = part, values: list[dict[str, object]] = values) -> None:
                    writes.insert(scope, [part], "bench", values)

                await write_async(insert)
                tally.acknowledge(started)

        tally.start()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._number):
                group.create_task(work())
        return tally.sample()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.writers")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--writers", type=int, nargs="+", required=True)
    arguments = parser.parse_args()
    found = {}
    for number in arguments.writers:
        writers = Writers(arguments.folder, number, arguments.seconds)
        ways = {way.__name__: way for way in (writers.threads, writers.tasks, writers.direct, writers.raw)}
        samples = in_turn(arguments.rounds, ways)
        found[number] = {name: [asdict(sample) for sample in taken] for name, taken in samples.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
