"""Concurrent writes to one file: they share commits, fail alone, and wait no longer than they may."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, select

from storage import database
from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.bootstrap import bootstrap
from storage.dialects.sqlite_driver import LOG_LIMIT
from storage.errors import DatabaseBusy, DatabaseUnavailable, DuplicateRecord, WriteWouldDeadlock
from storage.schema.tables import create
from storage.scope import Scope
from storage.writer import write_async

PATIENCE = 20.0
"""Seconds after which a test that waits for something gives up."""


class Base(SQLModel, registry=registry()):
    """Root of the one model, so that no other test has to make its table."""


class Tally(Base, table=True):
    __tablename__ = "group_commit_tally"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)


class Line:
    """An accessor whose insert of `gate` waits in its hook until it is told to go on."""

    def __init__(self) -> None:
        self.tallies = ModelAccessor(Tally, "tallies")
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.commits = 0
        self.tallies.before_insert()(self._hold)
        event.listen(database.get_engine(), "commit", self._count)

    def _hold(self, _session: Any, instance: Tally) -> None:
        if instance.name == "gate":
            self.entered.set()
            assert self.go_on.wait(PATIENCE)

    def _count(self, _connection: Any) -> None:
        self.commits += 1

    def insert(self, name: str) -> Tally:
        return self.tallies.insert(Tally(name=name))

    def names(self) -> set[str]:
        return {tally.name for tally in self.tallies.all()}

    def audited(self) -> int:
        with database.use_session() as session:
            return len(session.exec(select(AuditLog)).all())


@pytest.fixture(autouse=True)
def any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch lasts as long as it takes: how long that is, on a busy machine, is not what is tested here."""
    monkeypatch.setattr("storage.group_commit._LONGEST_BATCH", PATIENCE)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    bootstrap(database_url=f"sqlite:///{tmp_path}/line.db")
    create(database.get_engine(), Tally.metadata)
    line = Line()
    yield line
    line.go_on.set()
    database.set_database_url("sqlite://")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as executor:
        yield executor


def queued(count: int) -> None:
    """Wait until so many writes stand in line."""
    commits = database.current_database().commits
    assert commits is not None
    settled = threading.Event()
    for _ in range(int(PATIENCE * 1000)):
        if len(commits._queue) >= count:
            return
        settled.wait(0.001)
    pytest.fail(f"{len(commits._queue)} of {count} writes came")


def hold(line: Line, pool: ThreadPoolExecutor) -> Future[Tally]:
    """Let a writer lead and stop it in its hook."""
    leader = pool.submit(line.insert, "gate")
    assert line.entered.wait(PATIENCE)
    return leader


def test_writes_that_come_meanwhile_share_one_commit(line: Line, pool: ThreadPoolExecutor) -> None:
    leader = hold(line, pool)
    others = [pool.submit(line.insert, f"n{number}") for number in range(20)]
    queued(20)
    before = line.commits
    line.go_on.set()
    ids = {future.result(PATIENCE).id for future in [leader, *others]}
    assert len(ids) == 21
    assert line.commits == before + 1
    assert line.names() == {"gate", *(f"n{number}" for number in range(20))}
    assert line.audited() == 21


def test_a_failing_write_is_undone_alone(line: Line, pool: ThreadPoolExecutor) -> None:
    line.insert("taken")
    leader = hold(line, pool)
    names = ["a", "taken", "b", "taken", "c"]
    others = [pool.submit(line.insert, name) for name in names]
    queued(len(names))
    line.go_on.set()
    leader.result(PATIENCE)
    for name, future in zip(names, others, strict=True):
        if name == "taken":
            with pytest.raises(DuplicateRecord):
                future.result(PATIENCE)
        else:
            assert future.result(PATIENCE).id is not None
    assert line.names() == {"taken", "gate", "a", "b", "c"}
    assert line.audited() == 5


def test_when_the_leader_fails_the_others_go_on(line: Line, pool: ThreadPoolExecutor) -> None:
    @line.tallies.after_insert()
    def refuse(_session: Any, instance: Tally) -> None:
        if instance.name == "gate":
            raise ValueError("no gate today")

    leader = hold(line, pool)
    others = [pool.submit(line.insert, name) for name in "abc"]
    queued(3)
    line.go_on.set()
    with pytest.raises(ValueError, match="no gate today"):
        leader.result(PATIENCE)
    assert {future.result(PATIENCE).name for future in others} == set("abc")
    assert line.names() == set("abc")


def test_when_the_commit_fails_everybody_is_told_and_nothing_stays(
    line: Line, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = threading.Event()

    def fail(_connection: Any) -> None:
        if broken.is_set():
            raise DatabaseUnavailable("the disk is gone", hint="mend it") from OSError()

    event.listen(database.get_engine(), "commit", fail)
    leader = hold(line, pool)
    others = [pool.submit(line.insert, name) for name in "abc"]
    queued(3)
    broken.set()
    line.go_on.set()
    errors = [future.exception(PATIENCE) for future in [leader, *others]]
    assert {(type(error), str(error)) for error in errors} == {(DatabaseUnavailable, "the disk is gone; mend it")}
    assert [error.hint for error in errors if isinstance(error, DatabaseUnavailable)] == ["mend it"] * 4
    assert {type(error.__cause__) for error in errors if error} == {OSError}
    assert len({id(error) for error in errors}) == 4  # a note for one caller is none for the others
    broken.clear()
    assert line.names() == set()
    assert line.audited() == 0
    line.insert("later")
    assert line.names() == {"later"}


def fill(line: Line) -> None:
    for number in range(1000):
        line.insert(f"{number} " + "x" * 500)


def test_a_full_database_is_unavailable_and_recovers(line: Line) -> None:
    line.insert("first")
    commits = database.current_database().commits
    assert commits is not None
    kept = commits._kept
    assert kept is not None
    driver: Any = kept.connection.driver_connection
    pages = driver.execute("PRAGMA page_count").fetchone()[0]
    driver.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DatabaseUnavailable, match="full"):
        fill(line)
    stored = line.names()
    assert line.audited() == len(stored)
    for connection in [driver, *([commits._kept.connection.driver_connection] if commits._kept else [])]:
        with contextlib.suppress(Exception):  # the old one may be closed
            connection.execute("PRAGMA max_page_count = 1000000")
    line.insert("later")
    assert line.names() == {*stored, "later"}


def test_an_object_whose_write_failed_is_as_it_was(line: Line, pool: ThreadPoolExecutor) -> None:
    line.insert("taken")
    leader = hold(line, pool)
    tally = Tally(name="taken")
    failing = pool.submit(line.tallies.insert, tally)
    queued(1)
    line.go_on.set()
    leader.result(PATIENCE)
    with pytest.raises(DuplicateRecord):
        failing.result(PATIENCE)
    assert tally.id is None


def test_who_waits_too_long_is_told_why_and_has_written_nothing(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", "0.2")
    bootstrap(database_url=f"sqlite:///{tmp_path}/slow.db")
    create(database.get_engine(), Tally.metadata)
    line = Line()
    leader = hold(line, pool)
    with pytest.raises(DatabaseBusy, match="a hook must be quick"):
        pool.submit(line.insert, "late").result(PATIENCE)
    line.go_on.set()
    leader.result(PATIENCE)
    line.insert("after")
    assert line.names() == {"gate", "after"}


def test_a_hook_runs_in_the_context_of_its_caller(line: Line, pool: ThreadPoolExecutor) -> None:
    operator = contextvars.ContextVar[str]("operator")
    seen: dict[str, str] = {}

    @line.tallies.before_insert()
    def note(_session: Any, instance: Tally) -> None:
        if instance.name != "gate":
            seen[instance.name] = operator.get()

    def insert_as(name: str) -> None:
        operator.set(f"operator {name}")
        line.insert(name)

    leader = hold(line, pool)
    others = [pool.submit(contextvars.Context().run, insert_as, name) for name in "abc"]
    queued(3)
    line.go_on.set()
    leader.result(PATIENCE)
    for future in others:
        future.result(PATIENCE)
    assert seen == {name: f"operator {name}" for name in "abc"}


def test_a_hook_that_another_thread_performs_joins_its_own_write(line: Line, pool: ThreadPoolExecutor) -> None:
    @line.tallies.after_insert()
    def add_more(_session: Any, instance: Tally) -> None:
        if instance.name == "outer":
            line.insert("inner")
        if instance.name == "fails":
            line.insert("undone")
            raise ValueError("undo both")

    leader = hold(line, pool)
    others = [pool.submit(line.insert, name) for name in ("outer", "fails")]
    queued(2)
    line.go_on.set()
    leader.result(PATIENCE)
    others[0].result(PATIENCE)
    with pytest.raises(ValueError, match="undo both"):
        others[1].result(PATIENCE)
    assert line.names() == {"gate", "outer", "inner"}


def test_callbacks_run_in_the_order_of_the_commits_and_only_for_what_was_committed(
    line: Line, pool: ThreadPoolExecutor
) -> None:
    told: list[str] = []

    @line.tallies.after_insert()
    def tell(_session: Any, instance: Tally) -> None:
        database.after_commit(lambda: told.append(instance.name))
        if instance.name == "bad":
            raise ValueError("not this one")

    leader = hold(line, pool)
    others = []
    for position, name in enumerate(["a", "bad", "b"], start=1):
        others.append(pool.submit(line.insert, name))
        queued(position)
    line.go_on.set()
    leader.result(PATIENCE)
    for future in others:
        future.exception(PATIENCE)
    assert told == ["gate", "a", "b"]


@pytest.mark.parametrize("way", ["another context", "a task of its own"])
def test_a_hook_that_writes_as_somebody_else_would_wait_for_itself(line: Line, way: str) -> None:
    async def insert() -> Tally:
        return line.insert("inner")

    @line.tallies.after_insert()
    def write_elsewhere(_session: Any, instance: Tally) -> None:
        if way == "another context":
            contextvars.Context().run(line.insert, "inner")
        else:
            asyncio.run(insert())

    with pytest.raises(WriteWouldDeadlock):
        line.insert("outer")
    assert line.names() == set()


def test_a_callback_may_write(line: Line) -> None:
    def receipt() -> None:
        line.insert("receipt")

    @line.tallies.after_insert()
    def follow_up(_session: Any, instance: Tally) -> None:
        if instance.name == "order":
            database.after_commit(receipt)

    line.insert("order")
    assert line.names() == {"order", "receipt"}
    assert line.audited() == 2


def test_who_joins_the_write_of_a_callback_is_told_too(line: Line, pool: ThreadPoolExecutor) -> None:
    joined: list[Future[Tally]] = []

    def receipt() -> None:
        joined.append(pool.submit(line.insert, "meanwhile"))
        queued(1)
        line.insert("receipt")

    @line.tallies.after_insert()
    def follow_up(_session: Any, instance: Tally) -> None:
        if instance.name == "order":
            database.after_commit(receipt)

    line.insert("order")
    assert joined[0].result(PATIENCE).id is not None
    assert line.names() == {"order", "receipt", "meanwhile"}


def test_who_shares_a_commit_is_told_even_when_a_callback_ends_its_thread(line: Line, pool: ThreadPoolExecutor) -> None:
    joined: list[Future[Tally]] = []

    def leave() -> None:
        raise SystemExit

    def receipt() -> None:
        joined.append(pool.submit(line.insert, "meanwhile"))
        queued(1)
        line.insert("receipt")

    @line.tallies.after_insert()
    def follow_up(_session: Any, instance: Tally) -> None:
        if instance.name == "order":
            database.after_commit(receipt)
        if instance.name == "receipt":
            database.after_commit(leave)

    with pytest.raises(SystemExit):
        line.insert("order")
    assert joined[0].result(PATIENCE).id is not None
    assert line.names() == {"order", "receipt", "meanwhile"}


def test_nothing_is_written_after_the_database_itself_ended_the_transaction(line: Line) -> None:
    line.insert("taken")
    table = Tally.__tablename__

    @line.tallies.before_insert()
    def swallow(session: Any, _instance: Tally) -> None:
        with contextlib.suppress(IntegrityError):
            session.connection().exec_driver_sql(f"INSERT OR ROLLBACK INTO {table} (name) VALUES ('taken')")  # noqa: S608

    with pytest.raises(DatabaseUnavailable, match="rolled back"):
        line.insert("lost")
    assert line.names() == {"taken"}
    assert line.audited() == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_opens_the_database_anew(line: Line, tmp_path: Path) -> None:
    line.insert("parent")
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            line.insert("child")
            asyncio.run(write_async(lambda scope: line.tallies.writes.insert(scope, [Tally(name="task")], "child")))
            status = 0
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    line.insert("later")
    assert line.names() == {"parent", "child", "task", "later"}


def test_an_interrupted_wait_stops_nobody_else(line: Line, pool: ThreadPoolExecutor) -> None:
    leader = hold(line, pool)
    released = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    released.start()
    with pytest.raises(KeyboardInterrupt):
        line.insert("interrupted")
    line.go_on.set()
    leader.result(PATIENCE)
    line.insert("later")
    assert line.names() == {"gate", "later"}


async def test_tasks_share_commits_without_blocking_their_loop(line: Line, pool: ThreadPoolExecutor) -> None:
    loop = asyncio.get_running_loop()
    leader = loop.run_in_executor(pool, line.insert, "gate")
    assert await loop.run_in_executor(pool, line.entered.wait, PATIENCE)
    records = [Tally(name=f"t{number}") for number in range(30)]

    def work(record: Tally) -> Callable[[Scope], object]:
        return lambda scope: line.tallies.writes.insert(scope, [record], "task")

    tasks = [asyncio.create_task(write_async(work(record))) for record in records]
    await loop.run_in_executor(pool, queued, 30)
    before = line.commits
    line.go_on.set()
    await asyncio.gather(leader, *tasks)
    assert line.commits == before + 1
    assert {record.id for record in records} >= {2, 31}


async def test_a_task_that_is_cancelled_while_it_waits_has_written_nothing(
    line: Line, pool: ThreadPoolExecutor
) -> None:
    loop = asyncio.get_running_loop()
    leader = loop.run_in_executor(pool, line.insert, "gate")
    assert await loop.run_in_executor(pool, line.entered.wait, PATIENCE)
    record = Tally(name="never")
    task = asyncio.create_task(write_async(lambda scope: line.tallies.writes.insert(scope, [record], "task")))
    await loop.run_in_executor(pool, queued, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    line.go_on.set()
    await leader
    assert line.names() == {"gate"}


async def test_a_task_that_is_cancelled_while_its_work_runs_is_told_after_the_commit(
    line: Line, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    record = Tally(name="gate")
    task = asyncio.create_task(write_async(lambda scope: line.tallies.writes.insert(scope, [record], "task")))
    assert await asyncio.get_running_loop().run_in_executor(pool, line.entered.wait, PATIENCE)
    for _ in range(3):  # asyncio's users cancel once, anyio as long as it takes
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
    line.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert line.names() == {"gate"}
    assert "committed all the same" in caplog.text


async def test_a_task_that_runs_out_of_time_has_what_failed_undone(line: Line, pool: ThreadPoolExecutor) -> None:
    line.insert("taken")
    undone: list[str] = []

    def work(scope: Scope) -> None:
        scope.outcomes.add(rolled_back=lambda: undone.append("gate"))
        line.tallies.writes.insert(scope, [Tally(name="gate")], "task")
        line.tallies.writes.insert(scope, [Tally(name="taken")], "task")

    async def give_up(limit: anyio.CancelScope) -> None:
        assert await asyncio.get_running_loop().run_in_executor(pool, line.entered.wait, PATIENCE)
        limit.cancel()
        asyncio.get_running_loop().call_soon(line.go_on.set)

    with anyio.CancelScope() as limit:
        giving_up = asyncio.create_task(give_up(limit))
        await write_async(work)
    assert limit.cancelled_caught
    await giving_up
    assert undone == ["gate"]
    assert line.names() == {"taken"}


async def test_a_task_with_a_transaction_may_not_wait_for_another_thread(line: Line) -> None:
    with database.transaction(), pytest.raises(WriteWouldDeadlock):
        await write_async(lambda scope: line.tallies.writes.insert(scope, [Tally(name="x")], "task"))


async def test_a_transaction_of_the_same_loop_is_not_waited_for(line: Line) -> None:
    opened, over = asyncio.Event(), asyncio.Event()

    async def keep_open() -> None:
        with database.transaction():
            line.insert("inside")
            opened.set()
            await over.wait()

    keeper = asyncio.create_task(keep_open())
    await opened.wait()
    with pytest.raises(WriteWouldDeadlock):
        line.insert("would block the loop")
    waiting = asyncio.create_task(database.in_thread(line.insert, "waits its turn"))
    await asyncio.sleep(0)
    over.set()
    await asyncio.gather(keeper, waiting)
    assert line.names() == {"inside", "waits its turn"}


def test_transactions_and_single_writes_take_turns(line: Line, pool: ThreadPoolExecutor) -> None:
    def in_transaction(number: int) -> None:
        with database.transaction():
            line.insert(f"t{number}a")
            line.insert(f"t{number}b")

    def insert(name: str) -> None:
        line.insert(name)

    jobs = [pool.submit(in_transaction, number) for number in range(15)]
    jobs += [pool.submit(insert, f"s{number}") for number in range(60)]
    for job in jobs:
        job.result(PATIENCE)
    assert len(line.names()) == 90
    assert line.audited() == 90


PROGRAM = """
import sys, threading
sys.path.insert(0, sys.argv[4])
from tests.integration.test_group_commit import Tally
from storage.accessor import ModelAccessor
from storage.bootstrap import bootstrap
bootstrap(database_url=sys.argv[1])
tallies = ModelAccessor(Tally, "tallies")
def write(thread):
    for number in range(int(sys.argv[3])):
        tallies.insert(Tally(name=f"{sys.argv[2]}-{thread}-{number}"))
threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_two_processes_write_at_once_and_lose_nothing(line: Line, tmp_path: Path, project: Path) -> None:
    url = f"sqlite:///{tmp_path}/line.db"
    environment = {**os.environ, "PYTHONPATH": str(project), "VENTION_STORAGE_BUSY_TIMEOUT": "60"}
    command = [sys.executable, "-c", PROGRAM, url]
    running = [
        subprocess.Popen([*command, name, "25", str(project)], env=environment, stderr=subprocess.PIPE)
        for name in ("left", "right")
    ]
    for process in running:
        _, errors = process.communicate(timeout=3 * PATIENCE)
        assert (process.returncode, errors) == (0, b"")
    assert len(line.names()) == 2 * 8 * 25
    assert line.audited() == 2 * 8 * 25


def test_the_log_stays_small_while_readers_and_writers_go_on(
    line: Line, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    stop = threading.Event()

    def read_on() -> int:
        reads = 0
        while not stop.is_set():
            line.tallies.all()
            reads += 1
        return reads

    readers = [pool.submit(read_on) for _ in range(3)]
    for number in range(600):
        line.insert(f"{number}" + "x" * 10_000)
    stop.set()
    assert all(reader.result(PATIENCE) > 0 for reader in readers)
    assert (tmp_path / "line.db-wal").stat().st_size < 2 * LOG_LIMIT


def test_a_file_that_was_replaced_is_not_written_to_and_comes_back_without_a_restart(
    line: Line, tmp_path: Path
) -> None:
    line.insert("kept")
    file = tmp_path / "line.db"
    for suffix in ("", "-wal"):
        file.with_name(f"line.db{suffix}").rename(tmp_path / f"away{suffix}")
    for attempt in (lambda: line.insert("lost"), line.names):
        with pytest.raises(DatabaseUnavailable, match="removed or replaced"):
            attempt()
    assert not file.exists()
    for suffix in ("-shm", "-wal"):
        file.with_name(f"line.db{suffix}").unlink(missing_ok=True)
    for suffix in ("", "-wal"):
        (tmp_path / f"away{suffix}").rename(file.with_name(f"line.db{suffix}"))
    line.insert("again")
    assert line.names() == {"kept", "again"}
