"""Sample requests: a body for each RPC that a reader can send as it stands, or change where the data asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from communication.contract.contract import Contract
from communication.contract.markers import ExpectedMarker
from communication.contract.types import Field, Kind, MessageType

_VALUES: Mapping[Kind, Any] = {
    Kind.BOOL: True,
    Kind.INT32: 1,
    Kind.INT64: "1",
    Kind.DOUBLE: 1.5,
    Kind.STRING: "text",
    Kind.BYTES: "",
    Kind.TIMESTAMP: "2026-01-31T12:00:00Z",
    Kind.DURATION: "1.5s",
    Kind.VALUE: {},
    Kind.DECIMAL: "1.50",
    Kind.UUID: "00000000-0000-0000-0000-000000000000",
    Kind.DATE: "2026-01-31",
    Kind.TIME: "12:00:00",
}


def sample_body(contract: Contract, message: MessageType) -> dict[str, Any]:
    """Return a request in JSON form: the fields that a caller must give, and those that have an example.

    Args:
        contract: Where the message's own messages and enums are.
        message: The request. What the fields of a pydantic model name as `examples`, in JSON form, is taken from there.

    Example:
        >>> from types import SimpleNamespace
        >>> def double(number: int) -> int:
        ...     return 2 * number
        >>> action = SimpleNamespace(name="Double", func=double, input_type=int, output_type=int, aliases=())
        >>> contract = Contract.build("calculator", [action])
        >>> sample_body(contract, contract.rpcs[0].request)
        {'number': 1}
    """
    return _body(contract, message, ())


def _body(contract: Contract, message: MessageType, within: tuple[str, ...]) -> dict[str, Any]:
    infos: Mapping[str, FieldInfo] = getattr(message.python, "__pydantic_fields__", {})
    body: dict[str, Any] = {}
    for field in message.fields:
        info = infos.get(field.name)
        examples = info.examples if info else None
        expected = info is not None and any(isinstance(mark, ExpectedMarker) for mark in info.metadata)
        if examples:
            body[field.json_name] = examples[0]
        elif (field.required or expected) and field.type_name not in within:
            value = _value(contract, field, (*within, message.name))
            body[field.json_name] = [value] if field.repeated else value
    return body


def _value(contract: Contract, field: Field, within: tuple[str, ...]) -> Any:
    if field.kind is Kind.ENUM:
        return contract.enums[field.type_name or ""].values[-1].label
    if field.kind is Kind.MESSAGE:
        return _body(contract, contract.messages[field.type_name or ""], within)
    return _VALUES[field.kind]
