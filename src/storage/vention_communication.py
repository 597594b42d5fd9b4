"""The bundle: accessors as RPCs, ready to be added to an app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from communication.entries import RpcBundle
from storage.accessor import ModelAccessor
from storage.database import after_commit
from storage.errors import ConfigurationError
from storage.rpc.archive import archive_entries
from storage.rpc.backup import backup_entries
from storage.rpc.diagram import diagram_entries
from storage.rpc.entries import record_entries
from storage.rpc.health import health_entries
from storage.rpc.served import note_served
from storage.rpc.trail import trail_entries
from storage.transfer.restore import MAX_BYTES


def build_storage_bundle(
    *,
    accessors: Sequence[ModelAccessor[Any]],
    max_records_per_model: int | None = 5,
    enable_db_actions: bool = True,
    max_upload_bytes: int = MAX_BYTES,
) -> RpcBundle:
    """Make the bundle that serves accessors as RPCs; streams of the same app publish after the commit.

    Args:
        accessors: Whose records; each gives List, Get, Create, Update, Delete and Restore.
        max_records_per_model: How many active records Create and Restore may leave in a table, None for any number.
        enable_db_actions: Whether the database's own actions are served too: `DatabaseHealth`, `DatabaseReadAudit` and
            so on.
        max_upload_bytes: The largest request of those that take a whole file, 1 GiB unless told otherwise.

    Returns:
        A bundle for `app.add_bundle()`.

    Raises:
        ConfigurationError: The limit is negative.

    Example:
        >>> from sqlmodel import Field, SQLModel
        >>> class Fixture(SQLModel, table=True):
        ...     id: int | None = Field(default=None, primary_key=True)
        ...     name: str
        >>> bundle = build_storage_bundle(accessors=[ModelAccessor(Fixture, "fixtures")])
        >>> [entry.name for entry in bundle.actions][:3]
        ['FixturesListRecords', 'FixturesGetRecord', 'FixturesCreateRecord']
    """
    if max_records_per_model is not None and max_records_per_model < 0:
        message = f"max_records_per_model is {max_records_per_model}"
        raise ConfigurationError(message, hint="give a number of records, or None for no limit")
    actions = [entry for accessor in accessors for entry in record_entries(accessor, max_records_per_model)]
    if enable_db_actions:
        note_served(accessors)
        actions += [*health_entries(), *backup_entries(max_upload_bytes)]
        actions += [*trail_entries(), *archive_entries(max_upload_bytes), *diagram_entries()]
    return RpcBundle(actions=actions, defer=after_commit)


build_storage_rpc_bundle = build_storage_bundle
"""Another name of `build_storage_bundle`."""
