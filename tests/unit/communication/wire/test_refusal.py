"""Refusals say where."""

from __future__ import annotations

from typing import Any

import pytest

from communication.wire.refusal import MOST_VIOLATIONS, Refused, each
from communication.wire.scalars import check_text


def test_places_are_joined_as_paths() -> None:
    inner = Refused(violations=Refused("is wrong").within("name"))
    item = Refused(violations=inner.within("[2]"))
    assert [str(violation) for violation in item.within("items")] == ["items[2].name is wrong"]


def test_every_item_that_is_wrong_is_named() -> None:
    with pytest.raises(Refused, match=r"\[0\] must be a text, \[2\] must be a text"):
        each(check_text)([1, "a", None])


def test_a_list_in_which_everything_is_wrong_is_not_read_to_its_end() -> None:
    read = []

    def refuse(item: Any) -> Any:
        read.append(item)
        raise Refused("is wrong")

    with pytest.raises(Refused):
        each(refuse)(range(1_000_000))
    assert len(read) == MOST_VIOLATIONS


@pytest.mark.parametrize("value", ["abc", b"abc", {"a": 1}, 5, None])
def test_what_is_no_list_is_refused(value: Any) -> None:
    with pytest.raises(Refused, match="must be a list"):
        each(check_text)(value)


def test_any_iterable_may_be_written_as_a_list() -> None:
    assert each(check_text)(iter(("a", "b"))) == ["a", "b"]
