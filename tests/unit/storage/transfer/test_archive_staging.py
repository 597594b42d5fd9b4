"""Staging: what is read waits on the disk, in the order in which it came."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from storage.errors import DatabaseUnavailable
from storage.transfer import archive_staging
from storage.transfer.archive_staging import Staging


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    made = Staging(tmp_path / "rows.sqlite")
    yield made
    made.close()


def test_rows_come_back_equal_and_in_their_order(staging: Staging) -> None:
    class Color(enum.Enum):
        RED = "r"

    class Point(BaseModel):
        x: float
        inner: list[Any] = []

    row = [Color.RED, Point(x=1.5, inner=[Color.RED]), Decimal("1.50"), datetime(2026, 1, 1, tzinfo=UTC)]
    row += [b"\0", None, "", UUID(int=1), timedelta(days=-1), {"a": [1, 1.0, True]}]
    for number in range(1201):
        staging.add([number, *row], size=1)

    batches = list(staging.batches())

    assert [len(batch) for batch in batches] == [500, 500, 201]
    found = [item for batch in batches for item in batch]
    assert [(item[0], repr(item[1:])) for item in found] == [(number, repr(row)) for number in range(1201)]
    assert {type(item[2]) for item in found} == {Point}
    assert list(staging.batches()) == batches


def test_large_rows_make_smaller_batches(staging: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_staging, "_BATCH_BYTES", 100)
    for number in range(4):
        staging.add(number, size=60)
    assert list(staging.batches()) == [[0, 1], [2, 3]]


def test_keys_of_every_kind_are_known_once(staging: Staging) -> None:
    keys = [1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, "1", "", "ä", UUID(int=1)]
    assert [staging.add_key(key) for key in keys] == [True] * 9
    assert [staging.add_key(key) for key in keys] == [False] * 9
    assert [key in staging for key in [*keys, 3, 2**64, "2", UUID(int=2)]] == [True] * 9 + [False] * 4


def test_little_of_it_is_in_memory(staging: Staging, tmp_path: Path) -> None:
    """SQLite's own temporary files would be, in a library that is built so."""
    for number in range(100):
        staging.add("x" * 100_000, size=100_000)
        staging.add_key(number)
    assert (tmp_path / "rows.sqlite").stat().st_size > 5_000_000


def test_a_folder_that_is_gone_is_told_in_our_terms(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        Staging(tmp_path / "gone" / "rows.sqlite")
