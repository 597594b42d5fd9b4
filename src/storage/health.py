"""The health of the database: what it is, how much room it has, and what should worry its owner."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from storage.accessor import ModelAccessor
from storage.auditor import AuditLog, Operation
from storage.damage import damage_seen_at
from storage.database import Database, current_database
from storage.dialects.sqlite_driver import DRIVER, has_wal_reset_bug
from storage.errors import DatabaseUnavailable
from storage.schema.comparison import compare
from storage.scope import translated
from storage.transfer.backup import COMPONENT

_LITTLE_ROOM = 64 << 20  # bytes
_LONG_LOG = 64 << 20  # bytes
_MOST_NAMED = 5
_SYNCHRONOUS = ("off", "normal", "full", "extra")  # https://www.sqlite.org/pragma.html#pragma_synchronous
_DURABLE = ("full", "extra")


class Status(StrEnum):
    """Whether all is well."""

    OK = "ok"
    DEGRADED = "degraded"


@dataclass(frozen=True, kw_only=True)
class AccessorHealth:
    """What is served of one model."""

    component: str
    """The component name of its accessor."""
    model: str
    """The name of its class."""
    audited: bool
    """Whether its writes are told in the audit trail."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a database takes up."""

    size: int
    """The database, in bytes."""
    wal_size: int | None = None
    """The write-ahead log of a SQLite file, in bytes."""
    free_disk: int | None = None
    """What the disk of a SQLite file has left, in bytes."""
    writable: bool = True
    """Whether the SQLite file and its folder can be written."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The software that keeps the data, and how it is set up."""

    version: str
    """The version of SQLite, or of the server."""
    wal_reset_bug: bool = False
    """Whether that SQLite can corrupt a database that two connections write at once."""
    journal_mode: str | None = None
    """SQLite's journal: `wal`, or `memory` for a database in memory; None for a server."""
    synchronous: str | None = None
    """When SQLite waits for the disk: `full` loses nothing in a power cut; None for a server."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """The health of the database."""

    status: Status
    """`degraded` when there is a reason to worry."""
    reasons: tuple[str, ...]
    """The reasons."""
    database: str
    """The kind of database: `sqlite` or `postgresql`."""
    engine: Engine | None
    """Its software; None when it does not answer."""
    room: Room | None
    """What it takes up; None when it does not answer."""
    schema_up_to_date: bool
    """Whether the tables are what the models say."""
    accessors: tuple[AccessorHealth, ...]
    """What is served."""
    last_backup: datetime | None
    """When all was last known to be in a backup: one was made, or restored. In UTC; None if that never was."""


def check_health(accessors: Iterable[ModelAccessor[Any]] = ()) -> Health:
    """Look at the database; it reads a little and writes nothing.

    Args:
        accessors: What is served.

    Returns:
        What was found; a database that does not answer is `degraded`.

    Example:
        >>> from storage.bootstrap import bootstrap
        >>> bootstrap(database_url="sqlite://")
        >>> health = check_health()
        >>> health.status, health.engine.journal_mode, health.last_backup
        (<Status.OK: 'ok'>, 'memory', None)
    """
    database = current_database()
    served = tuple(
        AccessorHealth(component=item.component, model=item.model.__name__, audited=item.enable_auditing)
        for item in accessors
    )
    try:
        with translated(database.dialect):
            return _look(database, served)
    except (DatabaseUnavailable, DBAPIError) as error:
        reason = str(error) if isinstance(error, DatabaseUnavailable) else "the database cannot be read"
        return Health(
            status=Status.DEGRADED,
            reasons=(reason,),
            database=database.dialect.name,
            engine=None,
            room=None,
            schema_up_to_date=False,
            accessors=served,
            last_backup=None,
        )


def _look(database: Database, accessors: tuple[AccessorHealth, ...]) -> Health:
    with database.engine.connect() as connection:
        look = _look_at_sqlite if database.dialect.name == "sqlite" else _look_at_server
        engine, room = look(connection)
        last_backup = _last_backup(connection)
    differences = [
        f"{item.table}.{item.column} {item.what}" if item.column else f"{item.table} {item.what}"
        for item in compare(database.engine, SQLModel.metadata)
    ]
    reasons = (*_worries_about_damage(), *_worries(engine, room), *_worries_about_schema(differences))
    return Health(
        status=Status.DEGRADED if reasons else Status.OK,
        reasons=reasons,
        database=database.dialect.name,
        engine=engine,
        room=room,
        schema_up_to_date=not differences,
        accessors=accessors,
        last_backup=last_backup,
    )


def _look_at_sqlite(connection: sa.Connection) -> tuple[Engine, Room]:
    def pragma(name: str) -> Any:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    engine = Engine(
        version=DRIVER.sqlite_version,
        wal_reset_bug=has_wal_reset_bug(DRIVER.sqlite_version_info),
        journal_mode=pragma("journal_mode"),
        synchronous=_SYNCHRONOUS[pragma("synchronous")],
    )
    size = pragma("page_count") * pragma("page_size")
    file = connection.exec_driver_sql("PRAGMA database_list").all()[0][2]
    if not file:
        return engine, Room(size=size)
    path, log = Path(file), Path(f"{file}-wal")
    return engine, Room(
        size=size,
        wal_size=log.stat().st_size if log.exists() else 0,
        free_disk=shutil.disk_usage(path.parent).free,
        writable=os.access(path, os.W_OK) and os.access(path.parent, os.W_OK),
    )


def _look_at_server(connection: sa.Connection) -> tuple[Engine, Room]:
    version = connection.exec_driver_sql("SHOW server_version").scalar_one()
    size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return Engine(version=version), Room(size=size)


def _last_backup(connection: sa.Connection) -> datetime | None:
    table = cast(sa.Table, AuditLog.__table__)  # type: ignore[attr-defined]
    if not sa.inspect(connection).has_table(table.name):
        return None
    statement = (
        sa.select(table.c.timestamp)
        .where(table.c.component == COMPONENT, table.c.operation.in_([Operation.BACKUP, Operation.RESTORE]))
        .order_by(table.c.timestamp.desc())
        .limit(1)
    )
    found: datetime | None = connection.scalar(statement)
    return found


def _worries_about_damage() -> list[str]:
    seen = damage_seen_at()
    return (
        [] if seen is None else [f"the database is damaged, as was seen at {seen:%Y-%m-%dT%H:%M:%SZ}: restore a backup"]
    )


def _worries(engine: Engine, room: Room) -> list[str]:
    worries = []
    if engine.wal_reset_bug:
        worries.append(
            f"SQLite {engine.version} can corrupt a database that two connections write at once: "
            "install pysqlite3 0.6.1 or newer, or a Python with SQLite 3.51.3 or newer"
        )
    if not room.writable:
        worries.append("the database file or its folder cannot be written: check their permissions and the disk")
    if room.free_disk is not None and room.free_disk < max(_LITTLE_ROOM, room.size):
        free = room.free_disk >> 20
        worries.append(f"the disk has {free} MiB left, too little for a copy of the database: free some")
    if room.wal_size is not None and room.wal_size > max(_LONG_LOG, room.size):
        worries.append(
            f"the write-ahead log has {room.wal_size >> 20} MiB: a reader that stays open keeps it from shrinking"
        )
    if engine.journal_mode not in {None, "wal", "memory"}:
        worries.append(f"journal_mode is {engine.journal_mode}, in which readers and writers wait for each other")
    if engine.synchronous is not None and engine.synchronous not in _DURABLE:
        worries.append(f"synchronous is {engine.synchronous}, which may lose the last writes in a power cut")
    return worries


def _worries_about_schema(differences: list[str]) -> list[str]:
    if not differences:
        return []
    more = f" and {len(differences) - _MOST_NAMED} more" if len(differences) > _MOST_NAMED else ""
    named = ", ".join(differences[:_MOST_NAMED])
    return [f"the database is not what the models say: {named}{more}; bootstrap() tells the SQL that mends it"]
