"""Handlers: what each RPC of an accessor does.

They are equal when accessor and limit are, so that an app knows an entry that it has already.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic

from connectrpc.code import Code
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from communication.errors import FieldViolation, RpcError
from communication.naming import json_name
from storage.accessor import ModelAccessor
from storage.database import current_database, in_thread
from storage.hooks import ModelType
from storage.records import DELETED_AT
from storage.rpc.actors import actor_of
from storage.rpc.errors import told_to_caller
from storage.rpc.messages import (
    CreateRequest,
    GetRequest,
    KeyRequest,
    ListRequest,
    UpdateRequest,
    printer_of,
)
from storage.scope import Scope
from storage.writer import write_async

Response = Mapping[str, Any]
_LONGEST_ECHO = 100


@dataclass(frozen=True)
class _Handler(Generic[ModelType]):
    """What the handlers of one accessor share."""

    accessor: ModelAccessor[ModelType]
    """Whose records."""

    def _response(self, record: ModelType | None, key: Any) -> Response:
        if record is None:
            raise self._missing(key)
        return {"record": printer_of(self.accessor.model)(record)}

    def _missing(self, key: Any) -> RpcError:
        if key in (0, ""):  # which is what the wire makes of none
            return _invalid("record_id", f"is missing, or {key!r}, which no record has")
        return RpcError(Code.NOT_FOUND, f"{self.accessor.model.__name__} {_shown(key)} does not exist")

    def _path_in_record(self, name: str) -> str:
        return f"record.{self._attribute(name)}".removesuffix(".")

    def _path_of_key(self, name: str) -> str:
        return "record_id" if name == self.accessor.codec.key.name else self._path_in_record(name)

    def _attribute(self, name: str) -> str:
        """The attribute of a column, by whose name the database reports what is taken."""
        codec = self.accessor.codec
        return next((column.name for column in codec.columns if name == column.column.name), name)

    def _values(self, record: BaseModel) -> dict[str, Any]:
        """The attributes that the caller sent."""
        # By the dunder, since a column may be called like the property.
        values = {name: getattr(record, name) for name in record.__pydantic_fields_set__}
        if self.accessor.codec.soft_delete and values.get(DELETED_AT) is not None:
            raise _invalid(f"record.{DELETED_AT}", "is set by Delete and Restore only")
        return values


@dataclass(frozen=True)
class ListRecords(_Handler[ModelType]):
    """Lists records in the order of their keys, by pages where the caller asks for them."""

    async def __call__(self, request: ListRequest) -> Response:
        """Answer the RPC."""
        return await in_thread(self._list, request)

    def _list(self, request: ListRequest) -> Response:
        printed = printer_of(self.accessor.model)
        with told_to_caller(lambda _: "page_token"):
            if request.page_size < 0:
                raise _invalid("page_size", "must not be negative")
            if request.page_size == 0 and not request.page_token:
                records, token = self.accessor.all(include_deleted=request.include_deleted), ""
            else:
                records, token = self._page(request)
        return {"records": [printed(record) for record in records], "next_page_token": token}

    def _page(self, request: ListRequest) -> tuple[list[ModelType], str]:
        after = _key_of(request.page_token) if request.page_token else None
        size = request.page_size or None
        asked = None if size is None else size + 1  # one more tells whether there is a next page
        records = self.accessor.page(after=after, size=asked, include_deleted=request.include_deleted)
        if size is None or len(records) <= size:
            return records, ""
        return records[:size], _token_of(getattr(records[size - 1], self.accessor.codec.key.name))


@dataclass(frozen=True)
class GetRecord(_Handler[ModelType]):
    """Reads one record."""

    async def __call__(self, request: GetRequest[Any]) -> Response:
        """Answer the RPC; where reading is cheaper than a hop to another thread, the event loop does it itself."""
        if current_database().dialect.reads_inline:
            return self._get(request)
        return await in_thread(self._get, request)

    def _get(self, request: GetRequest[Any]) -> Response:
        with told_to_caller(self._path_of_key):
            record = self.accessor.get(request.record_id, include_deleted=request.include_deleted)
        return self._response(record, request.record_id)


@dataclass(frozen=True)
class CreateRecord(_Handler[ModelType]):
    """Inserts a record."""

    limit: int | None
    """How many active records there may be, None for any number."""

    async def __call__(self, request: CreateRequest[Any]) -> Response:
        """Answer the RPC."""
        actor, writes = actor_of(request.actor), self.accessor.writes
        given = self._values(request.record)

        def work(scope: Scope) -> ModelType:
            with writes.limited(scope, self.limit):
                return create(scope)

        with told_to_caller(self._path_in_record):
            create = writes.creation(given, actor)
            record = await write_async(work)
        return self._response(record, None)


@dataclass(frozen=True)
class UpdateRecord(_Handler[ModelType]):
    """Changes the fields of a record that the caller sent, or named in the mask."""

    async def __call__(self, request: UpdateRequest[Any, Any]) -> Response:
        """Answer the RPC."""
        actor, changes = actor_of(request.actor), self._changes(request)
        with told_to_caller(self._path_of_key):
            key = self.accessor.codec.validate_key(request.record_id)
            record = await write_async(lambda scope: self.accessor.writes.update(scope, key, changes, actor))
        return self._response(record, request.record_id)

    def _changes(self, request: UpdateRequest[Any, Any]) -> dict[str, Any]:
        changes = self._values(request.record)
        key = self.accessor.codec.key.name
        if changes.pop(key, request.record_id) != request.record_id:
            raise _invalid(f"record.{key}", "differs from record_id")
        if request.update_mask:
            return {name: changes.get(name) for name in self._masked(request.update_mask) if name != key}
        return changes

    def _masked(self, mask: list[str]) -> list[str]:
        """The attributes that a mask names, in either spelling."""
        names = {spelling: name for name in self.accessor.codec.names for spelling in (name, json_name(name))}
        for index, path in enumerate(mask):
            if path not in names:
                raise _invalid(f"update_mask[{index}]", f"{self.accessor.model.__name__} has no field {_shown(path)!r}")
        return [names[path] for path in mask]


@dataclass(frozen=True)
class DeleteRecord(_Handler[ModelType]):
    """Deletes a record, softly where the model has `deleted_at`."""

    async def __call__(self, request: KeyRequest[Any]) -> Response:
        """Answer the RPC."""
        actor = actor_of(request.actor)
        with told_to_caller(self._path_of_key):
            key = self.accessor.codec.validate_key(request.record_id)
            deleted = await write_async(lambda scope: self.accessor.writes.delete(scope, [key], actor))
        if not deleted:
            raise self._missing(request.record_id)
        return {"status": "deleted"}


@dataclass(frozen=True)
class RestoreRecord(_Handler[ModelType]):
    """Brings a soft-deleted record back."""

    limit: int | None
    """How many active records there may be, None for any number."""

    async def __call__(self, request: KeyRequest[Any]) -> Response:
        """Answer the RPC."""
        if not self.accessor.codec.soft_delete:
            message = f"{self.accessor.model.__name__} has no {DELETED_AT} field, so nothing of it can be restored"
            raise RpcError(Code.FAILED_PRECONDITION, message)
        actor, writes = actor_of(request.actor), self.accessor.writes

        def work(scope: Scope) -> ModelType | None:
            with writes.limited(scope, self.limit):
                return writes.restore(scope, key, actor)

        with told_to_caller(self._path_of_key):
            key = self.accessor.codec.validate_key(request.record_id)
            record = await write_async(work)
        return self._response(record, request.record_id)


def _invalid(field: str, description: str) -> RpcError:
    violation = FieldViolation(field=field, description=description)
    return RpcError(Code.INVALID_ARGUMENT, f"the request is invalid: {violation}", violations=[violation])


def _shown(text: Any) -> str:
    """What a caller made up, as far as it is worth saying back."""
    return str(text)[:_LONGEST_ECHO]


def _token_of(key: Any) -> str:
    return base64.urlsafe_b64encode(to_json(key)).decode()


def _key_of(token: str) -> Any:
    try:
        key = from_json(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        key = None
    if key is None:
        raise _invalid("page_token", "is not one that ListRecords gave out")
    return key
