"""Another database is chosen: nothing of the old one stays open once the calls that were running have ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from storage import database
from storage.accessor import ModelAccessor
from storage.database import current_database, get_engine, set_database_url, transaction
from storage.dialects.sqlite import SQLiteDialect
from tests.integration.storage.conftest import make_tables
from tests.integration.storage.models import Bin

PATIENCE = 10
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="/proc tells what files are open")


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setattr(database, "_door", database._Door())
    path = tmp_path / "old.db"
    set_database_url(f"sqlite:///{path}")
    make_tables(get_engine())
    yield path
    set_database_url("sqlite://")


@pytest.fixture
def bins(file: Path) -> ModelAccessor[Bin]:
    accessor = ModelAccessor(Bin, "bins")
    accessor.insert(Bin(code="A1"))
    return accessor


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def handles(file: Path) -> list[str]:
    found = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(handle.readlink()))
        except FileNotFoundError:  # that of the folder itself
            continue
    return [name for name in found if name.startswith(str(file))]


def test_the_connections_that_threads_keep_are_closed(
    bins: ModelAccessor[Bin], file: Path, pool: ThreadPoolExecutor
) -> None:
    bins.all()
    pool.submit(bins.all).result(PATIENCE)
    assert handles(file)
    set_database_url("sqlite://")

    assert handles(file) == []


class Pause:
    """Lets a call begin, and end when it is told to."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self, *_arguments: Any) -> None:
        self.begun.set()
        assert self.end.wait(PATIENCE)


def read(bins: ModelAccessor[Bin], pause: Pause, patch: pytest.MonkeyPatch) -> Callable[[], object]:
    bins.get(1)
    patch.setattr(SQLiteDialect, "check_connection", pause)
    return bins.all


def write(bins: ModelAccessor[Bin], pause: Pause, patch: pytest.MonkeyPatch) -> Callable[[], object]:
    bins.after_insert()(pause)
    return lambda: bins.insert(Bin(code="A2"))


def transact(bins: ModelAccessor[Bin], pause: Pause, patch: pytest.MonkeyPatch) -> Callable[[], object]:
    def work() -> None:
        with transaction():
            bins.insert(Bin(code="A2"))
            pause()

    return work


def use(bins: ModelAccessor[Bin], pause: Pause, patch: pytest.MonkeyPatch) -> Callable[[], object]:
    def work() -> None:
        with Session(get_engine()) as session:
            session.exec(select(Bin)).all()
            pause()

    return work


@pytest.mark.parametrize("call", [read, write, transact, use])
def test_a_call_that_is_running_ends_well_and_leaves_nothing_open(
    bins: ModelAccessor[Bin], file: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    pause = Pause()
    running = pool.submit(call(bins, pause, monkeypatch))
    assert pause.begun.wait(PATIENCE)
    set_database_url("sqlite://")
    assert handles(file)
    pause.end.set()
    running.result(PATIENCE)

    assert handles(file) == []


def test_a_database_that_is_closed_and_used_again_keeps_nothing_open(bins: ModelAccessor[Bin], file: Path) -> None:
    old = current_database()
    set_database_url("sqlite://")
    assert old.commits is not None
    old.commits.run(lambda scope: scope.connection.exec_driver_sql("SELECT 1").scalar())
    assert old.readers.read(lambda driver: driver.cursor().execute("SELECT 1")) is not None
    with Session(old.engine) as session:
        assert len(session.exec(select(Bin)).all()) == 1

    assert handles(file) == []
