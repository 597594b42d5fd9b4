from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from storage.outcomes import Outcomes


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def session() -> Iterator[Session]:
    engine = sa.create_engine("sqlite://")
    with Session(engine) as session:
        yield session
    engine.dispose()


def add(outcomes: Outcomes, told: list[str], name: str) -> None:
    outcomes.add(committed=lambda: told.append(f"{name} committed"), rolled_back=lambda: told.append(f"{name} undone"))


def test_settling_is_in_order_and_once(told: list[str]) -> None:
    outcomes = Outcomes()
    add(outcomes, told, "a")
    add(outcomes, told, "b")
    outcomes.settle()
    outcomes.settle()
    outcomes.undo()

    assert told == ["a committed", "b committed"]


def test_undoing_is_backwards_and_once(told: list[str]) -> None:
    outcomes = Outcomes()
    add(outcomes, told, "a")
    add(outcomes, told, "b")
    outcomes.undo()
    outcomes.undo()
    outcomes.settle()

    assert told == ["b undone", "a undone"]


def test_undoing_can_start_in_the_middle(told: list[str]) -> None:
    outcomes = Outcomes()
    add(outcomes, told, "a")
    add(outcomes, told, "b")
    outcomes.undo(1)
    outcomes.settle()

    assert told == ["b undone", "a committed"]


def test_what_is_absorbed_is_decided_here(told: list[str]) -> None:
    outer, inner = Outcomes(), Outcomes()
    add(inner, told, "a")
    outer.absorb(inner)
    inner.settle()
    assert told == []
    outer.undo()

    assert told == ["a undone"]


def test_a_callback_that_fails_is_logged_and_stops_nobody(told: list[str], caplog: pytest.LogCaptureFixture) -> None:
    outcomes = Outcomes()
    outcomes.add(committed=lambda: told.remove("what is not there"))
    add(outcomes, told, "a")
    with caplog.at_level(logging.ERROR, "storage"):
        outcomes.settle()

    assert told == ["a committed"]
    assert "ValueError" in caplog.text


def test_a_callback_may_add_another(told: list[str]) -> None:
    outcomes = Outcomes()
    outcomes.add(committed=lambda: add(outcomes, told, "a"))
    outcomes.settle()
    outcomes.undo()

    assert told == ["a undone"]


def test_following_a_session_through_its_parts(session: Session, told: list[str]) -> None:
    outcomes = Outcomes()
    outcomes.follow(session, outcomes.settle)
    add(outcomes, told, "a")
    with session.begin_nested():
        add(outcomes, told, "b")
        inner = session.begin_nested()
        add(outcomes, told, "c")
        inner.rollback()
    assert told == ["c undone"]
    session.commit()

    assert told == ["c undone", "a committed", "b committed"]


def test_a_session_that_commits_from_inside_a_savepoint(session: Session, told: list[str]) -> None:
    outcomes = Outcomes()
    outcomes.follow(session, outcomes.settle)
    session.begin_nested()
    add(outcomes, told, "a")
    session.commit()

    assert told == ["a committed"]


def test_a_session_that_ends_without_a_commit(session: Session, told: list[str]) -> None:
    outcomes = Outcomes()
    outcomes.follow(session, outcomes.settle)
    for name, end in (("a", session.rollback), ("b", session.close)):
        session.connection()
        add(outcomes, told, name)
        end()

    assert told == ["a undone", "b undone"]


def test_a_session_whose_commit_is_a_savepoint_settles_nothing(session: Session, told: list[str]) -> None:
    outcomes = Outcomes()
    outcomes.follow(session)
    add(outcomes, told, "a")
    session.connection()
    add(outcomes, told, "b")
    session.rollback()
    session.connection()
    add(outcomes, told, "c")
    session.commit()
    assert told == ["b undone"]
    outcomes.settle()

    assert told == ["b undone", "a committed", "c committed"]
