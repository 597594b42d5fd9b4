"""A private copy of a SQLite database, on which something can be tried while others go on writing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from storage.dialects.sqlite import SQLITE
from storage.scope import Scope, open_transaction, translated
from storage.transfer.disk import disk_errors_translated
from storage.transfer.sqlite_file import copy_database, live_database
from storage.transfer.workspace import need_space

_COPIES = 2
"""How many times the size of the database is needed, for the copy and for what is written to it."""


@contextmanager
def rehearsal(room: Path) -> Iterator[Scope]:
    """Open a write transaction on a copy of what is committed now; what accessors do in this block, they do there.

    What the caller would write past them, in a session of its own, is refused as it would be in a real transaction.

    Args:
        room: A workspace for the copy.

    Yields:
        The scope of the transaction, which the caller ends by an error.

    Raises:
        NotSupported: The database is not SQLite.
        DatabaseUnavailable: The disk has no room for the copy.
    """
    live = live_database("copy", "try it on a copy that pg_dump and pg_restore make")
    copy = room / "rehearsal.sqlite"
    with translated(SQLITE), live.connection() as source:
        (pages,), (size,) = (source.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        need_space(room, _COPIES * pages * size)
        with disk_errors_translated():
            copy_database(source, copy)
    engine = SQLITE.create_engine(URL.create("sqlite", database=str(copy)), busy_timeout=live.gate.timeout)
    try:
        with live.gate.closed_to_caller(), open_transaction(engine, SQLITE) as scope:
            yield scope
    finally:
        engine.dispose()
