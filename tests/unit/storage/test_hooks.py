from __future__ import annotations

import functools
from typing import Any, cast

import pytest
from sqlmodel import Session, SQLModel

from storage.errors import ConfigurationError
from storage.hooks import HookEvent, HookRegistry

SESSION = cast(Session, None)


class Tool(SQLModel):
    """Stands for a record."""


@pytest.fixture
def registry() -> HookRegistry[Tool]:
    return HookRegistry()


def test_hooks_run_in_the_order_of_registration(registry: HookRegistry[Tool]) -> None:
    ran: list[int] = []
    for number in range(3):
        registry.add(HookEvent.AFTER_INSERT, lambda session, instance, number=number: ran.append(number))
    registry.run(HookEvent.AFTER_INSERT, SESSION, Tool())

    assert ran == [0, 1, 2]


def test_an_event_runs_its_own_hooks_only(registry: HookRegistry[Tool]) -> None:
    registry.add(HookEvent.BEFORE_INSERT, lambda session, instance: 1 / 0)
    registry.run(HookEvent.BEFORE_DELETE, SESSION, Tool())

    assert registry.any(HookEvent.BEFORE_INSERT)
    assert registry.any(HookEvent.BEFORE_DELETE, HookEvent.BEFORE_INSERT)
    assert not registry.any(HookEvent.BEFORE_DELETE)


def test_registering_gives_the_function_back(registry: HookRegistry[Tool]) -> None:
    def hook(session: Session, instance: Tool) -> None: ...

    assert registry.add(HookEvent.BEFORE_UPDATE, hook) is hook


def test_an_exception_passes_unchanged_and_stops_the_rest(registry: HookRegistry[Tool]) -> None:
    raised, ran = KeyError("no"), []

    def veto(session: Session, instance: Tool) -> None:
        raise raised

    registry.add(HookEvent.BEFORE_INSERT, veto)
    registry.add(HookEvent.BEFORE_INSERT, lambda session, instance: ran.append(1))
    with pytest.raises(KeyError) as caught:
        registry.run(HookEvent.BEFORE_INSERT, SESSION, Tool())

    assert caught.value is raised
    assert ran == []


def test_an_async_hook_is_refused(registry: HookRegistry[Tool]) -> None:
    async def hook(session: Session, instance: Tool) -> None: ...

    for function in (hook, functools.partial(hook)):
        with pytest.raises(ConfigurationError, match="plain def"):
            registry.add(HookEvent.BEFORE_INSERT, cast(Any, function))
