"""What is done to each record of an import: hooks, and an entry in the audit trail."""

from __future__ import annotations

from collections.abc import Callable

from sqlmodel import Session

from storage.transfer.archive_import import import_archive
from tests.integration.storage.archives import Accessors, exported
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Recipe


def test_a_hook_may_write_records_that_the_import_has_still_to_write(accessors: Accessors, audit: Audit) -> None:
    """Also one that the archive has as it was before the hook: in the end it is as the archive says."""
    recipes = accessors["recipe"]
    recipes.insert_many([Recipe(name="a"), Recipe(name="b"), Recipe(name="c")])
    archive = exported(accessors)
    first = recipes.get(1)
    assert first is not None
    first.name = "other"
    recipes.save(first)
    seen: list[int | None] = []

    @recipes.before_update()
    def change_the_next(session: Session, instance: Recipe) -> None:
        seen.append(instance.id)
        if instance.id == 1:
            following = session.get(Recipe, 2)
            assert following is not None
            following.name = "by a hook"

    entries = len(audit())

    report = import_archive(archive, accessors.values())

    assert [record.name for record in recipes.all()] == ["a", "b", "c"]
    assert seen == [1, 2]
    (table,) = (table for table in report.tables if table.table == "recipe")
    assert (table.updated, table.unchanged) == (2, 1)
    told = [(entry.record_id, (entry.before or {})["name"], (entry.after or {})["name"]) for entry in audit()[entries:]]
    assert told == [(1, "other", "a"), (2, "by a hook", "b")]


def test_hooks_run_for_each_record_and_may_change_it(accessors: Accessors, clear: Callable[[], None]) -> None:
    recipes = accessors["recipe"]
    recipes.insert_many([Recipe(name="a", settings={"axis": 1}), Recipe(name="b")])
    archive = exported(accessors)
    clear()
    seen: list[tuple[str, int | None, str]] = []

    @recipes.before_insert()
    def complete(session: Session, instance: Recipe) -> None:
        seen.append(("before", instance.id, instance.name))
        instance.name += "!"

    @recipes.after_insert()
    def note(session: Session, instance: Recipe) -> None:
        seen.append(("after", instance.id, instance.name))

    import_archive(archive, accessors.values())

    assert [(record.name, record.settings) for record in recipes.all()] == [("a!", {"axis": 1}), ("b!", None)]
    assert seen == [("before", 1, "a"), ("before", 2, "b"), ("after", 1, "a!"), ("after", 2, "b!")]


def test_the_trail_tells_of_each_record_as_it_is_stored(
    accessors: Accessors, clear: Callable[[], None], audit: Audit
) -> None:
    recipes = accessors["recipe"]
    recipes.insert_many([Recipe(name="a", settings={"axis": 1}), Recipe(name="b", speed=2.5)])
    recipes.delete(2)
    archive, before = exported(accessors), [entry.after for entry in audit()]
    clear()

    import_archive(archive, accessors.values(), actor="ana")

    assert [(entry.operation, entry.actor, entry.component, entry.before) for entry in audit()] == [
        ("create", "ana", "recipes", None)
    ] * 2
    assert [entry.after for entry in audit()] == [before[0], before[2]]
