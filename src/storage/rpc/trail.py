"""The RPC DatabaseReadAudit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from communication.contract.markers import Int64
from communication.entries import ActionEntry
from communication.wire.free_json import MAX_DEPTH
from storage import trail
from storage.database import in_thread
from storage.errors import Problem, RecordInvalid
from storage.rpc.errors import told_to_caller
from storage.rpc.served import served_components
from storage.transfer.backup import COMPONENT
from storage.values import JSON_INTEGER


class ReadAuditRequest(BaseModel):
    """What DatabaseReadAudit is asked with: an entry must pass every filter that is present."""

    component: str | None = None
    """The component name of the accessor that wrote; `database` for backups and restores of the whole."""
    record_id: Int64 | None = None
    """The record's key, where it is an integer."""
    record_key: str | None = None
    """The record's key as text, for every kind of key."""
    actor: str | None = None
    """Who did it."""
    operation: str | None = None
    """What was done: `create`, `update`, `delete`, `soft_delete`, `restore`, `backup`."""
    since: datetime | None = None
    """The earliest time, itself included."""
    until: datetime | None = None
    """The time before which it was, itself excluded."""
    limit: int = trail.DEFAULT_LIMIT
    """How many entries at most, from 1 to 1000."""
    offset: Int64 = 0
    """How many of the newest to pass over."""


class DatabaseAuditEntry(BaseModel):
    """One change of one record."""

    id: Int64
    """Counts up."""
    timestamp: datetime
    """When."""
    component: str
    """The component name of the accessor that wrote."""
    record_id: Int64 | None = None
    """The record's key where it is an integer."""
    record_key: str
    """The record's key as text, for every kind of key."""
    operation: str
    """What was done: `create`, `update`, `delete`, `soft_delete`, `restore`, `backup`."""
    actor: str
    """Who did it."""
    before: Any | None = None
    """The whole record before, absent where there was none; integers that a double cannot hold are texts."""
    after: Any | None = None
    """The whole record after, likewise."""
    changed: list[str]
    """The fields whose values differ before and after."""


class ReadAuditResponse(BaseModel):
    """What DatabaseReadAudit answers."""

    entries: list[DatabaseAuditEntry]
    """The entries, the newest first."""


@dataclass(frozen=True)
class ReadAudit:
    """Reads the audit trail."""

    async def __call__(self, request: ReadAuditRequest) -> Mapping[str, Any]:
        """Answer the RPC."""
        with told_to_caller():
            return await in_thread(_read, request)


def trail_entries() -> list[ActionEntry]:
    """Make the entry of DatabaseReadAudit."""
    aliases = ("Database_ReadAudit",)
    return [ActionEntry("DatabaseReadAudit", ReadAudit(), ReadAuditRequest, ReadAuditResponse, aliases=aliases)]


def _read(request: ReadAuditRequest) -> Mapping[str, Any]:
    filters = {name: getattr(request, name) for name in ReadAuditRequest.model_fields}
    entries = trail.read_trail(**filters)
    if not entries and request.component is not None:
        _check_component(request.component)
    return {"entries": [_printed(entry) for entry in entries]}


def _check_component(name: str) -> None:
    """Refuse a name that is in no use, unless the trail knows it from a time when it was."""
    known = {*served_components(), COMPONENT}
    if name not in known and not trail.read_trail(component=name, limit=1):
        message = f"must be one that is served, or that the trail has entries of: {', '.join(sorted(known))}"
        raise RecordInvalid("the request", [Problem(field="component", message=message)])


def _printed(entry: trail.AuditEntry) -> Mapping[str, Any]:
    return {**vars(entry), "before": _for_wire(entry.before), "after": _for_wire(entry.after), "changed": entry.changed}


def _for_wire(value: Any, depth: int = 0) -> Any:
    """Free JSON on the wire has doubles, and a depth: what does not fit goes as text, so that nothing is altered."""
    if isinstance(value, dict | list) and depth == MAX_DEPTH:
        return to_json(value).decode()
    if isinstance(value, dict):
        return {key: _for_wire(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_for_wire(item, depth + 1) for item in value]
    fits = not isinstance(value, int | float) or (math.isfinite(value) and abs(value) <= JSON_INTEGER)
    return value if fits or (isinstance(value, float) and math.isfinite(value)) else str(value)
