"""What programs in one process would share without wanting to: declared models, decorated functions, the database."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from sqlmodel import SQLModel

from communication.decorators import default_registry
from storage import database
from storage.auditor import AuditLog
from storage.rpc import served


@contextmanager
def fresh_registries() -> Iterator[None]:
    """Forget, at the end, the models and decorated functions that were declared meanwhile, and close the database."""
    tables = {*SQLModel.metadata.tables, str(AuditLog.__tablename__)}
    noted = (default_registry._actions, default_registry._streams)
    accessors, components = dict(served._by_table), set(served._components)
    default_registry._actions, default_registry._streams = {}, {}
    try:
        yield
    finally:
        default_registry._actions, default_registry._streams = noted
        served._by_table.clear()
        served._by_table.update(accessors)
        served._components.intersection_update(components)
        for name in set(SQLModel.metadata.tables) - tables:
            SQLModel.metadata.remove(SQLModel.metadata.tables[name])
        database._door.close_another("")
        database._door.url = None
        gc.collect()
