"""Contracts for tests: one action whose request and response are the message under test."""

from __future__ import annotations

import json
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError

from communication.codec import JsonCodec, ProtoCodec, ServerCodec
from communication.contract.contract import Contract, Outgoing
from communication.entries import ActionEntry
from communication.errors import FieldViolation, from_connect_error


def take(value: Any) -> Any:
    return value


def give() -> Any:
    return None


def contract_of(input_type: Any, output_type: Any = None) -> Contract:
    """A contract of one action, `Do`, that takes and returns values of these types."""
    return Contract.build("test", [ActionEntry("Do", take, input_type, output_type)])


class Wire:
    """One message on both wires of a server."""

    def __init__(self, message: Any) -> None:
        self.contract = contract_of(message, message)
        self.rpc = self.contract.rpcs[0]
        self.json = JsonCodec(self.contract)
        self.proto = ProtoCodec(self.contract)

    def encode(self, codec: ServerCodec, value: Any) -> bytes:
        return codec.encode(Outgoing(type=self.rpc.request, value=value))

    def decode(self, codec: ServerCodec, data: bytes) -> Any:
        return codec.decode(data, self.rpc.request)

    def from_json(self, content: Any) -> Any:
        return self.decode(self.json, content if isinstance(content, bytes) else json.dumps(content).encode())

    def to_json(self, value: Any) -> Any:
        return json.loads(self.encode(self.json, value))

    def refusals(self, content: Any) -> list[FieldViolation]:
        """The violations with which a JSON request is refused."""
        with pytest.raises(ConnectError) as caught:
            self.from_json(content)
        error = from_connect_error(caught.value)
        assert error.code is Code.INVALID_ARGUMENT
        return list(error.violations)
