"""insert_many() and delete_many(): all or none."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from storage.accessor import ModelAccessor
from storage.database import transaction
from storage.errors import (
    DuplicateRecord,
    ForeignKeyViolation,
    RecordInvalid,
)
from storage.scope import Scope
from storage.statements import Statement
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Job, Recipe, Shelf


def got(accessor: ModelAccessor[Any], key: Any) -> Any:
    record = accessor.get(key)
    assert record is not None
    return record


def test_insert_many_gives_keys_in_order(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    made = [Recipe(name=str(number)) for number in range(3)]

    returned = recipes.insert_many(made, actor="maria")

    assert [recipe is given for recipe, given in zip(returned, made, strict=True)] == [True] * 3
    assert [recipe.id for recipe in made] == [1, 2, 3]
    assert [entry.record_id for entry in audit()] == [1, 2, 3]
    assert [recipe.name for recipe in recipes.all()] == ["0", "1", "2"]


def test_insert_many_with_some_keys_given(recipes: ModelAccessor[Recipe]) -> None:
    made = recipes.insert_many([Recipe(name="a"), Recipe(id=10, name="b"), Recipe(name="c")])

    assert len({recipe.id for recipe in made}) == 3
    assert made[1].id == 10
    assert [got(recipes, recipe.id).name for recipe in made] == ["a", "b", "c"]
    assert recipes.insert(Recipe(name="d")).id == max(recipe.id or 0 for recipe in made) + 1


def test_insert_many_of_nothing(recipes: ModelAccessor[Recipe]) -> None:
    assert recipes.insert_many([]) == []


@pytest.mark.parametrize("bad", [Bin(code="A1"), Bin(code=None), Bin(code="A9", capacity=2**40)])  # type: ignore[arg-type]
def test_insert_many_is_all_or_nothing(bins: ModelAccessor[Bin], audit: Audit, bad: Bin) -> None:
    bins.insert(Bin(code="A1"))
    good = Bin(code="A2")
    with pytest.raises((DuplicateRecord, RecordInvalid)):
        bins.insert_many([good, copy.copy(bad)])

    assert [found.code for found in bins.all()] == ["A1"]
    assert len(audit()) == 1
    assert good.id is None


def test_one_object_twice_in_a_batch_is_refused(recipes: ModelAccessor[Recipe]) -> None:
    recipe = Recipe(name="a")

    with pytest.raises(RecordInvalid, match="twice"):
        recipes.insert_many([recipe, recipe])


def test_delete_many_counts_what_it_deleted(recipes: ModelAccessor[Recipe]) -> None:
    recipes.insert_many(Recipe(name=str(number)) for number in range(4))
    recipes.delete(1)

    assert recipes.delete_many([1, 2, 3, 3, 404]) == 2
    assert recipes.delete_many([]) == 0
    assert [recipe.id for recipe in recipes.all()] == [4]


def test_delete_many_is_all_or_nothing(shelves: ModelAccessor[Shelf], jobs: ModelAccessor[Job]) -> None:
    shelves.insert_many([Shelf(), Shelf()])
    jobs.insert(Job(shelf_id=2))

    with pytest.raises(ForeignKeyViolation):
        shelves.delete_many([1, 2])

    assert len(shelves.all()) == 2


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_each_reference_of_a_batch_is_looked_up_once(
    shelves: ModelAccessor[Shelf], jobs: ModelAccessor[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[tuple[Statement, Any]] = []
    rows = Scope.rows

    def noted(scope: Scope, statement: Statement, parameters: Any) -> Any:
        looked_up.extend((statement, value) for name, value in parameters.items() if name == "vention_value")
        return rows(scope, statement, parameters)

    shelves.insert(Shelf(id=1))
    monkeypatch.setattr(Scope, "rows", noted)
    for _ in range(2):
        with pytest.raises(ForeignKeyViolation, match="shelf_id refers to a record of shelf"), transaction():
            jobs.insert_many([Job(shelf_id=key) for key in (1, 1, 404, 404, 405)])

    assert [value for _, value in looked_up] == [1, 404] * 2
    assert len({statement for statement, _ in looked_up}) == 1


def test_batches_larger_than_one_statement(recipes: ModelAccessor[Recipe]) -> None:
    made = recipes.insert_many(Recipe(name=str(number)) for number in range(1201))

    assert recipes.delete_many(recipe.id for recipe in made) == 1201
    assert recipes.all() == []


def test_batches_run_the_hooks_for_each_record(recipes: ModelAccessor[Recipe]) -> None:
    ran: list[tuple[str, str]] = []
    for event in ("before_insert", "after_insert", "before_delete", "after_delete"):
        getattr(recipes, event)()(lambda session, instance, event=event: ran.append((event, instance.name)))
    recipes.insert_many([Recipe(name="a"), Recipe(name="b")])
    recipes.delete_many([1, 2])

    assert ran == [
        (event, name) for event in ("before_insert", "after_insert", "before_delete", "after_delete") for name in "ab"
    ]
