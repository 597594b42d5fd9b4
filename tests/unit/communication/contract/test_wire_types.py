"""Each kind has one form in protobuf."""

from __future__ import annotations

import pytest

from communication.contract.types import ALWAYS_PRESENT_KINDS, STRING_KINDS, ZERO_VALUES, Field, Kind
from communication.contract.wire_types import SCALARS, WELL_KNOWN, type_text


def test_every_kind_is_a_scalar_a_message_of_googles_or_one_of_ours() -> None:
    assert set(SCALARS) | set(WELL_KNOWN) | {Kind.ENUM, Kind.MESSAGE} == set(Kind)
    assert not set(SCALARS) & set(WELL_KNOWN)
    assert {kind for kind, (_, text) in SCALARS.items() if text == "string"} == STRING_KINDS


def test_every_kind_but_enum_either_has_a_zero_or_is_always_present() -> None:
    assert set(ZERO_VALUES) | ALWAYS_PRESENT_KINDS | {Kind.ENUM} == set(Kind)
    assert not set(ZERO_VALUES) & ALWAYS_PRESENT_KINDS


@pytest.mark.parametrize(
    ("kind", "type_name", "repeated", "text"),
    [
        (Kind.INT64, None, False, "int64"),
        (Kind.DECIMAL, None, True, "repeated string"),
        (Kind.VALUE, None, False, "google.protobuf.Value"),
        (Kind.MESSAGE, "Job", True, "repeated Job"),
        (Kind.ENUM, "JobState", False, "JobState"),
    ],
)
def test_types_are_spelled_as_in_a_proto_file(kind: Kind, type_name: str | None, text: str, *, repeated: bool) -> None:
    field = Field(name="x", json_name="x", number=1, kind=kind, type_name=type_name, repeated=repeated)
    assert type_text(field) == text
