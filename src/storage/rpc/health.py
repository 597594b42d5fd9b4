"""The RPC DatabaseHealth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError

from communication.contract.markers import Int64
from communication.entries import ActionEntry
from storage.database import in_thread
from storage.health import Health, check_health
from storage.rpc.errors import told_to_caller
from storage.rpc.served import served_accessors


class ServedAccessor(BaseModel):
    """What is served of one model."""

    component: str
    """The component name of its accessor."""
    model: str
    """The name of its class."""
    audited: bool
    """Whether its writes are told in the audit trail."""


class HealthResponse(BaseModel):
    """What DatabaseHealth answers; what a kind of database does not have is absent."""

    status: str
    """`ok` or `degraded`."""
    reasons: list[str]
    """Why it is degraded."""
    database: str
    """The kind of database: `sqlite` or `postgresql`."""
    version: str | None = None
    """The version of SQLite, or of the server."""
    wal_reset_bug: bool | None = None
    """Whether that SQLite can corrupt a database that two connections write at once."""
    journal_mode: str | None = None
    """SQLite's journal: `wal`."""
    synchronous: str | None = None
    """When SQLite waits for the disk: `full` loses nothing in a power cut."""
    size_bytes: Int64 | None = None
    """The size of the database."""
    wal_size_bytes: Int64 | None = None
    """The size of SQLite's write-ahead log."""
    free_disk_bytes: Int64 | None = None
    """What the disk of a SQLite file has left."""
    schema_up_to_date: bool
    """Whether the tables are what the models say."""
    accessors: list[ServedAccessor]
    """What is served."""
    last_backup: datetime | None = None
    """When all was last known to be in a backup: one was made, or restored."""


@dataclass(frozen=True)
class DatabaseHealth:
    """Looks at the database."""

    async def __call__(self) -> Mapping[str, Any]:
        """Answer the RPC."""
        with told_to_caller():
            return _told(await in_thread(_look))


def health_entries() -> list[ActionEntry]:
    """Make the entry of DatabaseHealth."""
    return [ActionEntry("DatabaseHealth", DatabaseHealth(), None, HealthResponse, aliases=("Database_Health",))]


def _look() -> Health:
    try:
        accessors = served_accessors()
    except DBAPIError:  # the database does not answer, which check_health says
        accessors = ()
    return check_health(accessors)


def _told(health: Health) -> Mapping[str, Any]:
    engine, room = health.engine, health.room
    return {
        "status": health.status.value,
        "reasons": list(health.reasons),
        "database": health.database,
        "version": engine and engine.version,
        "wal_reset_bug": engine and engine.wal_reset_bug,
        "journal_mode": engine and engine.journal_mode,
        "synchronous": engine and engine.synchronous,
        "size_bytes": room and room.size,
        "wal_size_bytes": room and room.wal_size,
        "free_disk_bytes": room and room.free_disk,
        "schema_up_to_date": health.schema_up_to_date,
        "accessors": health.accessors,
        "last_backup": health.last_backup,
    }
