"""The check that the other torture tests rely on sees whatever is lost or there in halves."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from storage import database
from storage.dialects.sqlite_driver import DRIVER
from tests.torture.ledger import Ledger
from tests.torture.workshop import Part, Workshop, open_file, prepare_file

pytestmark = pytest.mark.torture


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database in which the jobs `a`, which inserts, and `b`, which changes what it inserted, were done."""
    file = tmp_path / "parts.db"
    prepare_file(f"sqlite:///{file}")
    open_file(f"sqlite:///{file}")
    parts = Workshop().parts
    part = parts.insert(Part(job="a"), actor="a")
    part.job = "b"
    parts.save(part, actor="b")
    database.set_database_url("sqlite://")
    return file


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    for line in ("intend a insert", "done a", "intend b update", "done b"):
        ledger.note(line)
    return ledger


def test_what_was_acknowledged_is_all_there(file: Path, ledger: Ledger) -> None:
    ledger.check(file)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM torture_part WHERE job = 'b'",
        "DELETE FROM torture_receipt WHERE job = 'a'",
        "DELETE FROM torture_note WHERE job = 'b'",
        "DELETE FROM auditlog WHERE actor = 'a' AND component = 'receipts'",
        "DELETE FROM auditlog WHERE actor = 'b'",
        "UPDATE torture_part SET revision = 7 WHERE job = 'b'",
        "UPDATE auditlog SET \"before\" = '{}' WHERE actor = 'b'",
        "INSERT INTO torture_part (job, revision) VALUES ('a', 0)",
        "INSERT INTO torture_note (job) VALUES ('nobody')",
    ],
)
def test_a_half_is_seen(file: Path, ledger: Ledger, damage: str) -> None:
    with closing(DRIVER.connect(str(file), isolation_level=None)) as connection:
        assert connection.execute(damage).rowcount == 1
    with pytest.raises(AssertionError):
        ledger.check(file)


def test_a_lost_job_is_seen(file: Path, ledger: Ledger) -> None:
    ledger.note("intend c delete")
    ledger.check(file)
    ledger.note("done c")
    with pytest.raises(AssertionError, match="1 acknowledged jobs are lost"):
        ledger.check(file)


def test_a_job_that_failed_must_not_be_there(file: Path, ledger: Ledger) -> None:
    ledger.done.discard("b")
    ledger.note("failed b DatabaseUnavailable 0.1")
    with pytest.raises(AssertionError, match="b is there though it failed"):
        ledger.check(file)
