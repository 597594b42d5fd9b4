"""Contracts as protobuf descriptors, and descriptors read as contracts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, struct_pb2, timestamp_pb2
from google.protobuf.message import DecodeError, Message

from communication import naming
from communication.contract.proto_text import MethodText, imported_files, is_optional
from communication.contract.types import ALWAYS_PRESENT_KINDS, EnumType, EnumValue, Field, Kind, MessageType
from communication.contract.wire_types import SCALARS, WELL_KNOWN
from communication.errors import ContractError

_Proto = descriptor_pb2.FieldDescriptorProto
_PREFIX = f".{naming.PACKAGE}."
_KINDS_BY_TYPE = {proto: kind for kind, (proto, _) in SCALARS.items()} | {_Proto.TYPE_STRING: Kind.STRING}
_KINDS_BY_NAME = {f".{name}": kind for kind, (name, _) in WELL_KNOWN.items()}
_FILES = {file.DESCRIPTOR.name: file.DESCRIPTOR for file in (duration_pb2, struct_pb2, timestamp_pb2)}


def make_descriptor_set(
    service: str, methods: Iterable[MethodText], messages: Sequence[MessageType], enums: Sequence[EnumType]
) -> bytes:
    """Return a serialized google.protobuf.FileDescriptorSet that declares them, the imported files first.

    Args:
        service: The service's name, without the package.
        methods: Its RPCs.
        messages: Its messages.
        enums: Its enums.
    """
    imports = imported_files(messages)
    file = descriptor_pb2.FileDescriptorProto(
        name=naming.PROTO_FILE, package=naming.PACKAGE, syntax="proto3", dependency=imports
    )
    for message in messages:
        _add_message(file.message_type.add(), message)
    for enum in enums:
        _add_enum(file.enum_type.add(), enum)
    declared = file.service.add(name=service)
    for name, request, response, streaming in methods:
        method = declared.method.add(name=name, input_type=_PREFIX + request, output_type=_PREFIX + response)
        if streaming:
            method.server_streaming = True
    whole = descriptor_pb2.FileDescriptorSet()
    for name in imports:
        _FILES[name].CopyToProto(whole.file.add())
    whole.file.append(file)
    return whole.SerializeToString(deterministic=True)


def _add_message(target: descriptor_pb2.DescriptorProto, message: MessageType) -> None:
    target.name = message.name
    taken = {field.name for field in message.fields}
    for field in message.fields:
        declared = target.field.add(
            name=field.name,
            json_name=field.json_name,
            number=field.number,
            label=_Proto.LABEL_REPEATED if field.repeated else _Proto.LABEL_OPTIONAL,
        )
        if field.kind in SCALARS:
            declared.type = SCALARS[field.kind][0]
        elif field.kind is Kind.ENUM:
            declared.type, declared.type_name = _Proto.TYPE_ENUM, f"{_PREFIX}{field.type_name}"
        else:
            name = f"{_PREFIX}{field.type_name}" if field.kind is Kind.MESSAGE else f".{WELL_KNOWN[field.kind][0]}"
            declared.type, declared.type_name = _Proto.TYPE_MESSAGE, name
        if is_optional(field):
            declared.proto3_optional = True
            declared.oneof_index = len(target.oneof_decl)
            target.oneof_decl.add(name=_oneof_name(field.name, taken))
    for name, number in message.reserved:
        target.reserved_range.add(start=number, end=number + 1)
        target.reserved_name.append(name)


def _oneof_name(field: str, taken: set[str]) -> str:
    """Return the name of the oneof that stands for `optional`, unique among the fields as protoc makes it."""
    name = f"_{field}"
    while name in taken:
        name = f"X{name}"
    taken.add(name)
    return name


def _add_enum(target: descriptor_pb2.EnumDescriptorProto, enum: EnumType) -> None:
    target.name = enum.name
    for value in enum.values:
        target.value.add(name=value.label, number=value.number)
    for label, number in enum.reserved:
        target.reserved_range.add(start=number, end=number)
        target.reserved_name.append(label)


def message_classes(descriptor_set: bytes) -> dict[str, type[Message]]:
    """Return google.protobuf's class for each message, by full name, those of the imported files included.

    Args:
        descriptor_set: What `make_descriptor_set` returned; its classes live in a pool of their own.
    """
    whole = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set)
    pool = descriptor_pool.DescriptorPool()
    for file in whole.file:
        pool.Add(file)
    files = [pool.FindFileByName(file.name) for file in whole.file]
    declared = [item for file in files for item in file.message_types_by_name.values()]
    return {item.full_name: message_factory.GetMessageClass(item) for item in declared}


def parse_descriptor_set(data: bytes) -> descriptor_pb2.FileDescriptorProto:
    """Return the file that declares an app's service.

    Args:
        data: A serialized google.protobuf.FileDescriptorSet.

    Raises:
        ContractError: The data is none, or declares no app.
    """
    try:
        whole = descriptor_pb2.FileDescriptorSet.FromString(data)
    except DecodeError as error:
        raise ContractError("this is no descriptor set", hint="is it another server?") from error
    for file in whole.file:
        if file.name == naming.PROTO_FILE and len(file.service) == 1:
            return file
    raise ContractError("the descriptor set declares no app", hint="is it another server?")


def read_message(declared: descriptor_pb2.DescriptorProto) -> MessageType:
    """Return a message as a client knows it: None for a field means that it is not given.

    Raises:
        ContractError: A field has a type that no app of ours uses.
    """
    return MessageType(name=declared.name, fields=tuple(_read_field(declared.name, item) for item in declared.field))


def _read_field(message: str, item: _Proto) -> Field:
    type_name = None
    if item.type == _Proto.TYPE_ENUM:
        kind, type_name = Kind.ENUM, item.type_name.removeprefix(_PREFIX)
    elif item.type_name in _KINDS_BY_NAME:
        kind = _KINDS_BY_NAME[item.type_name]
    elif item.type == _Proto.TYPE_MESSAGE:
        kind, type_name = Kind.MESSAGE, item.type_name.removeprefix(_PREFIX)
    elif item.type in _KINDS_BY_TYPE:
        kind = _KINDS_BY_TYPE[item.type]
    else:
        raise ContractError(f"{message}.{item.name} has a type that no app uses", hint="update this client")
    repeated = item.label == _Proto.LABEL_REPEATED
    return Field(
        name=item.name,
        json_name=item.json_name or naming.json_name(item.name),
        number=item.number,
        kind=kind,
        type_name=type_name,
        repeated=repeated,
        presence=not repeated and (item.proto3_optional or kind in ALWAYS_PRESENT_KINDS),
        nullable=kind is not Kind.VALUE,
    )


def read_enum(declared: descriptor_pb2.EnumDescriptorProto) -> EnumType:
    """Return an enum as a client knows it, without a Python class."""
    values = tuple(EnumValue(label=item.name, number=item.number) for item in declared.value)
    return EnumType(name=declared.name, values=values)
