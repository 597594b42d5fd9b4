"""The .proto file of a contract, as `buf format` would write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from communication import naming
from communication.contract.types import EnumType, Field, MessageType
from communication.contract.wire_types import SCALARS, WELL_KNOWN, type_text

MethodText = tuple[str, str, str, bool]
"""An RPC as the text needs it: its name, its request and response messages, whether it streams."""


def proto_text(
    service: str, methods: Iterable[MethodText], messages: Sequence[MessageType], enums: Sequence[EnumType]
) -> str:
    """Return the text of a .proto file.

    Args:
        service: The service's name, without the package.
        methods: Its RPCs.
        messages: The messages, in the order in which they are to stand.
        enums: The enums, likewise.
    """
    blocks = [f'syntax = "proto3";\n\npackage {naming.PACKAGE};\n']
    imports = imported_files(messages)
    if imports:
        blocks.append("".join(f'import "{name}";\n' for name in imports))
    blocks.append(_block(f"service {service}", [_method(*method) for method in methods]))
    blocks.extend(_message(message) for message in messages)
    blocks.extend(_enum(enum) for enum in enums)
    return "\n".join(blocks)


def imported_files(messages: Iterable[MessageType]) -> list[str]:
    """Return the names of Google's files that the messages need, sorted."""
    kinds = {field.kind for message in messages for field in message.fields}
    return sorted({str(WELL_KNOWN[kind][1].name) for kind in kinds if kind in WELL_KNOWN})


def is_optional(field: Field) -> bool:
    """Return whether the field is declared `optional`: messages have presence without saying so."""
    return field.presence and not field.repeated and (field.kind in SCALARS or field.kind.name == "ENUM")


def _block(head: str, lines: Sequence[str]) -> str:
    return "".join([f"{head} {{\n", *(f"  {line}\n" for line in lines), "}\n"]) if lines else f"{head} {{}}\n"


def _method(name: str, request: str, response: str, streaming: bool) -> str:
    returns = f"stream {response}" if streaming else response
    return f"rpc {name}({request}) returns ({returns});"


def _message(message: MessageType) -> str:
    lines = _reserved(message.reserved)
    for field in message.fields:
        label = "optional " if is_optional(field) else ""
        lines.append(f"{label}{type_text(field)} {field.name} = {field.number};")
    return _block(f"message {message.name}", lines)


def _enum(enum: EnumType) -> str:
    lines = _reserved(enum.reserved)
    lines.extend(f"{value.label} = {value.number};" for value in enum.values)
    return _block(f"enum {enum.name}", lines)


def _reserved(reserved: Sequence[tuple[str, int]]) -> list[str]:
    if not reserved:
        return []
    numbers = ", ".join(str(number) for _, number in reserved)
    names = ", ".join(f'"{name}"' for name, _ in reserved)
    return [f"reserved {numbers};", f"reserved {names};"]
