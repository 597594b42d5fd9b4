"""Rows of an archive become values that the model accepts, or the reasons why it does not."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import field_validator
from sqlalchemy.orm import registry, validates
from sqlmodel import Field, SQLModel

from storage.accessor import ModelAccessor
from storage.errors import ArchiveInvalid, RecordInvalid
from storage.transfer.archive_manifest import ArchivedTable, archived_columns
from storage.transfer.archive_reader import ArchivedRow
from storage.transfer.archive_rows import RowReader


class Base(SQLModel, registry=registry()):
    """Keeps the tables to this test."""


class Bolt(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    size: str = Field(max_length=4)
    count: int = 1
    doubled: int | None = Field(default=None, sa_column=sa.Column(sa.Integer, sa.Computed("count * 2")))

    @field_validator("size")
    @classmethod
    def upper(cls, size: str) -> str:
        return size.upper()


class Nut(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    size: str

    @validates("size")
    def check_size(self, _name: str, size: str) -> str:
        if not size.startswith("M"):
            raise ValueError("a size begins with M")
        return size


def reader(model: type[SQLModel], *names: str) -> RowReader:
    """A reader of a file with these columns."""
    accessor: ModelAccessor[Any] = ModelAccessor(model, "things")
    columns = tuple(column for column in archived_columns(accessor.codec) if column.name in names)
    archived = ArchivedTable(table="thing", file="thing.csv", rows=1, sha256="", key="id", columns=columns)
    return RowReader(archived, accessor)


def row(*cells: str) -> ArchivedRow:
    return ArchivedRow(line=7, cells=list(cells))


def test_a_whole_row_is_validated_without_what_the_database_computes() -> None:
    bolts = reader(Bolt, "id", "size", "count", "doubled")

    read = bolts.row_of(row("1", "m4", "5", "99"))

    assert not bolts.is_partial
    assert bolts.written == ["size", "count"]
    assert (read.line, read.values) == (7, {"id": 1, "size": "M4", "count": 5, "doubled": None})


def test_a_part_of_a_row_waits_to_be_validated_with_what_is_stored() -> None:
    bolts = reader(Bolt, "id", "size")

    assert bolts.is_partial
    assert bolts.row_of(row("1", "m4 too long")).values == {"id": 1, "size": "m4 too long"}
    assert bolts.validated({"id": 1, "size": "m4"})["count"] == 1
    with pytest.raises(RecordInvalid, match="id"):
        bolts.row_of(row(str(2**40), "m4"))


@pytest.mark.parametrize(
    ("cells", "fields"),
    [
        (["x", "m4", "many", ""], ["id", "count"]),
        (["1", "m4 too long", "1", ""], ["size"]),
        (["1", "m4", "", ""], ["count"]),
        (["1", "m4"], [""]),
    ],
)
def test_what_is_wrong_with_a_row_is_told_with_its_columns(cells: list[str], fields: list[str]) -> None:
    with pytest.raises(RecordInvalid) as caught:
        reader(Bolt, "id", "size", "count", "doubled").row_of(row(*cells))
    assert [problem.field for problem in caught.value.problems] == fields


@pytest.mark.parametrize(("cells", "key"), [(["5", "x"], 5), (["", "x"], None), (["five", "x"], None), (["5"], None)])
def test_the_key_of_a_row_is_known_although_the_row_is_bad(cells: list[str], key: int | None) -> None:
    assert reader(Bolt, "id", "size").key_of(row(*cells)) == key


def test_functions_that_run_when_a_value_is_set_run_for_a_row() -> None:
    nuts = reader(Nut, "id", "size")
    assert nuts.row_of(row("1", "M4")).values == {"id": 1, "size": "M4"}
    with pytest.raises(RecordInvalid, match="a size begins with M"):
        nuts.row_of(row("1", "4"))


def test_a_file_without_the_key_is_refused() -> None:
    with pytest.raises(ArchiveInvalid, match=r"thing\.csv lacks the column 'id', which is the key of Bolt"):
        reader(Bolt, "size")
