"""Keys that a model changes, and keys that no database has room for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
from pydantic import field_validator
from sqlalchemy import Engine
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from storage.accessor import ModelAccessor
from storage.errors import ArchiveInvalid
from storage.schema.tables import create, prepare
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import ImportMode, import_archive
from tests.integration.storage.archives import GOOD, Accessors, changed, files_of, packed, recipes_with
from tests.integration.storage.conftest import Audit

HUGE = "9999999999999999999999999"


class Base(SQLModel, registry=registry()):
    """Root of the models of this module."""


class Crate(Base, table=True):
    """Its key is kept in capitals."""

    code: str = Field(primary_key=True)
    weight: float = 0.0
    note: str | None = None

    @field_validator("code")
    @classmethod
    def upper(cls, code: str) -> str:
        return code.upper()


@pytest.fixture
def crates(engine: Engine) -> Iterator[ModelAccessor[Crate]]:
    prepare(Base.metadata)
    create(engine, Base.metadata)
    yield ModelAccessor(Crate, "crates")
    Base.metadata.drop_all(engine)  # other tests look at which tables there are


def crates_with(crates: ModelAccessor[Crate], *rows: list[str]) -> io.BytesIO:
    archive = io.BytesIO()
    export_archive(archive, [crates])
    return changed(archive, "crate.csv", lambda _: list(rows))


def test_replace_knows_a_record_by_the_key_that_the_model_makes(crates: ModelAccessor[Crate], audit: Audit) -> None:
    crates.insert_many([Crate(code="B1"), Crate(code="B2")])
    entries = len(audit())

    report = import_archive(crates_with(crates, ["b1", "2.0", ""]), [crates], mode="replace")

    (table,) = report.tables
    assert (table.inserted, table.updated, table.removed) == (0, 1, 1)
    assert [(crate.code, crate.weight) for crate in crates.all()] == [("B1", 2.0)]
    told = [(entry.operation, (entry.before or {})["code"]) for entry in audit()[entries:]]
    assert told == [("delete", "B2"), ("update", "B1")]


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_the_key_that_the_model_makes_counts_where_the_archive_lacks_a_column(
    crates: ModelAccessor[Crate], mode: ImportMode
) -> None:
    crates.insert(Crate(code="B1", note="fragile"))
    files = files_of(crates_with(crates))
    files["crate.csv"] = b"code,weight\r\n"
    manifest = json.loads(files["manifest.json"])
    del manifest["tables"][0]["columns"][2]
    files["manifest.json"] = json.dumps(manifest).encode()
    archive = changed(packed(files), "crate.csv", lambda _: [["b1", "2.0"]])

    report = import_archive(archive, [crates], mode=mode)

    (table,) = report.tables
    assert (table.inserted, table.updated, table.removed) == (0, 1, 0)
    assert [(crate.code, crate.weight, crate.note) for crate in crates.all()] == [("B1", 2.0, "fragile")]


def test_keys_that_the_model_makes_equal_are_told_as_the_same(crates: ModelAccessor[Crate]) -> None:
    archive = crates_with(crates, ["B2", "1.0", ""], ["b2", "2.0", ""], ["C", "heavy", ""], ["c", "3.0", ""])

    report = import_archive(archive, [crates], dry_run=True)

    assert [(item.line, item.column, item.message) for item in report.problems] == [
        (3, "code", "is the key of an earlier row as well"),
        (4, "weight", "must be a number"),
        (5, "code", "is the key of an earlier row as well"),
    ]


@pytest.mark.parametrize("key", [HUGE, f"-{HUGE}"])
def test_a_key_beyond_64_bits_makes_a_bad_row(accessors: Accessors, key: str) -> None:
    archive = recipes_with(accessors, GOOD, [key, "huge", "1.0", "", ""])

    report = import_archive(archive, accessors.values(), dry_run=True)

    assert [(item.file, item.line, item.column) for item in report.problems] == [("recipe.csv", 3, "id")]
    with pytest.raises(ArchiveInvalid, match=r"recipe\.csv line 3: id"):
        import_archive(archive, accessors.values())
