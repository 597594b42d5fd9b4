"""Whole messages between values and bytes: the codecs that the Connect library is given.

A codec is made for one contract and knows its messages; where the Connect library says "message class", it hands over a
`MessageType`, and values on their way out come as `Outgoing`.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from connectrpc.code import Code
from google.protobuf.message import DecodeError, Message
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from communication import naming
from communication.contract.contract import Contract, Outgoing
from communication.contract.descriptors import message_classes
from communication.contract.types import MessageType
from communication.errors import FieldViolation, RpcError, to_connect_error
from communication.wire.reading import (
    Finish,
    JsonMessageReader,
    ProtoMessageReader,
    fill_namespace,
    fill_required,
    make_readers,
)
from communication.wire.refusal import LONGEST_ECHO, MOST_VIOLATIONS, Refused
from communication.wire.writing import make_json_writers, make_proto_writers

_log = logging.getLogger("communication")


class ServerCodec(ABC):
    """What the codecs of a server share: checked requests in, responses out, and errors that leak nothing.

    Args:
        contract: The contract whose messages it knows.
    """

    def __init__(self, contract: Contract) -> None:
        requests = [rpc.request for rpc in contract.rpcs]
        self._build = {message.name: _builder(message) for message in requests}

    @abstractmethod
    def name(self) -> str:
        """Return the codec's name, which is the end of the content type."""

    def encode(self, message: Outgoing) -> bytes:
        """Return a response as bytes.

        Args:
            message: What to send.

        Raises:
            ConnectError: `internal`, when the value does not fit its message; the log says why.
        """
        try:
            return self._write(message)
        except Refused as refused:
            _log.error("%s cannot be sent: %s", message.type.name, refused)
        except Exception:  # noqa: BLE001 - anything else would reach the caller as it is
            _log.exception("%s cannot be sent", message.type.name)
        raise to_connect_error(RpcError(Code.INTERNAL, "internal error"))

    def decode(self, data: bytes | bytearray, message_class: MessageType) -> Any:
        """Return a request as an instance of its Python class; an empty mapping when the message has no fields.

        Args:
            data: What was received.
            message_class: The message that it should be.

        Raises:
            ConnectError: `invalid_argument`, with a violation for each field that is wrong.
        """
        try:
            return self._build[message_class.name](self._read(data, message_class))
        except RpcError as error:
            raise to_connect_error(error) from error
        except Refused as refused:
            raise to_connect_error(_invalid(message_class, refused.violations)) from refused
        except ValidationError as error:
            violations = [_to_violation(item) for item in error.errors(include_url=False, include_input=False)]
            raise to_connect_error(_invalid(message_class, violations)) from error
        except RecursionError as error:
            raise to_connect_error(RpcError(Code.INVALID_ARGUMENT, "the request is nested too deep")) from error
        except Exception as error:  # a validator of the user's
            _log.exception("%s could not be validated", message_class.name)
            raise to_connect_error(RpcError(Code.INTERNAL, "internal error")) from error

    @abstractmethod
    def _read(self, data: bytes | bytearray, message: MessageType) -> Any:
        """Return the values of the fields that are present."""

    @abstractmethod
    def _write(self, message: Outgoing) -> bytes:
        """Return the bytes, or raise Refused."""


class JsonCodec(ServerCodec):
    """proto3 JSON, strictly: unknown fields, names given twice and numbers out of range are errors.

    Source: https://protobuf.dev/programming-guides/json/
    """

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._readers = make_readers(contract, JsonMessageReader, fill_required)
        self._writers = make_json_writers(contract)

    def name(self) -> str:
        """Return the codec's name."""
        return "json"

    def _read(self, data: bytes | bytearray, message: MessageType) -> Any:
        if not data:
            raise RpcError(Code.INVALID_ARGUMENT, "the body is empty", hint="send {} for a request without fields")
        try:
            content = from_json(data, allow_inf_nan=False)
            if data.count(b":") > _count_names(content):  # a name given twice, or a colon in a text
                json.loads(data, object_pairs_hook=_refuse_duplicates)
        except ValueError as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"the body is not valid JSON: {error}") from error
        return self._readers[message.name].read(content)

    def _write(self, message: Outgoing) -> bytes:
        return to_json(self._writers[message.type.name].write(message.value))


class ProtoCodec(ServerCodec):
    """Binary protobuf."""

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._classes = message_classes(contract.descriptor_set)
        self._readers = make_readers(contract, ProtoMessageReader, fill_required)
        self._writers = make_proto_writers(contract)

    def name(self) -> str:
        """Return the codec's name."""
        return "proto"

    def _read(self, data: bytes | bytearray, message: MessageType) -> Any:
        return self._readers[message.name].read(_parse(self._classes, data, message))

    def _write(self, message: Outgoing) -> bytes:
        written: Message = self._writers[message.type.name].write(message.value)
        return written.SerializeToString()


class ClientCodec:
    """Binary protobuf for a client, which knows the messages only from their descriptors.

    Args:
        contract: The contract that the server serves.
    """

    def __init__(self, contract: Contract) -> None:
        self._classes = message_classes(contract.descriptor_set)
        self._readers = make_readers(contract, ProtoMessageReader, fill_namespace)
        self._writers = make_proto_writers(contract, any_text=True)

    def name(self) -> str:
        """Return the codec's name."""
        return "proto"

    def encode(self, message: Outgoing) -> bytes:
        """Return a request as bytes.

        Args:
            message: What to send: a mapping, or any object with the message's fields as attributes; None leaves a
                field out, but is null where the field is free JSON. Enums are members or names of members.

        Raises:
            RpcError: `invalid_argument`, with a violation for each field that is wrong or does not exist.
        """
        try:
            written: Message = self._writers[message.type.name].write(message.value)
            return written.SerializeToString()
        except Refused as refused:
            raise _invalid(message.type, refused.violations) from refused

    def decode(self, data: bytes | bytearray, message_class: MessageType) -> Any:
        """Return a response as a `types.SimpleNamespace`, messages in it likewise.

        Times are aware datetimes, spans timedeltas, enums the names of members in capitals, free JSON dicts and lists.

        Args:
            data: What was received.
            message_class: The message that it should be.

        Raises:
            RpcError: `internal`, when the server sent something else.
        """
        try:
            return self._readers[message_class.name].read(_parse(self._classes, data, message_class))
        except (Refused, RpcError) as error:
            raise RpcError(Code.INTERNAL, f"the server sent a response that cannot be read: {error}") from error


def _parse(classes: dict[str, type[Message]], data: bytes | bytearray, message: MessageType) -> Message:
    try:
        return classes[f"{naming.PACKAGE}.{message.name}"].FromString(bytes(data))
    except DecodeError as error:
        raise RpcError(Code.INVALID_ARGUMENT, f"the body is no {message.name} in protobuf form") from error


def _builder(message: MessageType) -> Finish:
    """Return what makes the request's Python instance from the values of the fields that are present."""
    if message.python is None:
        # Not None, which the Connect library takes for a message that never came.
        return lambda values: values
    validate: Callable[..., Any] = TypeAdapter(message.python).validator.validate_python
    return lambda values: validate(values, by_alias=False, by_name=True)


def _invalid(message: MessageType, violations: Sequence[FieldViolation]) -> RpcError:
    named = violations[:MOST_VIOLATIONS]
    text = f"{message.name} is invalid: {', '.join(map(str, named))}"
    if len(violations) >= MOST_VIOLATIONS:
        text = f"{text}, and perhaps more"
    return RpcError(Code.INVALID_ARGUMENT, text, violations=named)


def _to_violation(item: ErrorDetails) -> FieldViolation:
    """Translate one of pydantic's errors."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part[:LONGEST_ECHO]}" for part in item["loc"])
    path = "".join(parts).removeprefix(".")
    if item["type"] == "missing":
        return FieldViolation(field=path, description="is required")
    text = item["msg"].removeprefix("Input ").removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return FieldViolation(field=path, description=text)


def _count_names(content: Any) -> int:
    """How many names the objects in parsed JSON have."""
    if type(content) is dict:
        return len(content) + sum(map(_count_names, content.values()))
    return sum(map(_count_names, content)) if type(content) is list else 0


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("an object has the same name twice")
