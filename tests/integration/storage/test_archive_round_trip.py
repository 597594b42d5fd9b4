"""Archives: what is exported comes back equal, on both databases."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import RecordInvalid
from storage.transfer import archive_export, archive_reader, archive_staging
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import import_archive
from tests.integration.storage.archives import (
    Accessors,
    Stamped,
    contents,
    exported,
    files_of,
    fill,
)
from tests.integration.storage.models import Everything, Part, Recipe, Sample
from tests.integration.storage.test_round_trips import WILD


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(records=st.lists(st.fixed_dictionaries({}, optional=WILD), max_size=8))
def test_every_value_comes_back_equal(
    accessors: Accessors, clear: Callable[[], None], records: list[dict[str, Any]]
) -> None:
    clear()
    for record in records:
        for values in ({name: value} for name, value in record.items()):
            try:
                accessors["everything"].insert(Everything(**values))
            except RecordInvalid:
                continue
    before, archive = contents(accessors), exported(accessors)
    clear()
    assert import_archive(archive, accessors.values()).ok
    assert contents(accessors) == before


def test_all_tables_come_back_equal(accessors: Accessors, clear: Callable[[], None]) -> None:
    fill(accessors)
    before, archive = contents(accessors), exported(accessors)
    clear()

    report = import_archive(archive, accessors.values())

    assert contents(accessors) == before
    assert {table.table: table.inserted for table in report.tables if table.inserted} == {
        "recipe": 3, "part": 2, "sample": 2, "shelf": 2, "job": 1, "bin": 1,
    }  # fmt: skip
    assert files_of(exported(accessors))["recipe.csv"] == files_of(archive)["recipe.csv"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "  =", "\N{FULLWIDTH EQUALS SIGN}"])
def test_no_cell_is_a_formula_and_each_comes_back(accessors: Accessors, clear: Callable[[], None], start: str) -> None:
    """In a text, in a key, and in JSON, which begins with what its first value begins with."""
    formula = f"{start}1+cmd|' /C calc'!A0"
    accessors["part"].insert(Part(number=formula))
    accessors["everything"].insert(Everything(text=formula, exact=Decimal(-1), anything=-1, span=timedelta(days=-1)))
    before, archive = contents(accessors), exported(accessors)

    cells = [
        cell
        for file in ("part.csv", "everything.csv", "auditlog.csv")
        for row in csv.reader(io.StringIO(files_of(archive)[file].decode(), newline=""))
        for cell in row
    ]
    starts = {*"=+-@\t\r\n\N{FULLWIDTH EQUALS SIGN}"}
    assert {cell for cell in cells if {cell[:1], cell.lstrip()[:1]} & starts} == {"-1"}  # a number is none
    assert f"'{formula}" in cells

    clear()
    import_archive(archive, accessors.values())
    assert contents(accessors) == before


def test_ids_go_on_after_the_imported_ones(accessors: Accessors, clear: Callable[[], None]) -> None:
    fill(accessors)
    archive = exported(accessors)
    clear()
    import_archive(archive, accessors.values())

    assert accessors["recipe"].insert(Recipe(name="b")).id == 4


def test_more_records_than_a_page(accessors: Accessors, clear: Callable[[], None]) -> None:
    accessors["part"].insert_many([Part(number=f"{number:04}") for number in range(1025)])
    before, archive = contents(accessors), exported(accessors)
    assert len(files_of(archive)["part.csv"].splitlines()) == 1026
    clear()
    assert import_archive(archive, accessors.values()).ok
    assert contents(accessors) == before


def test_an_archive_goes_from_one_database_to_the_other(
    accessors: Accessors, clear: Callable[[], None], tmp_path: Path
) -> None:
    fill(accessors)
    export_archive(tmp_path / "machine.zip", accessors.values())
    before = contents(accessors)
    clear()
    assert import_archive(str(tmp_path / "machine.zip"), accessors.values()).ok
    assert contents(accessors) == before
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".db" and "machine.db" not in path.name] == [
        "machine.zip"
    ]


def test_a_value_that_the_database_fills_in_can_be_none(accessors: Accessors, clear: Callable[[], None]) -> None:
    stamped = accessors["stamped"]
    record = stamped.insert(Stamped(width=4))
    assert (record.note, record.doubled) == ("new", 8)
    record.note = None
    stamped.save(record)
    before, archive = contents(accessors), exported(accessors)
    clear()
    import_archive(archive, accessors.values())
    assert contents(accessors) == before


def peak_of(work: Callable[[], object]) -> int:
    """The bytes that Python has at once in the course of some work."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_table(
    accessors: Accessors, clear: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_export, "_PAGE_CHARACTERS", 1 << 17)
    monkeypatch.setattr(archive_staging, "_BATCH_BYTES", 1 << 17)
    monkeypatch.setattr(archive_reader, "_CHUNK", 1 << 17)
    peaks = []
    for count in (300, 3000):
        clear()
        for start in range(0, count, 100):
            accessors["sample"].insert_many([Sample(label=f"{number}" * 500) for number in range(start, start + 100)])
        archive = tmp_path / f"{count}.zip"
        exporting = peak_of(lambda place=archive: export_archive(place, accessors.values()))  # type: ignore[misc]
        clear()
        importing = peak_of(lambda place=archive: import_archive(place, accessors.values()))  # type: ignore[misc]
        assert len(accessors["sample"].all()) == count
        peaks.append((exporting, importing))
    (few_out, few_in), (many_out, many_in) = peaks
    assert many_out < 1.5 * few_out + 200_000
    assert many_in < 1.5 * few_in + 200_000
