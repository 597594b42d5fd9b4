"""Models as messages: the record, and what each RPC is asked with and answers.

The classes here say what is on the wire; each RPC gets messages of its own, named after it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model
from sqlmodel import SQLModel

from communication.contract.markers import ExpectedMarker, FieldPaths, Int64
from storage.columns import ColumnKind, RecordColumn
from storage.hooks import ModelType
from storage.records import Values, codec_of
from storage.values import bind_for, is_typed_json

Key = TypeVar("Key")
Record = TypeVar("Record", bound=BaseModel)

_ANNOTATIONS: dict[ColumnKind, Any] = {
    ColumnKind.SMALLINT: int,
    ColumnKind.INTEGER: int,
    ColumnKind.BIGINT: Int64,
    ColumnKind.TEXT: str,
}


class ListRequest(BaseModel):
    """What ListRecords is asked with."""

    include_deleted: bool = False
    """Whether soft-deleted records are among them."""
    page_size: int = 0
    """How many at most, 0 for all."""
    page_token: str = ""
    """The `next_page_token` of the page before, empty for the first page."""


class ListResponse(BaseModel, Generic[Record]):
    """What ListRecords answers."""

    records: list[Record]
    """The records, in the order of their keys."""
    next_page_token: str = ""
    """Where the next page starts, empty after the last one."""


class GetRequest(BaseModel, Generic[Key]):
    """What GetRecord is asked with."""

    record_id: Key
    """The record's key."""
    include_deleted: bool = False
    """Whether a soft-deleted record counts."""


class CreateRequest(BaseModel, Generic[Record]):
    """What CreateRecord is asked with."""

    record: Record
    """The record; without a key where the database numbers them."""
    actor: str = ""
    """Who does it; empty for the X-User header."""


class UpdateRequest(BaseModel, Generic[Key, Record]):
    """What UpdateRecord is asked with."""

    record_id: Key
    """The record's key."""
    record: Record
    """Its new values; without a mask, the fields that are present change."""
    actor: str = ""
    """Who does it; empty for the X-User header."""
    update_mask: FieldPaths = []
    """The fields to change; one that is named here and absent above becomes null."""


class KeyRequest(BaseModel, Generic[Key]):
    """What DeleteRecord and RestoreRecord are asked with."""

    record_id: Key
    """The record's key."""
    actor: str = ""
    """Who does it; empty for the X-User header."""


class RecordResponse(BaseModel, Generic[Record]):
    """What Get, Create, Update and Restore answer."""

    record: Record
    """The record as it is stored now."""


class DeleteResponse(BaseModel):
    """What DeleteRecord answers."""

    status: str
    """`deleted`."""


@functools.cache
def record_message(model: type[SQLModel]) -> type[BaseModel]:
    """Make the message of a model, named like it; every field tells whether it is present.

    Args:
        model: A class declared with `table=True`.

    Returns:
        A pydantic model whose `model_fields_set` are the fields that a caller sent.
    """
    fields: dict[str, Any] = {column.name: _record_field(model, column) for column in codec_of(model).columns}
    with warnings.catch_warnings():  # of a column named `json` or `copy` the model itself has warned already
        warnings.filterwarnings("ignore", message="Field name .* shadows an attribute", category=UserWarning)
        return create_model(
            model.__name__, __config__=ConfigDict(protected_namespaces=()), __module__=model.__module__, **fields
        )


def _record_field(model: type[SQLModel], column: RecordColumn) -> tuple[Any, Any]:
    """The field of a column; which ones a caller must give, and what for example, shows in sample requests."""
    declared, annotation = model.model_fields[column.name], wire_annotation(column) | None
    if declared.is_required():
        annotation = Annotated[annotation, ExpectedMarker()]
    return annotation, Field(default=None, examples=declared.examples)


def wire_annotation(column: RecordColumn) -> Any:
    """The type of a column on the wire; a pydantic model in a JSON column is a message, other JSON any value."""
    if column.kind is ColumnKind.JSON:
        annotation = column.annotation
        is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        return annotation if is_model and not issubclass(annotation, RootModel) else Any
    return _ANNOTATIONS.get(column.kind, column.annotation)


@functools.cache
def printer_of(model: type[ModelType]) -> Callable[[ModelType], Any]:
    """Make the function that turns a record of a model into what the wire codec prints."""
    codec = codec_of(model)
    # JSON of a type that is no message goes out as the JSON that the column keeps.
    dumps = {
        column.name: bind_for(column)
        for column in codec.columns
        if is_typed_json(column) and wire_annotation(column) is Any
    }
    if not dumps:
        return lambda record: record

    def printed(record: ModelType) -> Values:
        values = {name: getattr(record, name) for name in codec.names}
        for name, dump in dumps.items():
            if dump is not None and values[name] is not None:
                values[name] = dump(values[name])
        return values

    return printed
