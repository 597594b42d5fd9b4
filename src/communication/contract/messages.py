"""Python classes read as messages and enums."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, get_type_hints

from pydantic.fields import FieldInfo

from communication import naming
from communication.contract.annotations import Shape, read_annotation
from communication.contract.types import (
    ALWAYS_PRESENT_KINDS,
    ZERO_VALUES,
    EnumType,
    EnumValue,
    Field,
    Kind,
    MessageType,
)
from communication.errors import ContractError


class _Unknown:
    """Stands for a default that is made anew for each instance, so that nothing is known of its value."""


@dataclass(frozen=True, kw_only=True)
class _Attribute:
    """One field of a Python class, before it has a form on the wire."""

    name: str
    annotation: Any
    metadata: tuple[Any, ...] = ()
    required: bool
    default: Any = None
    factory: Callable[[], Any] | None = None


class TypeRegistry:
    """The messages and enums of one contract, each under a name of its own.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass
        ... class Point:
        ...     x: float
        >>> types = TypeRegistry()
        >>> types.add_message(Point)
        'Point'
        >>> [field.kind.name for field in types.messages["Point"].fields]
        ['DOUBLE']
    """

    def __init__(self) -> None:
        self.messages: dict[str, MessageType] = {}
        self.enums: dict[str, EnumType] = {}
        self._owners: dict[str, object] = {}

    def add_message(self, python: type, name: str | None = None) -> str:
        """Add the message of a pydantic model or dataclass, and all that it refers to.

        Args:
            python: The class.
            name: The message's name, when it is not the class's.

        Returns:
            The message's name.

        Raises:
            ContractError: A field has no form on the wire, or a name is taken.
        """
        name = naming.check_type_name(name or _class_name(python), f"class {python.__qualname__}")
        if self._claim(name, python):
            attributes = _attributes(python)
            self.messages[name] = MessageType(name=name, fields=())  # keeps its place before those it refers to
            fields = tuple(self._field(name, number, item) for number, item in enumerate(attributes, start=1))
            _refuse_meeting_names(name, fields)
            self.messages[name] = MessageType(name=name, fields=fields, python=python)
        return name

    def add_empty_message(self, name: str) -> str:
        """Add a message without fields; return its name."""
        if self._claim(name, f"the empty {name}"):
            self.messages[name] = MessageType(name=name, fields=())
        return name

    def add_enum(self, python: type[Enum]) -> str:
        """Add an enum; return its name."""
        name = naming.check_type_name(python.__name__, f"enum {python.__qualname__}")
        if self._claim(name, python):
            values = [EnumValue(label=naming.enum_value_label(name, "unspecified"), number=0)]
            for number, member in enumerate(python, start=1):
                label = naming.enum_value_label(name, naming.check_identifier(member.name, f"{name}.{member.name}"))
                values.append(EnumValue(label=label, number=number, member=member))
            for value in values:
                self._claim_label(value.label, name)
            self.enums[name] = EnumType(name=name, values=tuple(values), python=python)
        return name

    def reserve(self, name: str, owner: str) -> None:
        """Keep a name from messages and enums.

        Args:
            name: The name.
            owner: What has it, for errors.
        """
        self._claim(name, owner)

    def _claim(self, name: str, owner: object) -> bool:
        """Take a name in the package; return False when the same owner has it already."""
        if name not in self._owners:
            self._owners[name] = owner
            return True
        if self._owners[name] == owner:
            return False
        first, second = _spell_owner(self._owners[name]), _spell_owner(owner)
        raise ContractError(f"{first} and {second} meet on the wire as {name}", hint="rename one of them")

    def _claim_label(self, label: str, enum: str) -> None:
        if label in self._owners:
            hint = f"rename a member of {enum}"
            raise ContractError(f"the enum label {label} is on the wire already", hint=hint)
        self._owners[label] = f"a member of {enum}"

    def _field(self, message: str, number: int, item: _Attribute) -> Field:
        where = f"{message}.{item.name}"
        naming.check_identifier(item.name, f"field {where}")
        shape = read_annotation(item.annotation, where, item.metadata)
        if shape.repeated:
            _refuse_filled_list(where, item)
        return Field(
            name=item.name,
            json_name=naming.json_name(item.name),
            number=number,
            kind=shape.kind,
            type_name=self._type_name(shape),
            repeated=shape.repeated,
            presence=not shape.repeated and _has_presence(shape, item),
            nullable=shape.nullable,
            required=item.required,
            paths=shape.paths,
        )

    def _type_name(self, shape: Shape) -> str | None:
        if shape.kind is Kind.MESSAGE:
            return self.add_message(shape.python)
        if shape.kind is Kind.ENUM:
            return self.add_enum(shape.python)
        return None


def _class_name(python: type) -> str:
    """Return the name of a class; a generic one is spelled out, as Page[Job] has no form on the wire."""
    return naming.pascal_case(python.__name__) if "[" in python.__name__ else python.__name__


def _spell_owner(owner: object) -> str:
    return f"{owner.__module__}.{owner.__qualname__}" if isinstance(owner, type) else str(owner)


def _attributes(python: type) -> Iterable[_Attribute]:
    infos: dict[str, FieldInfo] | None = getattr(python, "__pydantic_fields__", None)
    if infos is not None:
        return [_of_pydantic(name, info) for name, info in infos.items() if not info.exclude]
    try:
        hints = get_type_hints(python, include_extras=True)
    except NameError as error:
        hint = "define it in the module, before the class is used"
        raise ContractError(f"{python.__qualname__} refers to {error.name}, which is not defined", hint=hint) from error
    return [_of_dataclass(field, hints[field.name]) for field in dataclasses.fields(python) if field.init]


def _of_pydantic(name: str, info: FieldInfo) -> _Attribute:
    factory: Any = info.default_factory
    if info.default_factory_takes_validated_data:
        factory = _Unknown
    return _Attribute(
        name=name,
        annotation=info.annotation,
        metadata=tuple(info.metadata),
        required=info.is_required(),
        default=info.default,
        factory=factory,
    )


def _of_dataclass(field: dataclasses.Field[Any], annotation: Any) -> _Attribute:
    factory = None if field.default_factory is dataclasses.MISSING else field.default_factory
    required = field.default is dataclasses.MISSING and factory is None
    return _Attribute(name=field.name, annotation=annotation, required=required, default=field.default, factory=factory)


def _has_presence(shape: Shape, item: _Attribute) -> bool:
    """Return whether absent must be told apart from zero: None, or a default that is not zero, stands for absent."""
    if shape.kind in ALWAYS_PRESENT_KINDS or shape.nullable:
        return True
    if item.required:
        return False
    if item.factory is not None or shape.kind is Kind.ENUM:
        return True
    return bool(item.default != ZERO_VALUES[shape.kind])


def _refuse_filled_list(where: str, item: _Attribute) -> None:
    default = item.default if item.factory is None else item.factory()
    if not item.required and default != []:
        hint = "let its default be the empty list"
        raise ContractError(f"{where} has a default, but an absent list is an empty one on the wire", hint=hint)


def _refuse_meeting_names(message: str, fields: tuple[Field, ...]) -> None:
    seen: dict[str, str] = {}
    for field in fields:
        first = seen.setdefault(field.json_name, field.name)
        if first != field.name:
            text = f"{message}.{first} and {message}.{field.name} meet in JSON as {field.json_name}"
            raise ContractError(text, hint="rename one of them")
