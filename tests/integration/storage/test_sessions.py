"""Sessions of others: use_session(), Session(get_engine()), and records that are in one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlmodel import Session, select

from storage.accessor import ModelAccessor
from storage.database import transaction, use_session
from storage.errors import DuplicateRecord, RecordInvalid
from tests.integration.storage.conftest import Audit
from tests.integration.storage.models import Bin, Recipe


class VetoError(Exception):
    """What a hook of the tests raises."""


def codes(bins: ModelAccessor[Bin]) -> list[str]:
    return [found.code for found in bins.all()]


def stored_codes(engine: Engine) -> list[str]:
    """What a connection that knows nothing of any session sees."""
    with engine.connect() as connection:
        return list(connection.scalars(sa.text("SELECT code FROM bin ORDER BY id")))


def test_without_a_session_it_commits_what_it_did(bins: ModelAccessor[Bin]) -> None:
    with use_session() as session:
        session.add(Bin(code="A1"))
        bins.insert(Bin(code="A2"))

    assert codes(bins) == ["A1", "A2"]


def test_without_a_session_it_rolls_back_if_it_raises(bins: ModelAccessor[Bin]) -> None:
    with pytest.raises(VetoError), use_session() as session:
        session.add(Bin(code="A1"))
        bins.insert(Bin(code="A2"))
        raise VetoError

    assert codes(bins) == []


def test_without_a_session_it_joins_the_transaction(bins: ModelAccessor[Bin]) -> None:
    with pytest.raises(VetoError), transaction() as outer:
        with use_session() as session:
            assert session is outer
            session.add(Bin(code="A1"))
        raise VetoError

    assert codes(bins) == []


def test_with_a_session_the_commit_is_its_owners(bins: ModelAccessor[Bin], engine: Engine) -> None:
    with Session(engine) as session:
        with use_session(session) as same:
            assert same is session
            bins.insert(Bin(code="A1"))
        assert stored_codes(engine) == []
        session.commit()
        assert stored_codes(engine) == ["A1"]
        with use_session(session):
            bins.insert(Bin(code="A2"))
        session.rollback()

    assert codes(bins) == ["A1"]


def test_a_transaction_inside_somebodys_session_joins_it(bins: ModelAccessor[Bin], engine: Engine) -> None:
    with Session(engine) as session:
        with use_session(session), transaction() as inner:
            assert inner is session
            bins.insert(Bin(code="A1"))
        session.rollback()

    assert codes(bins) == []


def test_an_error_inside_somebodys_session_is_its_owners(bins: ModelAccessor[Bin], engine: Engine) -> None:
    with Session(engine) as session:
        with pytest.raises(DuplicateRecord), use_session(session):
            bins.insert(Bin(code="A1"))
            bins.insert(Bin(code="A1"))
        session.commit()

    assert codes(bins) == ["A1"]


def test_the_accessor_first_flushes_the_session(bins: ModelAccessor[Bin], engine: Engine) -> None:
    with Session(engine) as session, use_session(session):
        session.add(Bin(code="A1"))
        assert codes(bins) == ["A1"]
        session.add(Bin(code="A2"))
        with pytest.raises(DuplicateRecord):
            bins.insert(Bin(code="A2"))


def test_the_session_reads_again_what_the_accessor_wrote_and_nothing_else(bins: ModelAccessor[Bin]) -> None:
    bins.insert_many([Bin(code="A1"), Bin(code="A2")])
    with use_session() as session:
        first, second = session.exec(select(Bin).order_by(sa.text("id"))).all()
        record = bins.get(1)
        assert record is not None
        record.code = "B1"
        bins.save(record)

        assert "code" in sa.inspect(first).expired_attributes
        assert not sa.inspect(second).expired_attributes
        assert first.code == "B1"


def test_a_record_changed_in_a_session_and_saved_is_audited(recipes: ModelAccessor[Recipe], audit: Audit) -> None:
    recipes.insert(Recipe(name="a", settings={"axis": 1}))
    with transaction() as session:
        recipe = session.get(Recipe, 1)
        assert recipe is not None
        recipe.name = "b"
        assert recipe.settings is not None
        recipe.settings["axis"] = 2
        assert recipes.save(recipe, actor="maria") is recipe
        assert recipe in session

    entry = audit()[-1]
    assert (entry.operation, entry.actor) == ("update", "maria")
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.before["name"], entry.before["settings"]) == ("a", {"axis": 1})
    assert (entry.after["name"], entry.after["settings"]) == ("b", {"axis": 2})


def test_a_record_read_by_a_session_and_saved_later_undoes_nothing(recipes: ModelAccessor[Recipe]) -> None:
    recipes.insert(Recipe(name="a", settings={"axis": 1}))
    with transaction() as session:
        held = session.exec(select(Recipe)).one()
    other = recipes.get(1)
    assert other is not None
    other.name, other.settings = "b", {"axis": 2}
    recipes.save(other)
    held.speed = 3.0
    recipes.save(held)

    assert held.model_dump() == Recipe(id=1, name="b", speed=3.0, settings={"axis": 2}).model_dump()


def test_a_change_inside_the_json_of_a_sessions_record_is_noticed(recipes: ModelAccessor[Recipe]) -> None:
    recipes.insert(Recipe(name="a", settings={"axis": 1}))
    with transaction() as session:
        held = session.exec(select(Recipe)).one()
    assert held.settings is not None
    held.settings["axis"] = 2
    recipes.save(held)

    stored = recipes.get(1)
    assert stored is not None
    assert stored.settings == {"axis": 2}


def test_a_record_that_a_session_has_refreshed_undoes_nothing(recipes: ModelAccessor[Recipe], engine: Engine) -> None:
    held, other = recipes.insert(Recipe(name="a", settings={"axis": 1})), recipes.get(1)
    assert other is not None
    other.speed, other.settings = 2.0, {"axis": 2}
    recipes.save(other)
    with Session(engine) as session:
        session.add(held)
        session.refresh(held)
    other.speed, other.settings = 3.0, {"axis": 3}
    recipes.save(other)
    held.name = "b"
    recipes.save(held)

    assert held.model_dump() == Recipe(id=1, name="b", speed=3.0, settings={"axis": 3}).model_dump()


def test_a_record_pending_in_a_session_is_inserted_once_and_audited(bins: ModelAccessor[Bin], audit: Audit) -> None:
    with transaction() as session:
        record = Bin(code="A1")
        session.add(record)
        bins.insert(record)
        assert record in session

    assert codes(bins) == ["A1"]
    assert [entry.operation for entry in audit()] == ["create"]


def test_an_expired_record_of_a_session_can_be_saved(recipes: ModelAccessor[Recipe], engine: Engine) -> None:
    recipes.insert(Recipe(name="a", speed=2.0))
    with Session(engine) as session:
        recipe = session.get(Recipe, 1)
        assert recipe is not None
        session.expire(recipe)
        recipe.name = "b"
        with use_session(session):
            recipes.save(recipe)
        session.commit()

    stored = recipes.get(1)
    assert stored is not None
    assert (stored.name, stored.speed) == ("b", 2.0)


@pytest.mark.parametrize("way", ["save", "insert"])
def test_a_session_that_has_another_object_of_the_record_keeps_that_one(
    bins: ModelAccessor[Bin], engine: Engine, way: str
) -> None:
    bins.insert(Bin(code="A1"))
    with Session(engine) as session:
        held = session.get(Bin, 1)
        assert held is not None
        twin = Bin(id=1, code="A2")
        if way == "insert":
            bins.delete(1)
            session.add(twin)
            assert bins.insert(twin) is twin
        else:
            session.add(twin)
            assert bins.save(twin) is twin
        assert twin not in session
        assert held in session
        assert held.code == twin.code == "A2"

    assert stored_codes(engine) == ["A2"]
    twin.code = "A3"
    bins.save(twin)
    assert stored_codes(engine) == ["A3"]


def test_an_error_is_not_hidden_by_another_object_of_the_record(bins: ModelAccessor[Bin], engine: Engine) -> None:
    bins.insert_many([Bin(code="A1"), Bin(code="A2")])
    held: list[Bin | None] = []
    with Session(engine) as session:
        record = session.get(Bin, 1)
        assert record is not None
        record.code = "A2"
        bins.before_update()(lambda _session, _instance: held.append(session.get(Bin, 1)))

        with pytest.raises(DuplicateRecord):
            bins.save(record)
        assert record not in session
        assert held[0] in session


@pytest.mark.parametrize("why", ["veto", "invalid"])
def test_what_a_save_refused_the_session_does_not_write_either(recipes: ModelAccessor[Recipe], why: str) -> None:
    recipes.insert(Recipe(name="a"))
    if why == "veto":
        recipes.before_update()(lambda session, instance: 1 / 0)
    with transaction() as session:
        recipe = session.get(Recipe, 1)
        assert recipe is not None
        recipe.name = "b" if why == "veto" else "b" * 41
        with pytest.raises((ZeroDivisionError, RecordInvalid)):
            recipes.save(recipe)
        assert recipe.name == "a"

    stored = recipes.get(1)
    assert stored is not None
    assert stored.name == "a"


def test_what_an_insert_refused_the_session_does_not_write_either(recipes: ModelAccessor[Recipe]) -> None:
    recipes.before_insert()(lambda session, instance: 1 / 0)
    with transaction() as session:
        recipe = Recipe(name="a")
        session.add(recipe)
        with pytest.raises(ZeroDivisionError):
            recipes.insert(recipe)

    assert recipes.all() == []


def test_a_plain_session_that_reads_and_then_writes_never_finds_the_database_locked(
    bins: ModelAccessor[Bin], engine: Engine
) -> None:
    bins.insert(Bin(code="counter"))
    together = threading.Barrier(8)

    def count() -> None:
        together.wait(10)
        for _ in range(10):
            with Session(engine) as session:
                record = session.exec(select(Bin).where(Bin.code == "counter")).one()
                session.execute(
                    sa.update(Bin).where(sa.text("code = 'counter'")).values(capacity=sa.text("capacity + 1"))
                )
                session.add(Bin(code=f"{threading.get_ident()}-{record.capacity}-{id(session)}-{_}"))
                session.commit()

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(count) for _ in range(8)]:
            future.result(timeout=60)

    stored = bins.get(1)
    assert stored is not None
    assert stored.capacity == 80


def test_a_session_that_only_reads_keeps_nobody_waiting(bins: ModelAccessor[Bin], engine: Engine) -> None:
    with Session(engine) as session:
        session.exec(select(Bin)).all()
        bins.insert(Bin(code="A1"))
        assert len(session.exec(select(Bin)).all()) == 1
