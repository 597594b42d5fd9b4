"""Hooks in the transaction of the write they run around."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import after_commit, transaction, use_session
from storage.errors import DatabaseBusy, DuplicateRecord, RecordInvalid
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Recipe

EVENTS = ("before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete")


class VetoError(Exception):
    """What a hook of the tests raises."""


def write_everything(recipes: ModelAccessor[Recipe]) -> None:
    recipe = recipes.insert(Recipe(name="a"))
    recipe.name = "b"
    recipes.save(recipe)
    recipes.delete(recipe.id)


def test_hooks_run_in_the_order_of_events_and_of_registration(recipes: ModelAccessor[Recipe]) -> None:
    ran: list[str] = []
    for number in (1, 2):
        for event in EVENTS:
            getattr(recipes, event)()(lambda session, instance, name=f"{event} {number}": ran.append(name))
    write_everything(recipes)

    assert ran == [f"{event} {number}" for event in EVENTS for number in (1, 2)]


def test_a_hook_gets_a_session_and_the_instance(recipes: ModelAccessor[Recipe]) -> None:
    seen: list[tuple[object, object]] = []
    recipes.before_insert()(lambda session, instance: seen.append((session, instance)))
    recipe = recipes.insert(Recipe(name="a"))

    ((session, instance),) = seen
    assert isinstance(session, Session)
    assert instance is recipe


def test_the_audit_entry_stands_between_the_write_and_the_after_hook(recipes: ModelAccessor[Recipe]) -> None:
    seen: list[tuple[str, int, int]] = []

    def look(event: str) -> Callable[[Session, Recipe], None]:
        def hook(session: Session, instance: Recipe) -> None:
            seen.append((event, len(session.exec(select(Recipe)).all()), len(session.exec(select(AuditLog)).all())))

        return hook

    recipes.before_insert()(look("before"))
    recipes.after_insert()(look("after"))
    recipes.insert(Recipe(name="a"))

    assert seen == [("before", 0, 0), ("after", 1, 1)]


def test_an_after_insert_hook_sees_the_key(recipes: ModelAccessor[Recipe]) -> None:
    keys: list[int | None] = []
    recipes.after_insert()(lambda session, instance: keys.append(instance.id))
    recipes.insert_many([Recipe(name="a"), Recipe(name="b")])

    assert keys == [1, 2]


def test_what_a_before_hook_changes_is_validated_written_and_audited(
    recipes: ModelAccessor[Recipe], audit: Audit
) -> None:
    @recipes.before_insert()
    @recipes.before_update()
    def shout(session: Session, instance: Recipe) -> None:
        instance.name = instance.name.upper()

    recipe = recipes.insert(Recipe(name="a"))
    assert recipe.name == "A"
    recipe.name = "b"
    recipes.save(recipe)

    assert [recipe.name for recipe in recipes.all()] == ["B"]
    assert [entry.after["name"] for entry in audit() if entry.after] == ["A", "B"]
    with pytest.raises(RecordInvalid):
        recipes.insert(Recipe(name="ß" * 40))  # which becomes longer than its column


@pytest.mark.parametrize("event", EVENTS)
def test_an_exception_rolls_everything_back_and_reaches_the_caller_unchanged(
    recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin], audit: Audit, event: str
) -> None:
    recipe = recipes.insert(Recipe(name="a"))
    raised = VetoError("no")

    @getattr(recipes, event)()  # type: ignore[untyped-decorator]
    def veto(session: Session, instance: Recipe) -> None:
        session.add(Bin(code="by the session"))
        session.flush()
        bins.insert(Bin(code="by an accessor"))
        raise raised

    with pytest.raises(VetoError) as caught:
        if "insert" in event:
            recipes.insert(Recipe(name="c"))
        elif "update" in event:
            recipe.name = "b"
            recipes.save(recipe)
        else:
            recipes.delete(recipe.id)

    assert caught.value is raised
    assert [found.name for found in recipes.all()] == ["a"]
    assert bins.all() == []
    assert len(audit()) == 1


@pytest.mark.parametrize("event", ["before_insert", "after_insert"])
def test_a_vetoed_insert_leaves_the_object_as_it_was(recipes: ModelAccessor[Recipe], event: str) -> None:
    vetoes = [VetoError(), None]

    @getattr(recipes, event)()  # type: ignore[untyped-decorator]
    def veto(session: Session, instance: Recipe) -> None:
        instance.speed += 1
        if error := vetoes.pop(0):
            raise error

    recipe = Recipe(name="a")
    with pytest.raises(VetoError):
        recipes.insert(recipe)
    assert (recipe.id, recipe.speed) == (None, 1.0)

    assert recipes.insert(recipe).id is not None


@pytest.mark.parametrize("event", ["before_update", "after_update"])
def test_a_vetoed_save_can_be_tried_again(recipes: ModelAccessor[Recipe], event: str) -> None:
    recipe = recipes.insert(Recipe(name="a", settings={"axis": 1}))
    vetoes = [VetoError(), None]

    @getattr(recipes, event)()  # type: ignore[untyped-decorator]
    def veto(session: Session, instance: Recipe) -> None:
        if error := vetoes.pop(0):
            raise error

    recipe.name = "b"
    recipe.settings["axis"] = 2  # type: ignore[index]
    with pytest.raises(VetoError):
        recipes.save(recipe)
    recipes.save(recipe)

    stored = recipes.get(recipe.id)
    assert stored is not None
    assert (stored.name, stored.settings) == ("b", {"axis": 2})


def test_one_veto_stops_a_whole_batch(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    @recipes.after_insert()
    def veto(session: Session, instance: Recipe) -> None:
        if instance.name == "c":
            raise VetoError

    batch = [Recipe(name=name) for name in "abc"]
    with pytest.raises(VetoError):
        recipes.insert_many(batch)

    assert recipes.all() == []
    assert audit() == []
    assert [recipe.id for recipe in batch] == [None] * 3


def test_a_hook_may_use_its_session_and_any_accessor(
    recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin], audit: Audit
) -> None:
    @recipes.after_insert()
    def stock(session: Session, instance: Recipe) -> None:
        assert session.get(Recipe, instance.id) is not None
        first = bins.insert(Bin(code="A1"))
        assert session.exec(select(Bin.code)).all() == ["A1"]
        session.add(Bin(code="A2"))
        assert [found.code for found in bins.all()] == ["A1", "A2"]
        found = session.get(Bin, first.id)
        assert found is not None
        first.capacity = 5
        bins.save(first)
        assert found.capacity == 5

    recipes.insert(Recipe(name="a"))

    assert [(found.code, found.capacity) for found in bins.all()] == [("A1", 5), ("A2", 0)]
    assert [entry.component for entry in audit()] == ["recipes", "bins", "bins"]


def test_a_hook_can_write_the_model_it_hangs_on(recipes: ModelAccessor[Recipe]) -> None:
    @recipes.after_insert()
    def twin(session: Session, instance: Recipe) -> None:
        if instance.name != "twin":
            recipes.insert(Recipe(name="twin"))

    recipes.insert(Recipe(name="a"))

    assert [recipe.name for recipe in recipes.all()] == ["a", "twin"]


def test_a_hook_that_handles_an_accessors_error_goes_on(
    recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin]
) -> None:
    bins.insert(Bin(code="A1"))

    @recipes.after_insert()
    def stock(session: Session, instance: Recipe) -> None:
        bins.insert(Bin(code="A2"))
        with pytest.raises(DuplicateRecord):
            bins.insert_many([Bin(code="A3"), Bin(code="A1")])

    recipes.insert(Recipe(name="a"))

    assert [found.code for found in bins.all()] == ["A1", "A2"]
    assert len(recipes.all()) == 1


@pytest.mark.parametrize("fails", [True, False])
def test_a_hook_that_commits_its_session_commits_nothing_yet(
    recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin], fails: bool
) -> None:
    @recipes.after_insert()
    def commit(session: Session, instance: Recipe) -> None:
        session.add(Bin(code="A1"))
        session.commit()
        bins.insert(Bin(code="A2"))
        if fails:
            raise VetoError

    if fails:
        with pytest.raises(VetoError):
            recipes.insert(Recipe(name="a"))
    else:
        recipes.insert(Recipe(name="a"))

    assert [found.code for found in bins.all()] == ([] if fails else ["A1", "A2"])
    assert len(recipes.all()) == (0 if fails else 1)


def test_a_hook_that_rolls_its_session_back_undoes_what_it_did_alone(
    recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin]
) -> None:
    @recipes.after_insert()
    def change_of_mind(session: Session, instance: Recipe) -> None:
        session.add(Bin(code="A1"))
        session.flush()
        bins.insert(Bin(code="A2"))
        session.rollback()

    recipes.insert(Recipe(name="a"))

    assert bins.all() == []
    assert len(recipes.all()) == 1


def test_a_hook_may_call_transaction_and_use_session(recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin]) -> None:
    @recipes.after_insert()
    def inner(session: Session, instance: Recipe) -> None:
        with transaction() as joined:
            joined.add(Bin(code="A1"))
        with use_session() as used:
            used.add(Bin(code="A2"))
        with use_session(session) as own:
            assert own is session
            bins.insert(Bin(code="A3"))
        with pytest.raises(VetoError), transaction():
            bins.insert(Bin(code="A4"))
            raise VetoError

    recipes.insert(Recipe(name="a"))

    assert [found.code for found in bins.all()] == ["A1", "A2", "A3"]


def test_a_hook_joins_the_transaction_of_the_caller(recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin]) -> None:
    recipes.after_insert()(lambda session, instance: session.add(Bin(code="A1")))

    with pytest.raises(VetoError), transaction() as session:
        recipes.insert(Recipe(name="a"))
        assert session.exec(select(Bin.code)).all() == ["A1"]
        raise VetoError

    assert bins.all() == []


def test_what_a_hook_defers_happens_after_the_commit(recipes: ModelAccessor[Recipe]) -> None:
    counts: list[int] = []
    recipes.after_insert()(lambda session, instance: after_commit(lambda: counts.append(len(recipes.all()))))
    recipes.insert(Recipe(name="a"))
    assert counts == [1]

    recipes.after_insert()(lambda session, instance: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        recipes.insert(Recipe(name="b"))
    assert counts == [1]


def test_the_instance_of_a_delete_hook_is_the_record(bins: ModelAccessor[Bin]) -> None:
    seen: list[dict[str, Any]] = []
    bins.before_delete()(lambda session, instance: seen.append(instance.model_dump()))
    bins.after_delete()(lambda session, instance: seen.append(instance.model_dump()))
    bins.insert(Bin(code="A1"))
    bins.delete(1)

    assert seen == [{"id": 1, "code": "A1", "capacity": 0}] * 2


def test_reads_and_vain_writes_run_no_hook(recipes: ModelAccessor[Recipe]) -> None:
    recipe = recipes.insert(Recipe(name="a"))
    for event in EVENTS:
        getattr(recipes, event)()(lambda session, instance: 1 / 0)
    recipes.get(recipe.id)
    recipes.all()
    recipes.save(recipe)
    recipes.restore(recipe.id)

    assert recipes.delete(404) is False


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_hook_that_waits_for_another_threads_write_gets_an_error_that_names_the_cause(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, url: str
) -> None:
    monkeypatch.setenv("VENTION_STORAGE_BUSY_TIMEOUT", "0.3")
    recipes: ModelAccessor[Recipe] = request.getfixturevalue("recipes")
    bins: ModelAccessor[Bin] = request.getfixturevalue("bins")

    with ThreadPoolExecutor(1) as pool:

        @recipes.after_insert()
        def wait(session: Session, instance: Recipe) -> None:
            pool.submit(bins.insert, Bin(code="A1")).result(timeout=10)

        with pytest.raises(DatabaseBusy, match=threading.current_thread().name):
            recipes.insert(Recipe(name="a"))

    assert recipes.all() == []
    assert bins.insert(Bin(code="A2")).id is not None


def test_hooks_belong_to_one_accessor(engine: Engine) -> None:
    hooked, other = ModelAccessor(Recipe, "hooked"), ModelAccessor(Recipe, "other")
    hooked.before_insert()(lambda session, instance: 1 / 0)

    assert other.insert(Recipe(name="a")).id == 1


def test_what_a_hook_changes_inside_json_is_written_with_a_restore(
    recipes: ModelAccessor[Recipe], audit: Audit
) -> None:
    @recipes.before_update()
    def note(session: Session, instance: Recipe) -> None:
        assert instance.settings is not None
        instance.settings["restored"] = True

    recipes.insert(Recipe(name="a", settings={}))
    recipes.delete(1)
    recipes.restore(1)

    stored, entry = recipes.get(1), audit()[-1]
    assert stored is not None
    assert entry.before is not None
    assert entry.after is not None
    assert stored.settings == entry.after["settings"] == {"restored": True}
    assert entry.before["settings"] == {}


def test_what_a_delete_hook_changes_in_the_instance_is_not_told_as_the_record(
    bins: ModelAccessor[Bin], audit: Audit
) -> None:
    bins.before_delete()(lambda session, instance: setattr(instance, "code", "changed"))
    bins.insert(Bin(code="A1"))
    bins.delete(1)

    before = audit()[-1].before
    assert before is not None
    assert before["code"] == "A1"


def test_a_restore_that_a_hook_takes_back_is_none(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipes.insert(Recipe(name="a"))
    recipes.delete(1)
    stored = recipes.get(1, include_deleted=True)
    assert stored is not None
    recipes.before_update()(lambda session, instance: setattr(instance, "deleted_at", stored.deleted_at))

    assert recipes.restore(1) is False
    assert recipes.get(1) is None
    assert [entry.operation for entry in audit()] == ["create", "soft_delete"]
