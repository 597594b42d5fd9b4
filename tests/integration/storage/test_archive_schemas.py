"""Archives of another schema: refused where something is unknown, completed where something is missing."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from storage.errors import ArchiveInvalid
from storage.transfer.archive_import import import_archive
from tests.integration.storage.archives import (
    Accessors,
    changed,
    exported,
    files_of,
    packed,
)
from tests.integration.storage.models import Recipe


def with_manifest(archive: io.BytesIO, change: Callable[[Any], None]) -> io.BytesIO:
    files = files_of(archive)
    manifest = json.loads(files["manifest.json"])
    change(manifest)
    return packed({**files, "manifest.json": json.dumps(manifest).encode()})


def test_a_table_without_accessor_is_refused(accessors: Accessors) -> None:
    archive = exported(accessors)
    with pytest.raises(ArchiveInvalid, match="the table 'recipe', for which there is no accessor"):
        import_archive(archive, [accessor for name, accessor in accessors.items() if name != "recipe"])


def test_an_unknown_column_is_refused(accessors: Accessors) -> None:
    def rename(manifest: Any) -> None:
        next(table for table in manifest["tables"] if table["table"] == "bin")["columns"][1]["name"] = "barcode"

    with pytest.raises(ArchiveInvalid, match=r"bin.csv has the column 'barcode', which Bin does not have"):
        import_archive(with_manifest(exported(accessors), rename), accessors.values())


def test_a_column_of_another_kind_is_refused(accessors: Accessors) -> None:
    def retype(manifest: Any) -> None:
        next(table for table in manifest["tables"] if table["table"] == "bin")["columns"][1]["kind"] = "bytes"

    with pytest.raises(ArchiveInvalid, match=r"bin\.csv has bytes in the column 'code', and Bin has text"):
        import_archive(with_manifest(exported(accessors), retype), accessors.values())


def test_a_column_that_the_archive_lacks_keeps_its_value_or_has_the_default(accessors: Accessors) -> None:
    recipes = accessors["recipe"]
    recipes.insert(Recipe(name="a", speed=7.5))
    files = files_of(exported(accessors))
    files["recipe.csv"] = b"id,name,settings,deleted_at\r\n1,renamed,,\r\n2,new,,\r\n"
    manifest = json.loads(files["manifest.json"])
    table = next(table for table in manifest["tables"] if table["table"] == "recipe")
    table["columns"] = [column for column in table["columns"] if column["name"] != "speed"]
    files["manifest.json"] = json.dumps(manifest).encode()
    archive = changed(packed(files), "recipe.csv", lambda rows: rows)

    import_archive(archive, accessors.values())

    assert [(record.name, record.speed) for record in recipes.all()] == [("renamed", 7.5), ("new", 1.0)]
