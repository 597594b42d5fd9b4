"""Values that are served must fit their types on the wire, where these are narrower than the column.

A pydantic model in a JSON column is a message on the wire, in which an `int` has 32 bits. A value that only the column
can hold would break every RPC that reads it, so it is refused when it is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from communication.contract.contract import Contract
from communication.contract.messages import TypeRegistry
from communication.wire import refusal
from communication.wire.writing import make_json_writers
from storage.records import RecordCodec
from storage.rpc.messages import wire_annotation
from storage.values import Refused, is_typed_json

_OUT_OF_RANGE = "must be between"  # as the wire's integers say it


def fit_to_wire(codec: RecordCodec[Any]) -> None:
    """Have records of a model refused whose typed JSON has no form on the wire; a second call changes nothing."""
    for column in codec.columns:
        if is_typed_json(column) and (message := wire_annotation(column)) is not Any:
            codec.also_check(column.name, _check_of(message))


@functools.cache
def _check_of(message: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        try:
            writer()(value)
        except refusal.Refused as refused:
            first = refused.violations[0]
            hint = "; an Int64 of communication.contract.markers holds more"
            text = first.description + (hint if first.description.startswith(_OUT_OF_RANGE) else "")
            path = first.field if not first.field or first.field.startswith("[") else f".{first.field}"
            raise Refused(text, path) from refused
        return value

    @functools.cache
    def writer() -> Callable[[Any], Any]:  # made with the first value, when all classes are complete
        types = TypeRegistry()
        name = types.add_message(message)
        contract = Contract(service="", rpcs=(), messages=types.messages, enums=types.enums)
        return make_json_writers(contract)[name].write

    return check
