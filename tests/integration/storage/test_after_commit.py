"""after_commit(): effects on the world happen once the data is safe, and not at all where it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from storage.accessor import ModelAccessor
from storage.database import after_commit, transaction, use_session
from tests.integration.storage.models import Bin


class OopsError(Exception):
    """What the tests raise inside a transaction."""


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def tell(told: list[str]) -> Callable[[str], None]:
    return lambda what: after_commit(lambda: told.append(what))


Tell = Callable[[str], None]


def test_outside_a_transaction_it_happens_now(engine: Engine, told: list[str], tell: Tell) -> None:
    tell("a")

    assert told == ["a"]


def test_it_happens_after_the_commit_in_the_order_given(bins: ModelAccessor[Bin], told: list[str], tell: Tell) -> None:
    with transaction():
        tell("a")
        bins.insert(Bin(code="A1"))
        with transaction():
            tell("b")
        tell("c")
        assert told == []

    assert told == ["a", "b", "c"]


def test_the_data_is_there_when_it_happens(bins: ModelAccessor[Bin]) -> None:
    counts: list[int] = []
    with transaction():
        bins.insert(Bin(code="A1"))
        after_commit(lambda: counts.append(len(bins.all())))
        after_commit(lambda: counts.append(bins.insert(Bin(code="A2")).id or 0))

    assert counts == [1, 2]
    assert len(bins.all()) == 2


def test_it_is_forgotten_with_a_rollback(engine: Engine, told: list[str], tell: Tell) -> None:
    with pytest.raises(OopsError), transaction():
        tell("a")
        raise OopsError
    with transaction():
        tell("b")
        with pytest.raises(OopsError), transaction():
            tell("c")
            raise OopsError
        tell("d")

    assert told == ["b", "d"]


def test_it_is_forgotten_when_the_session_rolls_back(bins: ModelAccessor[Bin], told: list[str], tell: Tell) -> None:
    for opened in (transaction, use_session):
        with opened() as session:
            bins.insert(Bin(code="A1"))
            tell("a")
            session.rollback()
            bins.insert(Bin(code=opened.__name__))
            tell("b")

    assert told == ["b", "b"]


def test_a_savepoint_of_the_session_forgets_its_own_alone(
    bins: ModelAccessor[Bin], told: list[str], tell: Tell
) -> None:
    for opened in (transaction, use_session):
        with opened() as session:
            bins.insert(Bin(code=opened.__name__))
            tell("a")
            with pytest.raises(OopsError), session.begin_nested():
                bins.insert(Bin(code="A2"))
                tell("b")
                raise OopsError
            with session.begin_nested():
                tell("c")

    assert told == ["a", "c"] * 2


def test_a_session_that_commits_midway_tells_midway(bins: ModelAccessor[Bin], told: list[str], tell: Tell) -> None:
    with pytest.raises(OopsError), use_session() as session:
        bins.insert(Bin(code="A1"))
        tell("a")
        session.commit()
        assert told == ["a"]
        bins.insert(Bin(code="A2"))
        tell("b")
        raise OopsError

    assert told == ["a"]
    assert [found.code for found in bins.all()] == ["A1"]


def test_in_somebodys_session_it_waits_for_their_commit(
    bins: ModelAccessor[Bin], engine: Engine, told: list[str], tell: Tell
) -> None:
    with Session(engine) as session:
        with use_session(session):
            bins.insert(Bin(code="A1"))
            tell("a")
        with pytest.raises(OopsError), session.begin_nested():
            raise OopsError
        assert told == []
        session.commit()
        assert told == ["a"]
        with use_session(session):
            bins.insert(Bin(code="A2"))
            tell("b")
        session.rollback()
        session.commit()
        with use_session(session):
            tell("c")
            bins.insert(Bin(code="A3"))
            session.commit()

    assert told == ["a", "c"]


def test_a_session_closed_without_a_commit_tells_nothing(
    bins: ModelAccessor[Bin], engine: Engine, told: list[str], tell: Tell
) -> None:
    with Session(engine) as session, use_session(session):
        bins.insert(Bin(code="A1"))
        tell("a")

    assert told == []


def test_records_follow_the_fate_of_somebodys_session(bins: ModelAccessor[Bin], engine: Engine) -> None:
    kept, undone = Bin(code="A1"), Bin(code="A2")
    with Session(engine) as session:
        with use_session(session):
            bins.insert(kept)
        session.commit()
        with use_session(session):
            bins.insert(undone)
        session.rollback()

    assert kept.id is not None
    assert undone.id is None


def test_a_failure_is_logged_and_stops_nobody(
    bins: ModelAccessor[Bin], told: list[str], tell: Tell, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "storage"), transaction():
        bins.insert(Bin(code="A1"))
        after_commit(lambda: told[404])  # type: ignore[arg-type]
        tell("a")

    assert told == ["a"]
    assert len(bins.all()) == 1
    assert "after the commit" in caplog.text
