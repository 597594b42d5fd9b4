"""Python annotations read as kinds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, JsonValue, RootModel
from typing_extensions import TypeAliasType

from communication.contract.markers import FieldPathsMarker, Int64Marker
from communication.contract.types import Kind
from communication.errors import ContractError

_KINDS: Mapping[Any, Kind] = MappingProxyType(
    {
        bool: Kind.BOOL,
        int: Kind.INT32,
        float: Kind.DOUBLE,
        str: Kind.STRING,
        bytes: Kind.BYTES,
        datetime: Kind.TIMESTAMP,
        AwareDatetime: Kind.TIMESTAMP,
        timedelta: Kind.DURATION,
        Decimal: Kind.DECIMAL,
        UUID: Kind.UUID,
        date: Kind.DATE,
        time: Kind.TIME,
        Any: Kind.VALUE,
        dict: Kind.VALUE,
        list: Kind.VALUE,
        JsonValue: Kind.VALUE,
    }
)
_SUPPORTED = (
    "use bool, int, Int64, float, str, bytes, datetime, timedelta, date, time, Decimal, UUID, an Enum, a pydantic model"
    " or a dataclass, a list of one of these, one of these or None, or Any for free JSON"
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What an annotation says about the values of a field."""

    kind: Kind
    """What each value is."""
    python: Any = None
    """For MESSAGE and ENUM, the class."""
    repeated: bool = False
    """Whether the field holds a list."""
    nullable: bool = False
    """Whether None is one of the values."""
    paths: bool = False
    """Whether it is annotated as `FieldPaths`."""


def is_model(annotation: Any) -> bool:
    """Return whether the annotation is a class that becomes a message: a pydantic model or a dataclass."""
    if not isinstance(annotation, type):
        return False
    if issubclass(annotation, BaseModel):
        return not issubclass(annotation, RootModel)
    return dataclasses.is_dataclass(annotation)


def read_annotation(annotation: Any, where: str, metadata: tuple[Any, ...] = ()) -> Shape:
    """Return what an annotation says.

    Args:
        annotation: Any annotation, resolved (no strings).
        where: The field it belongs to, for errors: `Job.state`.
        metadata: What `Annotated` said where the annotation was already taken out of it, as pydantic does.

    Raises:
        ContractError: The annotation has no form on the wire.

    Example:
        >>> read_annotation(list[str], "Job.tags")
        Shape(kind=<Kind.STRING: 5>, python=None, repeated=True, nullable=False, paths=False)
    """
    plain, found = _unwrap(annotation)
    marks = (*metadata, *found)
    alternatives = _alternatives(plain)
    if alternatives is not None:
        return _read_optional(alternatives, where, marks)
    if get_origin(plain) is list and not _is_free_list(plain):
        return _read_list(plain, where, marks)
    return _read_single(plain, where, marks)


def _unwrap(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Take an annotation out of Annotated, NewType and type aliases; return it and what Annotated said."""
    marks: tuple[Any, ...] = ()
    while annotation is not JsonValue:
        if get_origin(annotation) is Annotated:
            annotation, *said = get_args(annotation)
            marks = (*marks, *said)
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, TypeAliasType):
            annotation = annotation.__value__
        else:
            break
    return annotation, marks


def _alternatives(annotation: Any) -> tuple[Any, ...] | None:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else None


def _read_optional(alternatives: tuple[Any, ...], where: str, marks: tuple[Any, ...]) -> Shape:
    others = [item for item in alternatives if item is not NoneType]
    if len(others) != 1:
        raise ContractError(f"{where} may be of several types", hint=_SUPPORTED)
    shape = read_annotation(others[0], where, marks)
    if shape.repeated:
        hint = "make it a list that is empty when there is nothing, or Any for free JSON"
        raise ContractError(f"{where} is a list or None, which look alike on the wire", hint=hint)
    return dataclasses.replace(shape, nullable=True)


def _read_list(annotation: Any, where: str, marks: tuple[Any, ...]) -> Shape:
    item = read_annotation(get_args(annotation)[0], where)
    if item.repeated or (item.nullable and item.kind is not Kind.VALUE):
        what = "lists" if item.repeated else "values that may be None"
        raise ContractError(f"{where} is a list of {what}", hint="use a list of models, or list for free JSON")
    paths = item.kind is Kind.STRING and any(isinstance(mark, FieldPathsMarker) for mark in marks)
    return dataclasses.replace(item, repeated=True, nullable=False, paths=paths)


def _read_single(annotation: Any, where: str, marks: tuple[Any, ...]) -> Shape:
    if annotation is int and any(isinstance(mark, Int64Marker) for mark in marks):
        return Shape(kind=Kind.INT64)
    if is_model(annotation):
        return Shape(kind=Kind.MESSAGE, python=annotation)
    if isinstance(annotation, type) and issubclass(annotation, Enum) and not issubclass(annotation, Flag):
        return Shape(kind=Kind.ENUM, python=annotation)
    if get_origin(annotation) is Literal and all(isinstance(value, str) for value in get_args(annotation)):
        return Shape(kind=Kind.STRING)
    if _is_json(annotation):
        return Shape(kind=Kind.VALUE)
    kind = _KINDS.get(annotation) if _is_hashable(annotation) else None
    if kind is None:
        raise ContractError(f"{where} is {_spell(annotation)}, which has no form on the wire", hint=_SUPPORTED)
    return Shape(kind=kind)


def _is_free_list(annotation: Any) -> bool:
    return get_args(annotation)[0] is Any


def _is_json(annotation: Any) -> bool:
    """Return whether the annotation is a container of JSON: list[Any], or a dict from str to anything JSON."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is list:
        return _is_free_list(annotation)
    return origin is dict and arguments[0] is str and _holds_json(arguments[1])


def _holds_json(annotation: Any) -> bool:
    plain, _ = _unwrap(annotation)
    if plain in (Any, JsonValue, NoneType, bool, int, float, str, dict, list):
        return True
    arguments = get_args(plain)
    if get_origin(plain) in (Union, UnionType, list):
        return all(_holds_json(argument) for argument in arguments)
    return get_origin(plain) is dict and arguments[0] is str and _holds_json(arguments[1])


def _is_hashable(annotation: Any) -> bool:
    return type(annotation).__hash__ is not None


def _spell(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation).removeprefix("typing.")
