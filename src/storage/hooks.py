"""Lifecycle hooks: which functions run around which write, and in what order."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, Generic, TypeVar

from sqlmodel import Session, SQLModel

from storage.errors import ConfigurationError

ModelType = TypeVar("ModelType", bound=SQLModel)
Hook = Callable[[Session, ModelType], Any]
HookFunction = TypeVar("HookFunction", bound=Callable[..., Any])


class HookEvent(Enum):
    """A moment in the life of a record."""

    BEFORE_INSERT = "before_insert"
    AFTER_INSERT = "after_insert"
    BEFORE_UPDATE = "before_update"
    AFTER_UPDATE = "after_update"
    BEFORE_DELETE = "before_delete"
    AFTER_DELETE = "after_delete"


class HookRegistry(Generic[ModelType]):
    """The hooks of one accessor, run in the order in which they were registered.

    Example:
        >>> registry = HookRegistry()
        >>> _ = registry.add(HookEvent.BEFORE_INSERT, lambda session, instance: print("checked", instance))
        >>> registry.run(HookEvent.BEFORE_INSERT, None, "a recipe")
        checked a recipe
    """

    def __init__(self) -> None:
        self._hooks: dict[HookEvent, tuple[Hook[ModelType], ...]] = dict.fromkeys(HookEvent, ())

    def add(self, event: HookEvent, function: HookFunction) -> HookFunction:
        """Register a function for an event.

        Args:
            event: When to run it.
            function: Called with `(session, instance)`; what it returns is ignored.

        Returns:
            The same function, so that this serves as a decorator.

        Raises:
            ConfigurationError: The function is a coroutine function; a hook runs inside a synchronous write.
        """
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
            name = getattr(function, "__qualname__", function)
            message = f"the {event.value} hook {name} is async, and a hook runs inside a synchronous write"
            raise ConfigurationError(message, hint="declare it with a plain def")
        self._hooks[event] = (*self._hooks[event], function)
        return function

    def any(self, *events: HookEvent) -> bool:
        """Whether a hook is registered for one of these events."""
        return any(self._hooks[event] for event in events)

    def run(self, event: HookEvent, session: Session, instance: ModelType) -> None:
        """Run the hooks of one event; what a hook raises reaches the caller unchanged."""
        for hook in self._hooks[event]:
            hook(session, instance)
