"""An import and those who write meanwhile: what needs no lock is done without it, and who waits in vain knows why."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from storage.database import current_database, get_engine, transaction
from storage.errors import ArchiveInvalid, DatabaseBusy, WriteWouldDeadlock
from storage.transfer.archive_import import import_archive
from storage.transfer.archive_rows import RowReader
from tests.integration.storage.archives import GOOD, Accessors, recipes_with
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Recipe

PATIENCE = 10.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    """SQLite, where all writers wait; on PostgreSQL those do who write to the same tables."""
    return f"sqlite:///{tmp_path}/machine.db"


@pytest.fixture
def impatient(engine: Engine) -> Iterator[None]:
    """Writers that wait no longer than a moment."""
    gate = current_database().dialect.gate_of(engine)
    assert gate is not None
    gate.timeout = 0.05
    yield
    gate.timeout = PATIENCE


def start_import(accessors: Accessors, archive: io.BytesIO, pool: ThreadPoolExecutor) -> Callable[[], object]:
    """Import until a record is being written; what it returns lets the import go on and waits for its end."""
    inside, go_on = threading.Event(), threading.Event()

    @accessors["recipe"].before_insert()
    def wait(session: Session, instance: Recipe) -> None:
        inside.set()
        go_on.wait(PATIENCE)

    done: Future[object] = pool.submit(import_archive, archive, accessors.values())
    assert inside.wait(PATIENCE)

    def finish() -> object:
        go_on.set()
        return done.result(PATIENCE)

    return finish


def test_who_waits_in_vain_is_told_of_the_import(accessors: Accessors, impatient: None) -> None:
    archive = recipes_with(accessors, GOOD)

    def write_in_a_transaction() -> None:
        with transaction():
            accessors["bin"].insert(Bin(code="x"))

    with ThreadPoolExecutor(1) as pool:
        finish = start_import(accessors, archive, pool)
        try:
            for write in (lambda: accessors["bin"].insert(Bin(code="x")), write_in_a_transaction):
                with pytest.raises(DatabaseBusy, match="because an import is under way; try again when") as caught:
                    write()
                assert caught.value.task == "an import"
        finally:
            finish()
    accessors["bin"].insert(Bin(code="x"))


def test_who_stands_in_line_behind_another_one_is_told_too(accessors: Accessors, impatient: None) -> None:
    archive = recipes_with(accessors, GOOD)
    with ThreadPoolExecutor(4) as pool:
        finish = start_import(accessors, archive, pool)
        try:
            waiting = [pool.submit(accessors["bin"].insert, Bin(code=f"{number}")) for number in range(3)]
            told = [future.exception(PATIENCE) for future in waiting]
        finally:
            finish()
    assert {getattr(error, "task", None) for error in told} == {"an import"}


def test_a_bad_archive_makes_nobody_wait(accessors: Accessors, impatient: None, audit: Audit) -> None:
    archive = recipes_with(accessors, GOOD, ["2", "bad", "fast", "", ""])
    with ThreadPoolExecutor(1) as pool, transaction():
        accessors["bin"].insert(Bin(code="x"))
        refused = pool.submit(import_archive, archive, accessors.values())
        with pytest.raises(ArchiveInvalid, match="speed must be a number"):
            refused.result(PATIENCE)
    assert len(audit()) == 1


def test_a_dry_run_makes_nobody_wait(accessors: Accessors, impatient: None, audit: Audit) -> None:
    accessors["recipe"].insert_many([Recipe(name="a"), Recipe(name="b")])
    archive = recipes_with(accessors, GOOD, ["3", "new", "1.0", "", ""])

    @accessors["recipe"].after_insert()
    def write_too(session: Session, instance: Recipe) -> None:
        accessors["bin"].insert(Bin(code=instance.name))
        assert [bin_.code for bin_ in accessors["bin"].all()] == ["new"]
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(accessors["bin"].insert, Bin(code="meanwhile")).result(PATIENCE).id == 1

    report = import_archive(archive, accessors.values(), mode="replace", dry_run=True)

    (table,) = (table for table in report.tables if table.table == "recipe")
    assert (table.inserted, table.updated, table.unchanged, table.removed) == (1, 1, 0, 1)
    assert [recipe.name for recipe in accessors["recipe"].all()] == ["a", "b"]
    assert [bin_.code for bin_ in accessors["bin"].all()] == ["meanwhile"]
    assert [entry.component for entry in audit()] == ["recipes", "recipes", "bins"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_hook_that_writes_in_a_session_of_its_own_is_refused(accessors: Accessors, *, dry_run: bool) -> None:
    """Also in a dry run, where it would write to the database and not to the copy."""

    @accessors["recipe"].before_insert()
    def write_past_it(session: Session, instance: Recipe) -> None:
        with Session(get_engine()) as own:
            own.add(Bin(code="past it"))
            own.commit()

    with pytest.raises(WriteWouldDeadlock, match="use_session"):
        import_archive(recipes_with(accessors, GOOD), accessors.values(), dry_run=dry_run)

    assert (accessors["bin"].all(), accessors["recipe"].all()) == ([], [])
    assert accessors["bin"].insert(Bin(code="after it")).id == 1


def test_a_dry_run_in_a_transaction_sees_what_that_has_written(accessors: Accessors, audit: Audit) -> None:
    archive = recipes_with(accessors, GOOD)
    with transaction():
        accessors["recipe"].insert(Recipe(name="a"))
        report = import_archive(archive, accessors.values(), dry_run=True)
    (table,) = (table for table in report.tables if table.table == "recipe")
    assert (table.inserted, table.updated) == (0, 1)
    assert [recipe.name for recipe in accessors["recipe"].all()] == ["a"]


def test_others_write_while_an_archive_is_read(accessors: Accessors, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = recipes_with(accessors, GOOD)
    written: list[int | None] = []

    def write(reader: RowReader, row: object) -> object:
        with ThreadPoolExecutor(1) as pool:
            written.append(pool.submit(accessors["bin"].insert, Bin(code="x")).result(PATIENCE).id)
        return row_of(reader, row)  # type: ignore[arg-type]

    row_of = RowReader.row_of
    monkeypatch.setattr(RowReader, "row_of", write)

    import_archive(archive, accessors.values())

    assert written == [1]
    assert [bin_.code for bin_ in accessors["bin"].all()] == ["x"]
