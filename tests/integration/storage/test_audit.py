"""The audit trail: what it tells, and that it tells everything that was written and nothing else."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import transaction
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Color, Everything, Recipe


def test_the_story_of_a_record(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipe = recipes.insert(Recipe(name="a", settings={"axis": 1}), actor="ana")
    recipe.name = "b"
    recipes.save(recipe, actor="ben")
    recipes.delete(recipe.id, actor="cem")
    recipes.restore(recipe.id, actor="dan")

    entries = audit()
    assert [(entry.operation, entry.actor) for entry in entries] == [
        ("create", "ana"),
        ("update", "ben"),
        ("soft_delete", "cem"),
        ("restore", "dan"),
    ]
    assert {(entry.component, entry.record_id, entry.record_key) for entry in entries} == {("recipes", 1, "1")}
    assert [entry.id for entry in entries] == [1, 2, 3, 4]
    first = {"id": 1, "name": "a", "speed": 1.0, "settings": {"axis": 1}, "deleted_at": None}
    assert (entries[0].before, entries[0].after) == (None, first)
    assert (entries[1].before, entries[1].after) == (first, {**first, "name": "b"})
    for earlier, later in itertools.pairwise(entries):
        assert later.before == earlier.after
    assert entries[2].after is not None
    assert datetime.fromisoformat(entries[2].after["deleted_at"]).utcoffset() == timedelta(0)
    assert entries[3].after == entries[1].after


def test_a_record_deleted_for_good_has_no_after(bins: ModelAccessor[Bin], audit: Audit) -> None:
    bins.insert(Bin(code="A1"))
    bins.delete(1)

    entry = audit()[-1]
    assert (entry.operation, entry.after) == ("delete", None)
    assert entry.before == {"id": 1, "code": "A1", "capacity": 0}


def test_where_there_is_no_snapshot_there_is_sql_null(bins: ModelAccessor[Bin], rows: Any) -> None:
    bins.insert(Bin(code="A1"))
    bins.delete(1)

    assert rows("SELECT count(*) FROM auditlog WHERE before IS NULL AND operation = 'create'") == [(1,)]
    assert rows("SELECT count(*) FROM auditlog WHERE after IS NULL AND operation = 'delete'") == [(1,)]


def test_bytes_are_base64_and_enums_are_member_names(engine: Engine, audit: Audit) -> None:
    ModelAccessor(Everything, "everything").insert(Everything(data=b"\xff\x00", color=Color.LIME))

    after = audit()[0].after
    assert after is not None
    assert (after["data"], after["color"]) == ("/wA=", "GREEN")


def test_times_are_aware_utc_and_now(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipes.insert(Recipe(name="a"))

    stamp = audit()[0].timestamp
    assert stamp.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - stamp) < timedelta(minutes=1)


def test_no_audit_where_it_is_not_wanted(engine: Engine, audit: Audit) -> None:
    quiet = ModelAccessor(Recipe, "recipes", enable_auditing=False)
    recipe = quiet.insert(Recipe(name="a"))
    recipe.name = "b"
    quiet.save(recipe)
    quiet.delete(recipe.id)

    assert audit() == []


def test_a_write_and_its_audit_share_their_fate(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    with pytest.raises(RuntimeError), transaction():
        recipes.insert(Recipe(name="a"))
        raise RuntimeError

    assert recipes.all() == []
    assert audit() == []


def test_the_trail_is_read_as_the_page_says(recipes: ModelAccessor[Recipe], bins: ModelAccessor[Bin]) -> None:
    recipes.insert(Recipe(name="a"), actor="admin")
    bins.insert(Bin(code="A1"))

    with transaction() as session:
        logs = session.exec(select(AuditLog).where(AuditLog.component == "recipes")).all()

    assert [(log.operation, log.actor, log.record_id) for log in logs] == [("create", "admin", 1)]


def test_a_snapshot_is_whole_although_a_hook_wrote_the_row_too(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    @recipes.before_update()
    def slow_down(session: Session, instance: Recipe) -> None:
        stored = session.get(Recipe, instance.id)
        assert stored is not None
        stored.speed = 0.5

    recipe = recipes.insert(Recipe(name="a"))
    recipe.name = "b"
    recipes.save(recipe)

    after = audit()[-1].after
    stored = recipes.get(recipe.id)
    assert after is not None
    assert stored is not None
    assert (after["name"], after["speed"]) == (stored.name, stored.speed) == ("b", 0.5)


def test_an_accessor_can_read_the_trail(recipes: ModelAccessor[Recipe]) -> None:
    recipes.insert(Recipe(name="a"))
    trail = ModelAccessor(AuditLog, "audit", enable_auditing=False)

    assert [entry.record_key for entry in trail.all()] == ["1"]
