"""What an accessor does with records, as the page and the design promise it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlmodel import Session

from storage.accessor import ModelAccessor
from storage.errors import (
    ConstraintViolation,
    DuplicateRecord,
    ForeignKeyViolation,
    RecordInvalid,
    RecordLimitReached,
)
from tests.integration.storage.conftest import Audit
from tests.integration.storage.limits import limited
from tests.integration.storage.models import Bin, Job, Recipe, Shelf

Rows = Callable[[str], list[tuple[object, ...]]]


def got(accessor: ModelAccessor[Any], key: Any) -> Any:
    record = accessor.get(key)
    assert record is not None
    return record


# insert and read


def test_insert_gives_the_same_object_its_key(recipes: ModelAccessor[Recipe]) -> None:
    recipe = Recipe(name="weld")

    assert recipes.insert(recipe, actor="maria") is recipe
    assert recipe.id == 1
    assert got(recipes, 1) == recipe


def test_actor_may_be_given_by_position_and_by_keyword(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipe = recipes.insert(Recipe(name="a"), "one")
    recipe.name = "b"
    recipes.save(recipe, "two")
    recipes.delete(recipe.id, "three")
    recipes.restore(recipe.id, "four")
    (other,) = recipes.insert_many([Recipe(name="c")], "five")
    recipes.delete_many([other.id], "six")
    recipe.name = "d"
    recipes.save(recipe, actor="seven")
    recipes.delete(id=recipe.id, actor="eight")

    assert [entry.actor for entry in audit()] == ["one", "two", "three", "four", "five", "six", "seven", "eight"]


def test_include_deleted_may_be_given_by_position_and_by_keyword(recipes: ModelAccessor[Recipe]) -> None:
    recipe = recipes.insert(Recipe(name="a"))
    recipes.delete(recipe.id)

    assert recipes.get(recipe.id) is None
    assert recipes.get(recipe.id, False) is None
    assert recipes.all() == []
    assert recipes.get(recipe.id, True) == recipes.get(id=recipe.id, include_deleted=True)
    assert recipes.all(True) == recipes.all(include_deleted=True) != []


def test_the_actor_is_internal_unless_told(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipes.insert(Recipe(name="a"))

    assert audit()[0].actor == "internal"


@pytest.mark.parametrize("actor", ["", "  ", "a\nb", "\x00", "\ud800", None, 5])
def test_an_actor_that_the_trail_cannot_name_is_refused(recipes: ModelAccessor[Recipe], actor: Any) -> None:
    with pytest.raises(RecordInvalid, match="actor"):
        recipes.insert(Recipe(name="a"), actor=actor)

    assert recipes.all() == []


def test_all_is_in_the_order_of_the_keys(recipes: ModelAccessor[Recipe]) -> None:
    for key in (3, 1, 2):
        recipes.insert(Recipe(id=key, name="a"))

    assert [recipe.id for recipe in recipes.all()] == [1, 2, 3]


def test_pages_follow_the_keys(recipes: ModelAccessor[Recipe]) -> None:
    recipes.insert_many(Recipe(name=str(number)) for number in range(5))
    recipes.delete(2)

    assert [recipe.id for recipe in recipes.page(size=2)] == [1, 3]
    assert [recipe.id for recipe in recipes.page(size=2, after=3)] == [4, 5]
    assert [recipe.id for recipe in recipes.page(size=2, after=1, include_deleted=True)] == [2, 3]
    assert recipes.page(size=2, after=5) == []


@pytest.mark.parametrize("key", ["abc", None, 1.5, True, 2**31, object()])
def test_a_key_that_is_none_is_refused(recipes: ModelAccessor[Recipe], key: Any) -> None:
    with pytest.raises(RecordInvalid, match="id"):
        recipes.get(key)


def test_something_else_than_a_record_is_refused(recipes: ModelAccessor[Recipe]) -> None:
    for stranger in ({"name": "a"}, Bin(code="a"), None):
        with pytest.raises(RecordInvalid, match="Recipe"):
            recipes.insert(stranger)  # type: ignore[arg-type]
        with pytest.raises(RecordInvalid, match="Recipe"):
            recipes.save(stranger)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "field"), [({}, "name"), ({"name": "x" * 41}, "name"), ({"name": "a", "speed": "fast"}, "speed")]
)
def test_a_missing_or_wrong_attribute_is_refused_by_name(
    recipes: ModelAccessor[Recipe], given: dict[str, Any], field: str
) -> None:
    with pytest.raises(RecordInvalid) as caught:
        recipes.insert(Recipe(**given))

    assert [problem.field for problem in caught.value.problems] == [field]


def test_a_duplicate_names_its_columns(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(code="A1"))

    with pytest.raises(DuplicateRecord) as caught:
        bins.insert(Bin(code="A1"))

    assert caught.value.columns == ("code",)


def test_a_duplicate_key_is_refused(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(id=7, code="A1"))

    with pytest.raises(DuplicateRecord):
        bins.insert(Bin(id=7, code="A2"))


def test_another_constraint_is_told_apart(bins: ModelAccessor[Bin]) -> None:
    with pytest.raises(ConstraintViolation):
        bins.insert(Bin(code="A1", capacity=-1))


def test_a_reference_to_nowhere_is_refused(jobs: ModelAccessor[Job]) -> None:
    with pytest.raises(ForeignKeyViolation, match=r"^shelf_id refers to a record of shelf that does not exist$"):
        jobs.insert(Job(shelf_id=404))


def test_a_reference_changed_to_nowhere_is_refused(shelves: ModelAccessor[Shelf], jobs: ModelAccessor[Job]) -> None:
    shelf = shelves.insert(Shelf())
    made = jobs.insert_many([Job(shelf_id=shelf.id or 0), Job(shelf_id=shelf.id or 0)])
    with pytest.raises(ForeignKeyViolation, match="shelf_id refers to a record of shelf"):
        jobs.update(made[1].id, {"shelf_id": 404})
    with pytest.raises(ForeignKeyViolation, match="shelf_id refers to a record of shelf"):
        jobs.insert_many([Job(shelf_id=shelf.id or 0), Job(shelf_id=404)])

    assert len(jobs.all()) == 2


def test_what_others_refer_to_cannot_be_deleted(shelves: ModelAccessor[Shelf], jobs: ModelAccessor[Job]) -> None:
    shelf = shelves.insert(Shelf())
    jobs.insert(Job(shelf_id=shelf.id or 0))

    with pytest.raises(ForeignKeyViolation, match=r"^records of job still refer to this one$"):
        shelves.delete(shelf.id)

    assert shelves.get(shelf.id) is not None


def test_related_objects_are_refused_not_dropped(shelves: ModelAccessor[Shelf], jobs: ModelAccessor[Job]) -> None:
    with pytest.raises(RecordInvalid, match="jobs has related objects"):
        shelves.insert(Shelf(jobs=[Job(shelf_id=1)]))
    shelf = shelves.insert(Shelf())
    with pytest.raises(RecordInvalid, match="shelf has related objects"):
        jobs.insert(Job(shelf_id=shelf.id or 0, shelf=shelf))

    assert jobs.all() == []
    assert len(shelves.all()) == 1


def test_a_failed_insert_leaves_the_object_as_it_was(bins: ModelAccessor[Bin]) -> None:
    bins.insert(Bin(code="A1"))
    twin = Bin(code="A1")

    with pytest.raises(DuplicateRecord):
        bins.insert(twin)

    assert twin.id is None
    twin.code = "A2"
    assert bins.insert(twin).id is not None


# delete and restore


def test_delete_is_soft_where_the_model_has_deleted_at(recipes: ModelAccessor[Recipe], rows: Rows) -> None:
    recipe = recipes.insert(Recipe(name="a"))

    assert recipes.delete(recipe.id) is True
    assert rows("SELECT deleted_at IS NOT NULL FROM recipe") in ([(1,)], [(True,)])


def test_delete_is_for_good_elsewhere(bins: ModelAccessor[Bin], rows: Rows) -> None:
    bin_ = bins.insert(Bin(code="A1"))

    assert bins.delete(bin_.id) is True
    assert rows("SELECT * FROM bin") == []
    assert bins.get(bin_.id, include_deleted=True) is None


def test_delete_of_a_missing_or_deleted_record_is_false(
    recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin], audit: Audit
) -> None:
    recipe = recipes.insert(Recipe(name="a"))
    recipes.delete(recipe.id)
    before = len(audit())

    assert recipes.delete(recipe.id) is False
    assert recipes.delete(404) is False
    assert bins.delete(404) is False
    assert len(audit()) == before


def test_restore(recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin], audit: Audit) -> None:
    recipe, bin_ = recipes.insert(Recipe(name="a")), bins.insert(Bin(code="A1"))
    recipes.delete(recipe.id)

    assert recipes.restore(recipe.id) is True
    assert got(recipes, recipe.id).deleted_at is None
    before = len(audit())
    assert recipes.restore(recipe.id) is True  # active already
    assert recipes.restore(404) is False
    assert bins.restore(bin_.id) is False
    assert len(audit()) == before


def test_restore_runs_the_update_hooks(recipes: ModelAccessor[Recipe]) -> None:
    ran: list[tuple[str, object]] = []
    recipes.before_update()(lambda session, instance: ran.append(("before", instance.deleted_at)))
    recipes.after_update()(lambda session, instance: ran.append(("after", instance.deleted_at)))
    recipe = recipes.insert(Recipe(name="a"))
    recipes.delete(recipe.id)
    recipes.restore(recipe.id)

    assert ran == [("before", None), ("after", None)]


# what an accessor returns


def test_returned_records_are_usable_outside_any_session(recipes: ModelAccessor[Recipe]) -> None:
    inserted = recipes.insert(Recipe(name="a", settings={"axis": 1}))
    for recipe in (inserted, recipes.save(inserted), got(recipes, 1), recipes.all()[0], recipes.page(size=1)[0]):
        assert recipe.model_dump() == Recipe(id=1, name="a", settings={"axis": 1}).model_dump()
        assert Recipe.model_validate(recipe.model_dump()) == recipe
        assert "name='a'" in repr(recipe)


def test_relationships_of_returned_records_load_in_a_session(
    engine: Engine, shelves: ModelAccessor[Shelf], jobs: ModelAccessor[Job]
) -> None:
    shelves.insert(Shelf())
    jobs.insert(Job(shelf_id=1))
    job = got(jobs, 1)

    with Session(engine) as session:
        session.add(job)
        assert job.shelf.id == 1


def test_a_returned_record_counts_as_stored(recipes: ModelAccessor[Recipe], engine: Engine, rows: Rows) -> None:
    recipes.insert_many([Recipe(name="b"), Recipe(name="c"), Recipe(name="d")])
    inserted = recipes.insert(Recipe(name="a"))
    for recipe in (inserted, got(recipes, 1), recipes.all()[1], recipes.page(size=1, after=2)[0]):
        with Session(engine) as session:
            session.add(recipe)
            assert sa.inspect(recipe).persistent
            recipe.speed = 7.0
            session.commit()

    assert rows("SELECT speed FROM recipe") == [(7.0,)] * 4


def test_returned_records_share_nothing(recipes: ModelAccessor[Recipe]) -> None:
    settings = {"axis": [1]}
    recipes.insert(Recipe(name="a", settings=settings))
    one, two = got(recipes, 1), got(recipes, 1)
    one.settings["axis"].append(2)

    assert two.settings == got(recipes, 1).settings == {"axis": [1]}


# limits


def test_a_limit_lets_as_many_in_as_it_says(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    for name in ("a", "b"):
        with limited(recipes, 2):
            recipes.insert(Recipe(name=name))
    with pytest.raises(RecordLimitReached), limited(recipes, 2):
        recipes.insert(Recipe(name="c"))

    assert [recipe.name for recipe in recipes.all()] == ["a", "b"]
    assert len(audit()) == 2


def test_deleted_records_do_not_count_and_a_restored_one_does(recipes: ModelAccessor[Recipe]) -> None:
    recipes.insert_many([Recipe(name="a"), Recipe(name="b")])
    recipes.delete(1)
    with limited(recipes, 2):
        recipes.insert(Recipe(name="c"))

    with pytest.raises(RecordLimitReached), limited(recipes, 2):
        recipes.restore(1)

    assert recipes.get(1) is None


def test_a_large_limit_is_exact_as_well_whatever_the_keys_are(recipes: ModelAccessor[Recipe]) -> None:
    recipes.insert_many([Recipe(id=key, name=f"{key}") for key in (*range(1, 150), 1000)])
    with limited(recipes, 151):
        recipes.insert(Recipe(name="the last"))
    with pytest.raises(RecordLimitReached), limited(recipes, 151):
        recipes.insert(Recipe(name="one more"))
    recipes.delete_many([1000, 1001])
    with limited(recipes, 151):
        recipes.insert_many([Recipe(id=key, name=f"{key}") for key in (150, 151)])
    with pytest.raises(RecordLimitReached), limited(recipes, 151):
        recipes.insert(Recipe(id=152, name="one more"))

    assert len(recipes.all()) == 151


def test_a_large_limit_takes_keys_at_both_ends(recipes: ModelAccessor[Recipe]) -> None:
    for key in (-(2**31), 2**31 - 1):
        with limited(recipes, 200):
            recipes.insert(Recipe(id=key, name=f"{key}"))

    assert len(recipes.all()) == 2


def test_no_limit(recipes: ModelAccessor[Recipe]) -> None:
    with limited(recipes, None):
        recipes.insert_many([Recipe(name="a"), Recipe(name="b")])

    assert len(recipes.all()) == 2
