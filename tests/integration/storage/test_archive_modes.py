"""What an import does to what is there: merge, replace, dry run, and the transaction around it."""

from __future__ import annotations

import io

import pytest

from storage.database import transaction
from storage.errors import ArchiveInvalid, ConfigurationError
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import import_archive
from tests.integration.storage.archives import (
    GOOD,
    Accessors,
    contents,
    exported,
    fill,
    recipes_with,
)
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Job, Recipe, Shelf


def test_merge_writes_what_differs_and_leaves_the_rest(accessors: Accessors, audit: Audit) -> None:
    recipes = accessors["recipe"]
    first, _ = recipes.insert_many([Recipe(name="a"), Recipe(name="b")])
    archive = exported(accessors)
    first.name = "changed"
    recipes.save(first)
    recipes.insert(Recipe(name="later"))
    entries = len(audit())

    report = import_archive(archive, accessors.values(), actor="ana")

    assert [record.name for record in recipes.all()] == ["a", "b", "later"]
    (table,) = (table for table in report.tables if table.table == "recipe")
    assert (table.inserted, table.updated, table.unchanged, table.removed) == (0, 1, 1, 0)
    (entry,) = audit()[entries:]
    assert (entry.operation, entry.actor, entry.record_id) == ("update", "ana", first.id)


def test_replace_removes_what_the_archive_does_not_have(accessors: Accessors, audit: Audit) -> None:
    fill(accessors)
    before, archive = contents(accessors), exported(accessors)
    accessors["recipe"].insert_many([Recipe(name="x"), Recipe(name="y")])
    accessors["recipe"].delete(5)
    shelf = accessors["shelf"].insert(Shelf())
    accessors["job"].insert_many([Job(shelf_id=shelf.id), Job(shelf_id=1)])

    report = import_archive(archive, accessors.values(), mode="replace", actor="ana")

    assert contents(accessors) == before
    assert {table.table: table.removed for table in report.tables if table.removed} == {
        "recipe": 2,
        "shelf": 1,
        "job": 2,
    }
    assert [(entry.operation, entry.after) for entry in audit()[-5:]] == [("delete", None)] * 5


def test_a_removed_record_gives_its_unique_value_free(accessors: Accessors) -> None:
    bins = accessors["bin"]
    bins.insert(Bin(code="A1"))
    archive = exported(accessors)
    bins.delete(1)
    bins.insert(Bin(code="A1"))

    with pytest.raises(ArchiveInvalid) as caught:
        import_archive(archive, accessors.values())
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(2, "code")]

    import_archive(archive, accessors.values(), mode="replace")
    assert [(record.id, record.code) for record in bins.all()] == [(1, "A1")]


def test_tables_that_the_archive_lacks_stay_as_they_are(accessors: Accessors) -> None:
    archive = io.BytesIO()
    export_archive(archive, [accessors["bin"]])
    fill(accessors)
    before = contents(accessors)

    import_archive(archive, accessors.values(), mode="replace")

    assert contents(accessors) == {**before, "bin": "[]"}


def test_deleted_at_comes_back_in_every_case(accessors: Accessors, audit: Audit) -> None:
    recipes = accessors["recipe"]
    recipes.insert_many([Recipe(name="active"), Recipe(name="deleted"), Recipe(name="both")])
    recipes.delete_many([2, 3])
    before, archive = contents(accessors), exported(accessors)
    recipes.delete(1)
    recipes.restore(2)
    recipes.restore(3)
    changed_one = recipes.get(3)
    assert changed_one is not None
    changed_one.name = "other"
    recipes.save(changed_one)
    recipes.delete(3)
    entries = len(audit())

    import_archive(archive, accessors.values())

    assert contents(accessors) == before
    assert [(entry.record_id, entry.operation) for entry in audit()[entries:]] == [
        (1, "restore"),
        (2, "soft_delete"),
        (3, "update"),
    ]


def test_an_unknown_mode_is_refused(accessors: Accessors) -> None:
    with pytest.raises(ConfigurationError, match="merge"):
        import_archive(io.BytesIO(), accessors.values(), mode="overwrite")  # type: ignore[arg-type]


def test_a_dry_run_changes_nothing_and_tells_what_would(accessors: Accessors, audit: Audit) -> None:
    fill(accessors)
    archive = exported(accessors)
    accessors["recipe"].delete(1)
    accessors["bin"].insert(Bin(code="B2"))
    before, entries = contents(accessors), len(audit())

    report = import_archive(archive, accessors.values(), mode="replace", dry_run=True)

    assert (contents(accessors), len(audit())) == (before, entries)
    assert report.dry_run
    assert {
        table.table: (table.updated, table.removed) for table in report.tables if table.updated or table.removed
    } == {
        "recipe": (1, 0),
        "bin": (0, 1),
    }


def test_an_import_joins_the_transaction_around_it(accessors: Accessors) -> None:
    archive = recipes_with(accessors, GOOD)
    with pytest.raises(RuntimeError), transaction() as session:
        import_archive(archive, accessors.values())
        assert session.get(Recipe, 1) is not None
        raise RuntimeError
    assert accessors["recipe"].all() == []


def test_what_a_session_has_is_read_again_after_an_import(accessors: Accessors) -> None:
    accessors["recipe"].insert(Recipe(name="old"))
    archive = recipes_with(accessors, ["1", "imported", "1.0", "", ""])
    with transaction() as session:
        recipe = session.get(Recipe, 1)
        assert recipe is not None
        import_archive(archive, accessors.values())
        assert recipe.name == "imported"
