"""An accessor as entries: the RPCs of one component."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from communication.entries import ActionEntry
from communication.naming import component_prefix, legacy_component_prefix
from storage.accessor import ModelAccessor
from storage.rpc.fitting import fit_to_wire
from storage.rpc.handlers import CreateRecord, DeleteRecord, GetRecord, ListRecords, RestoreRecord, UpdateRecord
from storage.rpc.messages import (
    CreateRequest,
    DeleteResponse,
    GetRequest,
    KeyRequest,
    ListRequest,
    ListResponse,
    RecordResponse,
    UpdateRequest,
    record_message,
    wire_annotation,
)


def record_entries(accessor: ModelAccessor[Any], limit: int | None) -> list[ActionEntry]:
    """Make the entries of an accessor: List, Get, Create, Update, Delete and Restore.

    Args:
        accessor: Whose records; its component names the RPCs, `users` gives `UsersListRecords`.
        limit: How many active records Create and Restore may leave, None for any number.
    """
    # Any, since these types are made from the model at run time.
    model: Any = accessor.model
    fit_to_wire(accessor.codec)
    record: Any = record_message(model)
    key: Any = wire_annotation(accessor.codec.key)
    answer: Any = RecordResponse[record]

    def entry(name: str, handler: Callable[..., Any], request: Any, response: Any) -> ActionEntry:
        aliases = (f"{legacy_component_prefix(accessor.component)}{name}",)
        return ActionEntry(f"{component_prefix(accessor.component)}{name}", handler, request, response, aliases=aliases)

    return [
        entry("ListRecords", ListRecords(accessor), ListRequest, ListResponse[record]),
        entry("GetRecord", GetRecord(accessor), GetRequest[key], answer),
        entry("CreateRecord", CreateRecord(accessor, limit), CreateRequest[record], answer),
        entry("UpdateRecord", UpdateRecord(accessor), UpdateRequest[key, record], answer),
        entry("DeleteRecord", DeleteRecord(accessor), KeyRequest[key], DeleteResponse),
        entry("RestoreRecord", RestoreRecord(accessor, limit), KeyRequest[key], answer),
    ]
