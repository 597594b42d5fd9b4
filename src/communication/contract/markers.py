"""What annotations say where Python has no word for it: `Int64`, `FieldPaths`, `ExpectedMarker`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Int64Marker:
    """Says that an int is an int64 on the wire."""


@dataclass(frozen=True)
class FieldPathsMarker:
    """Says that a list of strings may be one text with commas in JSON."""


@dataclass(frozen=True)
class ExpectedMarker:
    """Says that a caller usually gives a field, though it may be absent on the wire; sample requests have it."""


Int64 = Annotated[int, Int64Marker()]
"""An int of 64 bits; a plain `int` has 32. In JSON it is a string, in TypeScript a bigint."""

FieldPaths = Annotated[list[str], FieldPathsMarker()]
"""Names of fields: `repeated string` on the wire; JSON may also spell it as a FieldMask does, `"name,started_at"`."""
