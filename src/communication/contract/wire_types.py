"""What each kind is in protobuf."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from google.protobuf import descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import FileDescriptor

from communication.contract.types import Field, Kind

_Proto = descriptor_pb2.FieldDescriptorProto

SCALARS: Mapping[Kind, tuple[_Proto.Type.ValueType, str]] = MappingProxyType(
    {
        Kind.BOOL: (_Proto.TYPE_BOOL, "bool"),
        Kind.INT32: (_Proto.TYPE_INT32, "int32"),
        Kind.INT64: (_Proto.TYPE_INT64, "int64"),
        Kind.DOUBLE: (_Proto.TYPE_DOUBLE, "double"),
        Kind.STRING: (_Proto.TYPE_STRING, "string"),
        Kind.BYTES: (_Proto.TYPE_BYTES, "bytes"),
        Kind.DECIMAL: (_Proto.TYPE_STRING, "string"),
        Kind.UUID: (_Proto.TYPE_STRING, "string"),
        Kind.DATE: (_Proto.TYPE_STRING, "string"),
        Kind.TIME: (_Proto.TYPE_STRING, "string"),
    }
)
"""The scalar kinds: their type in a descriptor and in a .proto."""

WELL_KNOWN: Mapping[Kind, tuple[str, FileDescriptor]] = MappingProxyType(
    {
        Kind.TIMESTAMP: ("google.protobuf.Timestamp", timestamp_pb2.DESCRIPTOR),
        Kind.DURATION: ("google.protobuf.Duration", duration_pb2.DESCRIPTOR),
        Kind.VALUE: ("google.protobuf.Value", struct_pb2.DESCRIPTOR),
    }
)
"""The kinds that are messages of Google's: their full name and the file that declares it."""


def type_text(field: Field) -> str:
    """Return a field's type as a .proto says it, without `optional`.

    Example:
        >>> type_text(Field(name="tags", json_name="tags", number=1, kind=Kind.STRING, repeated=True))
        'repeated string'
    """
    if field.type_name is not None:
        text = field.type_name
    elif field.kind in WELL_KNOWN:
        text = WELL_KNOWN[field.kind][0]
    else:
        text = SCALARS[field.kind][1]
    return f"repeated {text}" if field.repeated else text
