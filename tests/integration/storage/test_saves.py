"""save(): it inserts what is new, and else writes what its holder changed and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from storage.accessor import ModelAccessor
from storage.errors import (
    DuplicateRecord,
    RecordDeleted,
)
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Recipe, Ticket


def got(accessor: ModelAccessor[Any], key: Any) -> Any:
    record = accessor.get(key)
    assert record is not None
    return record


def test_save_inserts_a_new_record(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    assert recipes.save(Recipe(name="a")).id == 1
    assert [entry.operation for entry in audit()] == ["create"]


def test_save_inserts_a_record_of_an_unknown_key(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipes.save(Recipe(id=41, name="a"))

    assert [entry.operation for entry in audit()] == ["create"]
    assert recipes.insert(Recipe(name="b")).id == 42


def test_save_of_a_new_object_under_a_known_key_updates(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipes.insert(Recipe(name="a", speed=2.0))

    recipes.save(Recipe(id=1, name="b"))

    assert got(recipes, 1).model_dump() == Recipe(id=1, name="b").model_dump()
    assert [entry.operation for entry in audit()] == ["create", "update"]


def test_a_record_saved_under_another_key_is_another_record(recipes: ModelAccessor[Recipe], engine: Engine) -> None:
    recipe = recipes.insert(Recipe(name="a"))
    recipe.id = 9
    recipes.save(recipe)

    assert [found.id for found in recipes.all()] == [1, 9]
    with Session(engine) as session:
        session.add(recipe)
        session.refresh(recipe)
        assert recipe.id == 9


def test_save_of_an_unchanged_record_writes_nothing_and_runs_no_hook(
    recipes: ModelAccessor[Recipe], audit: Audit
) -> None:
    recipe = recipes.insert(Recipe(name="a", settings={"axis": 1}))
    ran: list[str] = []
    recipes.before_update()(lambda session, instance: ran.append("before"))
    recipes.after_update()(lambda session, instance: ran.append("after"))

    assert recipes.save(recipe) is recipe
    recipe.name = "b"
    recipe.name = "a"
    recipes.save(recipe)
    recipes.save(got(recipes, recipe.id))

    assert ran == []
    assert len(audit()) == 1


def test_two_holders_who_change_different_fields_do_not_undo_one_another(recipes: ModelAccessor[Recipe]) -> None:
    recipes.insert(Recipe(name="a", speed=1.0, settings={"axis": 1}))
    one, two, three = (got(recipes, 1) for _ in range(3))
    one.name, two.speed = "b", 2.0
    three.settings["axis"] = 3

    for holder in (one, two, three):
        recipes.save(holder)

    assert got(recipes, 1) == three
    assert (three.name, three.speed, three.settings) == ("b", 2.0, {"axis": 3})


def test_a_holder_who_saves_again_does_not_undo_others(recipes: ModelAccessor[Recipe]) -> None:
    one, two = recipes.insert(Recipe(name="a")), got(recipes, 1)
    one.name = "b"
    recipes.save(one)
    two.name = "c"
    recipes.save(two)
    one.speed = 2.0
    recipes.save(one)

    assert got(recipes, 1).name == one.name == "c"


def test_setting_an_attribute_to_what_it_was_does_not_undo_others(recipes: ModelAccessor[Recipe]) -> None:
    one, two = recipes.insert(Recipe(name="a")), got(recipes, 1)
    two.name = "b"
    recipes.save(two)
    one.name, one.speed = "a", 2.0
    recipes.save(one)

    assert got(recipes, 1).name == "b"


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: settings.update(axis=2),
        lambda settings: settings.pop("axis"),
        lambda settings: settings["deep"].append(1),
        lambda settings: settings.update(axis=1.0),
        lambda settings: settings.update(axis=True),
    ],
    ids=["replaced", "removed", "deep inside", "1 to 1.0", "1 to True"],
)
def test_a_change_inside_json_is_noticed(
    recipes: ModelAccessor[Recipe], audit: Audit, change: Callable[[dict[str, Any]], None]
) -> None:
    recipe = recipes.insert(Recipe(name="a", settings={"axis": 1, "deep": []}))
    assert recipe.settings is not None
    change(recipe.settings)
    recipes.save(recipe)

    stored = got(recipes, 1).settings
    assert {key: repr(value) for key, value in stored.items()} == {
        key: repr(value) for key, value in recipe.settings.items()
    }
    assert len(audit()) == 2


def test_another_order_of_keys_inside_json_is_no_change(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipe = recipes.insert(Recipe(name="a", settings={"axis": 1, "speed": 2}))
    recipe.settings = {"speed": 2, "axis": 1}
    recipes.save(recipe)

    assert len(audit()) == 1


def test_the_same_moment_in_another_zone_is_no_change(engine: Engine, audit: Audit) -> None:
    tickets = ModelAccessor(Ticket, "tickets")
    ticket = tickets.insert(Ticket())
    tickets.delete(ticket.id)
    deleted = tickets.get(ticket.id, include_deleted=True)
    assert deleted is not None
    assert deleted.deleted_at is not None
    assert deleted.deleted_at.utcoffset() == timedelta(0)
    assert datetime.now(UTC) - deleted.deleted_at < timedelta(minutes=1)


def test_save_of_a_deleted_record_is_refused(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipe = recipes.insert(Recipe(name="a"))
    recipes.delete(recipe.id)
    recipe.name = "b"

    with pytest.raises(RecordDeleted, match="restore"):
        recipes.save(recipe)

    assert recipes.get(recipe.id, include_deleted=True).name == "a"  # type: ignore[union-attr]
    assert [entry.operation for entry in audit()] == ["create", "soft_delete"]


@pytest.mark.parametrize("way", ["save", "save of a new object", "update"])
def test_who_sets_deleted_at_by_hand_deletes(recipes: ModelAccessor[Recipe], audit: Audit, way: str) -> None:
    recipe = recipes.insert(Recipe(name="a"))
    ran: list[str] = []
    for event in ("before_update", "after_update", "before_delete", "after_delete"):
        getattr(recipes, event)()(lambda session, instance, event=event: ran.append(event))
    now = datetime.now(UTC)
    if way == "save":
        recipe.name, recipe.deleted_at = "b", now
        recipes.save(recipe)
    elif way == "update":
        recipes.update(1, {"name": "b", "deleted_at": now})
    else:
        recipes.save(Recipe(id=1, name="b", deleted_at=now))

    assert ran == ["before_delete", "after_delete"]
    assert [entry.operation for entry in audit()] == ["create", "soft_delete"]
    assert recipes.get(1) is None
    assert got_deleted(recipes, 1) == ("b", now)


def got_deleted(recipes: ModelAccessor[Recipe], key: int) -> tuple[str, datetime | None]:
    stored = recipes.get(key, include_deleted=True)
    assert stored is not None
    return stored.name, stored.deleted_at


def test_a_delete_hook_can_veto_a_deletion_by_hand(recipes: ModelAccessor[Recipe]) -> None:
    recipe = recipes.insert(Recipe(name="a"))
    recipes.before_delete()(lambda session, instance: 1 / 0)
    recipe.deleted_at = datetime.now(UTC)

    with pytest.raises(ZeroDivisionError):
        recipes.save(recipe)
    assert got(recipes, 1).deleted_at is None


def test_an_update_hook_that_deletes_runs_the_delete_hooks(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    ran: list[str] = []
    recipes.before_update()(lambda session, instance: setattr(instance, "deleted_at", datetime.now(UTC)))
    for event in ("after_update", "before_delete", "after_delete"):
        getattr(recipes, event)()(lambda session, instance, event=event: ran.append(event))
    recipe = recipes.insert(Recipe(name="a"))
    recipe.name = "b"
    recipes.save(recipe)

    assert ran == ["before_delete", "after_delete"]
    assert audit()[-1].operation == "soft_delete"


def test_a_failed_save_can_be_tried_again(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(code="A1"))
    other = bins.insert(Bin(code="A2"))
    other.code, other.capacity = "A1", 5
    with pytest.raises(DuplicateRecord):
        bins.save(other)
    assert (other.code, other.capacity) == ("A1", 5)

    other.code = "A3"
    bins.save(other)

    assert (got(bins, other.id).code, got(bins, other.id).capacity) == ("A3", 5)
