"""The replacement of the live database by a candidate, as one transaction of SQLite's.

The copy runs in two or three steps. The first takes SQLite's write lock, the last commits; between the two nobody else
can write, in this process or another. That is when the safety copy is made and the candidate learns what must not be
lost: nothing can be committed that neither has.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import cast

from sqlalchemy import Connection

from storage.auditor import Change, Operation, write_audit
from storage.damage import forget_damage
from storage.dialects.sqlite import SQLITE
from storage.dialects.sqlite_driver import DRIVER, GatedConnection
from storage.errors import DatabaseBusy, DatabaseUnavailable
from storage.scope import Scope
from storage.transfer.backup import COMPONENT
from storage.transfer.candidate import Candidate, faults_of_file
from storage.transfer.safety_copy import make_safety_copy, remove_old_safety_copies
from storage.transfer.sqlite_file import LiveDatabase, private_connection

logger = logging.getLogger("storage")


class Replacement:
    """A candidate on its way into the live file.

    Args:
        live: The database.
        path: Its file.
        room: A workspace on the same disk.
        candidate: What it becomes.
        filename: What the audit trail calls the candidate.
        actor: Who does it, for the audit trail.
    """

    def __init__(
        self, *, live: LiveDatabase, path: Path, room: Path, candidate: Candidate, filename: str, actor: str
    ) -> None:
        self._live = live
        self._path = path
        self._room = room
        self._candidate = candidate
        self._filename = filename
        self._actor = actor
        self._safety_copy: Path | None = None
        self._entry_id = 0

    def run(self) -> Path:
        """Replace the database.

        Returns:
            Where the one before is.

        Raises:
            BackupInvalid: The candidate cannot be written, of which no check told.
            DatabaseBusy: Another writer kept its lock longer than the busy timeout.
            DatabaseUnavailable: The disk is full or broken; the database is as it was.
        """
        with self._candidate.engine() as engine, engine.connect() as connection, _alone(self._live):
            try:
                self._copy_into_live(_driver_of(connection), lambda: self._while_nobody_writes(connection))
            except BaseException:
                self._drop_safety_copy()
                raise
            logger.info("restore of %s: the database is replaced", self._filename)
            assert self._safety_copy is not None  # noqa: S101 - nothing is replaced without one
            if self._is_in_place() is None:  # False: another process has restored something else since
                self._put_back(self._safety_copy)
        forget_damage()
        self._shorten_log()
        remove_old_safety_copies(self._path, self._safety_copy)
        logger.info("restore of %s: done, the database before is in %s", self._filename, self._safety_copy.name)
        return self._safety_copy

    def _copy_into_live(self, source: sqlite3.Connection, while_locked: Callable[[], None]) -> None:
        locked = False

        def step(status: int, _remaining: int, _total: int) -> None:
            nonlocal locked
            if status in {DRIVER.SQLITE_BUSY, DRIVER.SQLITE_LOCKED}:
                message = "another process had the database locked for too long"
                raise DatabaseBusy(message, hint="try again, or raise VENTION_STORAGE_BUSY_TIMEOUT")
            if status == DRIVER.SQLITE_OK and not locked:
                locked = True
                while_locked()

        (pages,) = source.execute("PRAGMA page_count").fetchone()
        with self._live.connection() as target:
            source.backup(target, pages=max(1, pages // 2), progress=step)

    def _while_nobody_writes(self, candidate: Connection) -> None:
        """Keep what is there now, and let the candidate go on from it."""
        logger.info("restore of %s: nobody else can write now", self._filename)
        with self._live.connection() as connection:
            self._safety_copy = make_safety_copy(connection, self._path, self._room)
            logger.info("restore of %s: the safety copy is made", self._filename)
            counters = _counters(connection)
        with faults_of_file("integrity_check"), candidate.begin():
            SQLITE.begin_write(candidate)
            _raise_counters(_driver_of(candidate), counters)
            self._tell(candidate)
        logger.info("restore of %s: the candidate is ready", self._filename)

    def _tell(self, candidate: Connection) -> None:
        """Write the restore into the audit trail that is being restored."""
        assert self._safety_copy is not None  # noqa: S101 - it was made just before
        told = {
            "filename": self._filename,
            "sha256": self._candidate.sha256,
            "rows": dict(self._candidate.rows),
            "safety_copy": self._safety_copy.name,
        }
        change = Change(key=self._filename, operation=Operation.RESTORE, before=None, after=told)
        write_audit(Scope(SQLITE, connection=candidate), COMPONENT, self._actor, [change])
        (self._entry_id,) = _driver_of(candidate).execute("SELECT max(id) FROM auditlog").fetchone()

    def _is_in_place(self) -> bool | None:
        """Read from the live file whether the new database is there; None where it cannot be read."""
        query = "SELECT operation, record_key FROM auditlog WHERE id = ?"
        with suppress(DRIVER.Error), self._live.connection() as connection:
            found = connection.execute(query, (self._entry_id,)).fetchone()
            return bool(found == (Operation.RESTORE.value, self._filename))
        return None

    def _drop_safety_copy(self) -> None:
        """Remove the copy of a database that was certainly not replaced."""
        if self._safety_copy is not None and self._is_in_place() is False:
            self._safety_copy.unlink(missing_ok=True)

    def _put_back(self, safety_copy: Path) -> None:
        """Undo a replacement whose result cannot be read."""
        logger.error("the restored database cannot be read, so the one before is put back")
        with private_connection(safety_copy) as source:
            self._copy_into_live(source, lambda: None)
        message = "the restored database could not be read, so the one before is back"
        raise DatabaseUnavailable(message, hint="check the disk, then try again")

    def _shorten_log(self) -> None:
        """Give the space of the write-ahead log back, which has grown by the whole database, unless somebody reads."""
        with suppress(DRIVER.Error), closing(DRIVER.connect(str(self._path), timeout=0)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _alone(live: LiveDatabase) -> Iterator[None]:
    """Wait for the writers of this process that came before, and let those that come later wait."""
    with live.gate.announced("a restore"):
        live.gate.acquire(live.gate.timeout)
        try:
            yield
        finally:
            live.gate.release()


def _counters(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    """The greatest id that each table ever gave out; of a database too damaged to say, none."""
    try:
        return connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    except DRIVER.DatabaseError as error:
        logger.warning("ids may come back: the database that is being replaced cannot tell them", exc_info=error)
        return []


def _raise_counters(connection: sqlite3.Connection, counters: list[tuple[str, int]]) -> None:
    """Let ids that were given out since the backup not come back."""
    connection.executemany("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1", counters)
    connection.executemany(
        "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, ?2"
        " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
        counters,
    )


def _driver_of(connection: Connection) -> sqlite3.Connection:
    return cast(GatedConnection, connection.connection.driver_connection)
