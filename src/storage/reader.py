"""The read path: what an accessor reads, it reads through `reading`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from storage.database import current_database
from storage.scope import current_scope, translated


@contextmanager
def reading() -> Iterator[Connection]:
    """A connection to read from: that of the open scope, pending changes included, else one without a transaction."""
    scope = current_scope()
    if scope is not None:
        scope.flush()
        with translated(scope.dialect):
            yield scope.connection
        return
    database = current_database()
    with translated(database.dialect), database.engine.connect() as connection:
        yield connection
