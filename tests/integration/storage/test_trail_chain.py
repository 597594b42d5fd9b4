"""The trail chains: what an entry tells of before is what the entry before it tells of after, whatever hooks write."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlmodel import Session, select

from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import transaction
from storage.errors import RecordDeleted
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Recipe

Change = Callable[[Session, Recipe], None]


def by_session(session: Session, instance: Recipe) -> None:
    stored = session.get(Recipe, instance.id)
    assert stored is not None
    stored.speed = 0.5


def by_statement(session: Session, instance: Recipe) -> None:
    session.execute(sa.update(Recipe).where(sa.text("id = :key")).values(speed=0.5), {"key": instance.id})


def by_accessor(_session: Session, instance: Recipe) -> None:
    ModelAccessor(Recipe, "recipes").update(instance.id, {"speed": 0.5}, actor="hook")


def assert_chain(entries: list[AuditLog], stored: Recipe | None) -> None:
    snapshot = None if stored is None else ModelAccessor(Recipe, "recipes").codec.snapshot(stored.model_dump())
    last = entries[-1].after
    if last is not None and snapshot is not None:
        for record in (last, snapshot):  # as text here, as a time there
            if record["deleted_at"] is not None:
                record["deleted_at"] = datetime.fromisoformat(str(record["deleted_at"]))
    assert last == snapshot
    assert entries[0].before is None
    for earlier, later in itertools.pairwise(entries):
        assert later.before == earlier.after, (earlier.operation, later.operation)


@pytest.mark.parametrize("change", [by_session, by_statement, by_accessor])
@pytest.mark.parametrize("event", ["before_update", "before_delete"])
def test_a_hook_that_writes_its_own_row_breaks_no_chain(
    recipes: ModelAccessor[Recipe], audit: Audit, event: str, change: Change
) -> None:
    getattr(recipes, event)()(change)
    recipe = recipes.insert(Recipe(name="a"))
    if event == "before_update":
        recipe.name = "b"
        recipes.save(recipe)
    else:
        recipes.delete(recipe.id)

    stored = recipes.get(recipe.id, include_deleted=True)
    assert stored is not None
    assert stored.speed == 0.5
    assert (stored.name, stored.deleted_at is not None) == (("b", False) if event == "before_update" else ("a", True))
    assert [entry.actor for entry in audit()[1:-1]] == (["hook"] if change is by_accessor else [])
    assert_chain(audit(), stored)


@pytest.mark.parametrize("by", ["session", "accessor"])
def test_a_row_that_a_hook_removes_is_told_as_removed_once(bins: ModelAccessor[Bin], audit: Audit, by: str) -> None:
    bins.insert_many([Bin(code="A1"), Bin(code="A2")])

    @bins.before_delete()
    def remove(session: Session, instance: Bin) -> None:
        if by == "session":
            session.delete(session.get(Bin, instance.id))
        else:
            ModelAccessor(Bin, "bins").delete(instance.id, actor="hook")

    assert bins.delete_many([1, 2]) == 2
    assert bins.all() == []
    entries = audit()[2:]
    assert [(entry.operation, entry.record_id, entry.after) for entry in entries] == [
        ("delete", 1, None),
        ("delete", 2, None),
    ]
    assert {entry.actor for entry in entries} == {"internal" if by == "session" else "hook"}


@pytest.mark.parametrize("by", ["session", "accessor"])
def test_an_update_whose_hook_removes_the_row_is_refused(bins: ModelAccessor[Bin], audit: Audit, by: str) -> None:
    record = bins.insert(Bin(code="A1"))

    @bins.before_update()
    def remove(session: Session, instance: Bin) -> None:
        if by == "session":
            session.delete(session.get(Bin, instance.id))
        else:
            bins.delete(instance.id)

    record.code = "A2"
    with pytest.raises(RecordDeleted, match="before_update hook has deleted Bin 1"):
        bins.save(record)
    assert [found.code for found in bins.all()] == ["A1"]
    assert len(audit()) == 1


def test_what_a_hook_writes_in_place_of_the_update_is_told(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    @recipes.before_update()
    def write_all(session: Session, instance: Recipe) -> None:
        stored = session.get(Recipe, instance.id)
        assert stored is not None
        stored.name = instance.name

    recipe = recipes.insert(Recipe(name="a"))
    recipe.name = "b"
    recipes.save(recipe)

    assert [entry.operation for entry in audit()] == ["create", "update"]
    assert_chain(audit(), recipes.get(1))


class Story:
    """A random life of a few records, with hooks that write what they run for."""

    def __init__(self, recipes: ModelAccessor[Recipe], seed: int) -> None:
        self.recipes = recipes
        self.choose = random.Random(seed)  # noqa: S311 - the same story each time
        self.inside = False
        for event in ("before_update", "before_delete"):
            getattr(recipes, event)()(self.hook([self.nothing, self.session, self.accessor, self.instance]))
        for event in ("after_insert", "after_update", "after_delete"):
            getattr(recipes, event)()(self.hook([self.nothing, self.accessor]))

    def hook(self, actions: list[Change]) -> Change:
        def run(session: Session, instance: Recipe) -> None:
            if not self.inside:  # by itself
                self.inside = True
                try:
                    self.choose.choice(actions)(session, instance)
                finally:
                    self.inside = False

        return run

    def nothing(self, session: Session, instance: Recipe) -> None:
        pass

    def instance(self, session: Session, instance: Recipe) -> None:
        instance.settings = self.settings()

    def session(self, session: Session, instance: Recipe) -> None:
        stored = session.get(Recipe, instance.id)
        assert stored is not None
        if self.choose.random() < 0.8:
            stored.speed = self.choose.choice([1.0, 2.0, 3.0])
        else:
            stored.deleted_at = self.choose.choice([None, datetime.now(UTC)])

    def accessor(self, session: Session, instance: Recipe) -> None:
        if self.choose.random() < 0.8:
            self.recipes.update(instance.id, {"speed": self.choose.choice([1.0, 2.0, 3.0])})
        else:
            self.choose.choice([self.recipes.delete, self.recipes.restore])(instance.id)

    def settings(self) -> dict[str, Any]:
        return {"axis": self.choose.choice([1, 1.0, True])}

    def step(self) -> None:
        keys = [recipe.id for recipe in self.recipes.all(include_deleted=True)]
        match self.choose.choice(["insert", "update", "update", "save", "delete", "delete_many", "restore", "mark"]):
            case "insert":
                self.recipes.insert_many([Recipe(name="a"), Recipe(name="b", settings=self.settings())])
            case "update":
                self.recipes.update(self.choose.choice(keys), {"name": self.choose.choice("abc")})
            case "save":
                recipe = self.recipes.get(self.choose.choice(keys))
                if recipe is not None:
                    recipe.name, recipe.settings = self.choose.choice("abc"), self.settings()
                    self.recipes.save(recipe)
            case "delete":
                self.recipes.delete(self.choose.choice(keys))
            case "delete_many":
                self.recipes.delete_many(self.choose.sample(keys, 2))
            case "restore":
                self.recipes.restore(self.choose.choice(keys))
            case "mark":
                self.recipes.update(self.choose.choice(keys), {"deleted_at": datetime.now(UTC)})


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_the_trail_chains_up_to_what_is_stored(
    engine: Engine, recipes: ModelAccessor[Recipe], audit: Audit, seed: int
) -> None:
    story = Story(recipes, seed)
    recipes.insert_many([Recipe(name=name) for name in "abc"])
    for _ in range(60):
        try:
            with transaction():
                story.step()
        except RecordDeleted:  # by its own hook, and undone
            continue

    with Session(engine) as session:
        stored = {recipe.id: recipe for recipe in session.exec(select(Recipe)).all()}
    entries = audit()
    assert {entry.record_id for entry in entries} == set(stored)
    for key, record in stored.items():
        assert_chain([entry for entry in entries if entry.record_id == key], record)
    operations = {entry.operation for entry in entries}
    assert operations == {"create", "update", "soft_delete", "restore"}
