"""The write path: everything that an accessor writes goes through `writing`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from storage.database import current_database
from storage.scope import Scope, current_scope, open_transaction


@contextmanager
def writing() -> Iterator[Scope]:
    """A scope to write in, undone alone if the block raises: inside the open one, else a transaction of its own."""
    outer = current_scope()
    if outer is not None:
        with outer.child() as scope:
            yield scope
        return
    database = current_database()
    with open_transaction(database.engine, database.dialect) as scope:
        yield scope
