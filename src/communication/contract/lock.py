"""The numbers of fields and enum values, kept in a file so that they never change.

The file lies beside the emitted .proto and belongs into version control with it. A field that is not there yet gets the
next free number; the number and the name of one that is gone stay reserved; if it comes back, it gets its number back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from communication.contract.files import write_whole
from communication.contract.types import EnumType, MessageType
from communication.contract.wire_types import type_text
from communication.errors import ContractError

_COMMENT = "The numbers on the wire of all there is in the .proto file beside it. Keep it in version control."
_VERSION = 1
_FIRST_KEPT, _LAST_KEPT = 19_000, 19_999  # protobuf keeps these numbers for itself
_ENUM_TYPE = "value"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A name that has, or had, a number."""

    number: int
    """The number on the wire."""
    type: str
    """What it numbers, as a .proto says it: `repeated string`; `value` in an enum."""
    removed: bool = False
    """Whether it is gone, so that name and number are reserved."""


Slots = Mapping[str, Slot]


@dataclass(frozen=True, kw_only=True)
class Lock:
    """All the numbers in use.

    Example:
        >>> Lock().messages
        {}
    """

    messages: Mapping[str, Slots] = field(default_factory=dict)
    """For each message its fields."""
    enums: Mapping[str, Slots] = field(default_factory=dict)
    """For each enum its values."""

    @classmethod
    def read(cls, path: Path) -> Lock | None:
        """Return what a lock file says.

        Args:
            path: The lock file.

        Returns:
            The lock, or None when there is no such file.

        Raises:
            ContractError: The file is no lock file.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        try:
            return _parse(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            hint = "take it from version control again"
            raise ContractError(f"the lock file {path.name} cannot be read", hint=hint) from error

    def to_json(self) -> str:
        """Return the text of the lock file: sorted, one line for each number."""
        content = {
            "comment": _COMMENT,
            "version": _VERSION,
            "messages": {name: _dump(slots, "fields") for name, slots in sorted(self.messages.items())},
            "enums": {name: _dump(slots, "values") for name, slots in sorted(self.enums.items())},
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the lock file, whole or not at all; leave it alone when it says the same already.

        Args:
            path: The lock file.
        """
        write_whole(path, self.to_json().encode())

    def number_message(self, message: MessageType) -> tuple[MessageType, Slots]:
        """Return the message with its numbers, and what to keep of it.

        Raises:
            ContractError: A field's type is not what it was.
        """
        wanted = [(item.name, type_text(item)) for item in message.fields]
        slots = _assign(message.name, wanted, self.messages.get(message.name, {}))
        fields = tuple(replace(item, number=slots[item.name].number) for item in message.fields)
        return replace(message, fields=fields, reserved=_reserved(slots)), slots

    def number_enum(self, enum: EnumType) -> tuple[EnumType, Slots]:
        """Return the enum with its numbers, and what to keep of it."""
        unspecified, *others = enum.values
        wanted = [(value.label, _ENUM_TYPE) for value in others]
        slots = _assign(enum.name, wanted, self.enums.get(enum.name, {}))
        values = tuple(replace(value, number=slots[value.label].number) for value in others)
        return replace(enum, values=(unspecified, *values), reserved=_reserved(slots)), slots


def apply_lock(
    lock: Lock, messages: Mapping[str, MessageType], enums: Mapping[str, EnumType]
) -> tuple[dict[str, MessageType], dict[str, EnumType], Lock]:
    """Return the messages and enums with their numbers, and the lock that keeps them.

    Args:
        lock: The numbers known so far; an empty one numbers everything in the order of declaration.
        messages: The messages by name.
        enums: The enums by name.

    Raises:
        ContractError: A field's type is not what it was.
    """
    numbered = {name: lock.number_message(message) for name, message in messages.items()}
    counted = {name: lock.number_enum(enum) for name, enum in enums.items()}
    kept = Lock(
        messages={**lock.messages, **{name: slots for name, (_, slots) in numbered.items()}},
        enums={**lock.enums, **{name: slots for name, (_, slots) in counted.items()}},
    )
    return (
        {name: message for name, (message, _) in numbered.items()},
        {name: enum for name, (enum, _) in counted.items()},
        kept,
    )


def _assign(owner: str, wanted: Iterable[tuple[str, str]], known: Slots) -> dict[str, Slot]:
    slots: dict[str, Slot] = {}
    top = max((slot.number for slot in known.values()), default=0)
    for name, kind in wanted:
        slot = known.get(name)
        if slot is None:
            top = _LAST_KEPT + 1 if top + 1 == _FIRST_KEPT else top + 1
            slot = Slot(number=top, type=kind)
        elif slot.type != kind:
            hint = f"give the {kind} another name, or delete the line from the lock file if no client knows it"
            raise ContractError(f"{owner}.{name} is {slot.type} in the lock file and {kind} in the code", hint=hint)
        slots[name] = replace(slot, removed=False)
    gone = {name: replace(slot, removed=True) for name, slot in known.items() if name not in slots}
    return {**slots, **gone}


def _reserved(slots: Slots) -> tuple[tuple[str, int], ...]:
    gone = [(name, slot.number) for name, slot in slots.items() if slot.removed]
    return tuple(sorted(gone, key=lambda item: item[1]))


def _dump(slots: Slots, title: str) -> dict[str, dict[str, str]]:
    by_number = sorted(slots.items(), key=lambda item: item[1].number)
    lines = {name: f"{slot.type} = {slot.number}" for name, slot in by_number if not slot.removed}
    removed = {name: f"{slot.type} = {slot.number}" for name, slot in by_number if slot.removed}
    return {title: lines, "removed": removed} if removed else {title: lines}


def _parse(content: Any) -> Lock:
    if content["version"] != _VERSION:
        raise ValueError(content["version"])
    return Lock(
        messages={name: _load(item, "fields") for name, item in content["messages"].items()},
        enums={name: _load(item, "values") for name, item in content["enums"].items()},
    )


def _load(item: Mapping[str, Mapping[str, str]], title: str) -> dict[str, Slot]:
    slots: dict[str, Slot] = {}
    for lines, removed in ((item[title], False), (item.get("removed", {}), True)):
        for name, line in lines.items():
            kind, _, number = line.rpartition(" = ")
            slots[name] = Slot(number=int(number), type=kind, removed=removed)
    numbers = {slot.number for slot in slots.values()}
    if len(numbers) != len(slots) or any(number < 1 for number in numbers):
        raise ValueError(item)
    return slots
