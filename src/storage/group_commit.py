"""Group commit: concurrent writes to one SQLite file share a transaction, and with it the cost of its fsync.

The first writer leads. It performs its own work, then that of everybody who came meanwhile, each in a savepoint of its
own, and commits once; who comes during the commit joins the next one, which the longest waiting of them leads. So a
lone writer pays for nothing but its own commit, on its own thread, and a failing one undoes itself alone.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine

from storage.dialects.base import Dialect
from storage.dialects.sqlite_driver import ROLLED_BACK, GatedConnection
from storage.dialects.write_gate import WriteGate
from storage.errors import DatabaseBusy, DatabaseUnavailable
from storage.owner import current_task
from storage.scope import Scope, entered, translated
from storage.write_job import Work, WriteJob, wait_out

logger = logging.getLogger("storage")

R = TypeVar("R")

_LARGEST_BATCH = 256  # so that the leader's own caller need not wait for an endless stream of others
_LONGEST_BATCH = 0.05  # seconds
_DEFERRING = "SELECT 1 FROM sqlite_schema WHERE sql LIKE '%INITIALLY DEFERRED%' LIMIT 1"


class GroupCommit:
    """The one writer of a SQLite file in this process.

    Args:
        engine: The engine of the file.
        dialect: SQLite.
        gate: The gate that this writer and the transactions of others pass, one at a time.
    """

    def __init__(self, engine: Engine, dialect: Dialect, gate: WriteGate) -> None:
        self._engine = engine
        self._dialect = dialect
        self._gate = gate
        self._mutex = threading.Lock()
        self._queue: deque[WriteJob[Any]] = deque()
        self._leader: threading.Thread | None = None
        self._leading = self._closed = False
        self._running: WriteJob[Any] | None = None
        self._running_since = 0.0
        self._kept: Connection | None = None
        self._schema_version: int | None = None
        self._defers = False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="storage-writer")

    def run(self, work: Work[R]) -> R:
        """Perform work in a write transaction and wait for its commit.

        Args:
            work: Called with the scope to write in, on this thread or another, in this caller's context.

        Returns:
            What the work returned, once it is on the disk.

        Raises:
            DatabaseBusy: It had to wait longer than the busy timeout, or would have waited for ever.
            DatabaseUnavailable: The database cannot be written now.
        """
        job: WriteJob[R] = WriteJob(work, self._gate.timeout)
        self._gate.refuse_deadlock(job.owner)
        if self._leader is threading.current_thread():  # a callback after a commit, which writes itself
            batch: list[WriteJob[Any]] = [job]
            try:
                self._transact(batch)
                self._tell_world(batch)
            finally:
                _deliver(batch[1:])
            return job.outcome()
        if not self._lead_or_queue(job):
            self._wait(job)
        if job.promoted or not job.started:
            self._lead(job)
        return job.outcome()

    async def run_async(self, work: Work[R]) -> R:
        """Perform work as `run` does, without blocking the event loop.

        A caller that is cancelled while its work waits has written nothing; one that is cancelled later is told of it
        only when the work has ended.

        Args:
            work: Called with the scope to write in, on a thread of the writer's, in this caller's context.
        """
        job: WriteJob[R] = WriteJob(work, self._gate.timeout)
        job.loop = asyncio.get_running_loop()
        job.future = job.loop.create_future()
        if self._lead_or_queue(job):
            job.context = copy_context()
            self._executor.submit(self._lead, job)
        timer = job.loop.call_later(max(0.0, job.deadline - time.monotonic()), self._expire, job)
        try:
            await job.future
        except asyncio.CancelledError:
            if not self._withdraw(job):
                if not job.ended:
                    job.future = job.loop.create_future()  # the other one was cancelled with the caller
                    await wait_out(job.future)
                if job.error is None:
                    logger.warning("a caller gave up on a write that was committed all the same")
                job.outcomes.undo()  # of what failed; of what was committed nothing waits any more
            raise
        finally:
            timer.cancel()
        return job.outcome()

    def close(self) -> None:
        """Let go of the connection, at once or when the running writes end; writing again opens another."""
        with self._mutex:
            self._closed = True
            if not self._leading:
                self._discard()

    # waiting

    def _lead_or_queue(self, job: WriteJob[Any]) -> bool:
        """Take the lead if nobody has it, else stand in line; whether it leads."""
        with self._mutex:
            if not self._leading:
                self._leading = True
                return True
            job.context = copy_context()
            if job.future is None:
                job.wake = threading.Event()
            self._queue.append(job)
            return False

    def _wait(self, job: WriteJob[Any]) -> None:
        assert job.wake is not None  # noqa: S101 - it stands in line
        try:
            woken = job.wake.wait(max(0.0, job.deadline - time.monotonic()))
        except BaseException:  # Ctrl-C, say: nobody may wait for a leader that is gone
            if not self._withdraw(job):
                job.wake.wait()
                if job.promoted:
                    self._pass_on()
            raise
        if not woken:
            if self._withdraw(job):
                raise self._busy()
            job.wake.wait()

    def _expire(self, job: WriteJob[Any]) -> None:
        """End the wait of a task, unless its work has been started: then it is told what came of it."""
        if self._withdraw(job):
            job.error = self._busy()
            job.end()

    def _withdraw(self, job: WriteJob[Any]) -> bool:
        """Leave the line; False when the work has been started."""
        with self._mutex:
            if job.started or job not in self._queue:
                return False
            self._queue.remove(job)
            return True

    def _busy(self) -> DatabaseBusy:
        if busy := self._gate.busy_with_task():
            return busy
        running = self._running
        cause = "all of them were slow"
        if running is not None:
            cause = f"that of {running.owner} has run for {time.monotonic() - self._running_since:.1f} s"
        message = f"waited {self._gate.timeout:g} s for other writes: {cause}"
        return DatabaseBusy(message, hint="a hook must be quick and never wait for another thread's write")

    # leading

    def _lead(self, job: WriteJob[Any]) -> None:
        """Perform a batch that begins with this job, then let the next one lead."""
        batch = [job]
        self._leader = threading.current_thread()
        try:
            self._transact(batch)
            self._tell_world(batch)
        finally:
            self._leader = None
            self._pass_on()
            _deliver(batch if job.future is not None else batch[1:])

    def _pass_on(self) -> None:
        with self._mutex:
            if not self._queue:
                self._leading = False
                if self._closed:
                    self._discard()
                return
            job = self._queue.popleft()
            job.started = job.promoted = True
        if job.wake is not None:
            job.context = None  # it goes on in its own thread
            job.wake.set()
        else:
            self._executor.submit(self._lead, job)

    def _transact(self, batch: list[WriteJob[Any]]) -> None:
        """Perform the batch's first job and all that wait, and commit; errors are noted, not raised."""
        first = batch[0]
        first.started = True
        try:
            connection, driver = self._begin(first)
        except Exception as error:  # noqa: BLE001 - the caller gets it
            first.error = error
            return
        try:
            self._perform(first, connection)
            if first.error is None:
                self._join_waiting(batch, connection, driver)
            self._end(batch, connection, driver)
        except BaseException as error:
            self._discard()
            _fail(batch, error)
            raise

    def _join_waiting(self, batch: list[WriteJob[Any]], connection: Connection, driver: GatedConnection) -> None:
        if current_task() is not None:
            return  # an event loop has better things to do than the work of others
        if not self._queue or self._checks_at_commit(driver):
            return
        until = time.monotonic() + _LONGEST_BATCH
        for job in self._waiting(until):
            batch.append(job)
            driver.execute("SAVEPOINT vention_job")
            self._perform(job, connection)
            if not driver.in_transaction:
                return
            if job.error is not None:
                driver.execute("ROLLBACK TO vention_job")
            driver.execute("RELEASE vention_job")

    def _checks_at_commit(self, driver: GatedConnection) -> bool:
        """Whether the commit may fail for what one of several did: it is the first to check a deferred reference."""
        (version,) = driver.execute("PRAGMA schema_version").fetchone()
        if version != self._schema_version:
            self._schema_version = version
            self._defers = driver.execute(_DEFERRING).fetchone() is not None
        return self._defers

    def _waiting(self, until: float) -> Iterator[WriteJob[Any]]:
        """Take from the line those who have waited longest."""
        for _ in range(_LARGEST_BATCH):
            with self._mutex:
                if not self._queue or time.monotonic() > until:
                    return
                job = self._queue.popleft()
                job.started = True
            yield job

    def _perform(self, job: WriteJob[Any], connection: Connection) -> None:
        self._running, self._running_since = job, time.monotonic()
        scope = Scope(self._dialect, connection=connection)
        job.outcomes = scope.outcomes
        try:
            with closing(scope):
                job.result = job.in_context(_work_in, scope, job.work)
        except BaseException as error:  # noqa: BLE001 - the caller gets it, on its own thread
            job.error = error
        finally:
            self._running = None

    def _end(self, batch: list[WriteJob[Any]], connection: Connection, driver: GatedConnection) -> None:
        if not driver.in_transaction:
            self._discard()
            _fail(batch, DatabaseUnavailable(ROLLED_BACK, hint="try again"))
        elif batch[0].error is not None:
            connection.rollback()
        else:
            try:
                with translated(self._dialect):
                    connection.commit()
            except Exception as error:  # noqa: BLE001 - every caller gets it
                self._discard()
                _fail(batch, error)

    def _tell_world(self, batch: Iterable[WriteJob[Any]]) -> None:
        """Run what waited for the commit, in the order of the writes."""
        for job in batch:
            if job.error is None:
                job.in_context(job.outcomes.settle)

    # the connection

    def _begin(self, job: WriteJob[Any]) -> tuple[Connection, GatedConnection]:
        with translated(self._dialect):
            if self._kept is None:
                self._kept = self._engine.connect()
            connection = self._kept
            connection.begin()
            driver = cast(GatedConnection, connection.connection.driver_connection)
        try:
            driver.begin_write(max(0.0, job.deadline - time.monotonic()))
        except BaseException:
            self._discard()
            raise
        return connection, driver

    def _discard(self) -> None:
        connection, self._kept = self._kept, None
        if connection is not None:
            with suppress(Exception):  # it may be broken, which is why it goes
                connection.invalidate()
            connection.close()


def _work_in(scope: Scope, work: Work[R]) -> R:
    with entered(scope):
        result = work(scope)
        scope.finish()
    return result


def _fail(batch: Iterable[WriteJob[Any]], error: BaseException) -> None:
    """Tell everybody whose work was undone with the batch."""
    for job in batch:
        if job.error is None:
            job.error = _one_more(error)
            job.in_context(job.outcomes.undo)


def _one_more(error: BaseException) -> BaseException:
    """The same error for one more caller, who may add to it; without `__init__`, which may ask for other arguments."""
    copied = type(error).__new__(type(error), *error.args)
    copied.__dict__.update(error.__dict__)
    copied.__cause__, copied.__suppress_context__ = error.__cause__, error.__suppress_context__
    return copied.with_traceback(error.__traceback__)


def _deliver(batch: Iterable[WriteJob[Any]]) -> None:
    """Wake those who wait: threads one by one, the tasks of an event loop all at once."""
    tasks: dict[asyncio.AbstractEventLoop, list[WriteJob[Any]]] = {}
    for job in batch:
        if job.wake is not None:
            job.wake.set()
        elif job.loop is not None:
            tasks.setdefault(job.loop, []).append(job)
    for loop, jobs in tasks.items():
        with suppress(RuntimeError):  # the loop is closed, nobody waits
            loop.call_soon_threadsafe(_end_all, jobs)


def _end_all(jobs: Iterable[WriteJob[Any]]) -> None:
    for job in jobs:
        job.end()
