"""Values that are refused, and where in a message they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from communication.errors import FieldViolation

MOST_VIOLATIONS = 20
"""How many violations are looked for: enough to mend a form, too few to keep a server busy or to flood a caller."""
LONGEST_ECHO = 100
"""How many characters of a name that a caller made up are said back."""


class Refused(Exception):
    """A value that has no form on the other side; the text completes a sentence that begins with the field's name.

    Args:
        description: What is wrong with the value itself.
        violations: What is wrong inside it, in place of a description.
    """

    def __init__(self, description: str = "", *, violations: Iterable[FieldViolation] = ()) -> None:
        self.violations = tuple(violations) or (FieldViolation(field="", description=description),)
        super().__init__(", ".join(map(str, self.violations)))

    def within(self, name: str) -> list[FieldViolation]:
        """Return the violations as they read from outside.

        Args:
            name: The field, or `[2]` for the item of a list, whose value was refused.
        """
        return [FieldViolation(field=_join(name, item.field), description=item.description) for item in self.violations]


def _join(outer: str, inner: str) -> str:
    return f"{outer}{inner}" if not inner or inner.startswith("[") else f"{outer}.{inner}"


Convert = Callable[[Any], Any]
"""Turns one value into its form on the other side, or raises Refused."""


def each(convert: Convert) -> Convert:
    """Return a converter of lists from one of their items."""

    def convert_list(items: Any) -> list[Any]:
        if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
            raise Refused("must be a list")
        converted, problems = [], []
        for index, item in enumerate(items):
            try:
                converted.append(convert(item))
            except Refused as refused:
                problems.extend(refused.within(f"[{index}]"))
                if len(problems) >= MOST_VIOLATIONS:
                    break
        if problems:
            raise Refused(violations=problems)
        return converted

    return convert_list
