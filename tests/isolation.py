"""What programs in one process would share without wanting to: declared models, decorated functions, the database."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from sqlmodel import SQLModel

from communication.decorators import default_registry
from storage.auditor import AuditLog


@contextmanager
def fresh_registries() -> Iterator[None]:
    """Forget, at the end, the models and the decorated functions that were declared meanwhile."""
    tables = {*SQLModel.metadata.tables, str(AuditLog.__tablename__)}
    noted = (default_registry._actions, default_registry._streams)
    default_registry._actions, default_registry._streams = {}, {}
    try:
        yield
    finally:
        default_registry._actions, default_registry._streams = noted
        for name in set(SQLModel.metadata.tables) - tables:
            SQLModel.metadata.remove(SQLModel.metadata.tables[name])
        gc.collect()
