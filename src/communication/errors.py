"""Errors of the communication package.

Every error that communication raises on purpose is a `CommunicationError`; its text says in one sentence what is wrong
and what to do.

    CommunicationError
    ├── ContractError   something that cannot be put on the wire; raised while the app is built
    └── RpcError        how a call ends when it fails: raised by handlers, and by the client
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from protobuf.wkt import Any as AnyMessage


class CommunicationError(Exception):
    """Root of everything that communication raises on purpose.

    Args:
        message: What is wrong, without a full stop at its end.
        hint: What to do about it; joined to the message with a semicolon.

    Example:
        >>> str(CommunicationError("no call is being served", hint="ask inside a handler"))
        'no call is being served; ask inside a handler'
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.hint = hint


class ContractError(CommunicationError):
    """Something that cannot be put on the wire: an unsupported type, two names that meet, a conflict with the lock."""


@dataclass(frozen=True, kw_only=True)
class FieldViolation:
    """One reason why a request was refused."""

    field: str
    """Path to the field, with the names of the .proto file: `record.started_at`, `items[2].name`; "" for the whole."""
    description: str
    """What is wrong with its value."""

    def __str__(self) -> str:
        return f"{self.field} {self.description}".strip()


class RpcError(CommunicationError):
    """How a call ends when it fails.

    A handler raises it to choose the status; the client raises it for every call that failed.

    Args:
        code: The Connect status, such as `Code.NOT_FOUND`.
        message: What is wrong; sent to the caller, so nothing confidential.
        violations: For `Code.INVALID_ARGUMENT`, what is wrong with which field; sent as `google.rpc.BadRequest`.
        hint: What to do about it; joined to the message with a semicolon.

    Example:
        >>> error = RpcError(Code.NOT_FOUND, "no job 7", hint="list the jobs to see which there are")
        >>> error.code, error.message
        (<Code.NOT_FOUND: 'not_found'>, 'no job 7; list the jobs to see which there are')
    """

    def __init__(
        self, code: Code, message: str, *, violations: Iterable[FieldViolation] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.violations: Sequence[FieldViolation] = tuple(violations)

    @property
    def message(self) -> str:
        """The text of the error, hint included."""
        return str(self)


_BAD_REQUEST_URL = "type.googleapis.com/google.rpc.BadRequest"


def _bad_request_class() -> type[Message]:
    """Make the class of google.rpc.BadRequest.

    Source: https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="google/rpc/error_details.proto", package="google.rpc", syntax="proto3"
    )
    message = file.message_type.add(name="BadRequest")
    violation = message.nested_type.add(name="FieldViolation")
    for number, name in enumerate(("field", "description"), start=1):
        violation.field.add(name=name, number=number, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    message.field.add(
        name="field_violations",
        number=1,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_REPEATED,
        type_name=".google.rpc.BadRequest.FieldViolation",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("google.rpc.BadRequest"))


_BadRequest = _bad_request_class()


def to_connect_error(error: RpcError) -> ConnectError:
    """Return the error as Connect sends it, its violations as a `google.rpc.BadRequest` detail.

    Args:
        error: The error to send.

    Returns:
        An error of the same code and message.

    Example:
        >>> refused = RpcError(
        ...     Code.INVALID_ARGUMENT, "no", violations=[FieldViolation(field="name", description="is required")]
        ... )
        >>> to_connect_error(refused).details[0].type_name
        'google.rpc.BadRequest'
    """
    details = []
    if error.violations:
        body = _BadRequest(
            field_violations=[{"field": item.field, "description": item.description} for item in error.violations]
        )
        details.append(ErrorDetail(AnyMessage(type_url=_BAD_REQUEST_URL, value=body.SerializeToString())))
    text = error.message.encode(errors="replace").decode()  # half a surrogate pair has no form on the wire
    return ConnectError(error.code, text, details)


def from_connect_error(error: ConnectError) -> RpcError:
    """Return a Connect error as an `RpcError`, with the violations of its `google.rpc.BadRequest` detail if it has one.

    Args:
        error: What the Connect library raised.

    Returns:
        An error of the same code and message.

    Example:
        >>> from_connect_error(ConnectError(Code.UNAVAILABLE, "try again")).code
        <Code.UNAVAILABLE: 'unavailable'>
    """
    violations: list[FieldViolation] = []
    for detail in error.details:
        if detail.type_name == "google.rpc.BadRequest":
            violations.extend(_read_violations(detail.message_bytes))
    return RpcError(error.code, error.message, violations=violations)


def _read_violations(data: bytes) -> Iterable[FieldViolation]:
    try:
        body = _BadRequest.FromString(data)
    except DecodeError:
        return []
    return [
        FieldViolation(field=item.field, description=item.description)
        for item in body.field_violations  # type: ignore[attr-defined]
    ]
