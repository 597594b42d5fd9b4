"""`@action` and `@stream`: functions of an application as RPCs.

Decorating a function notes it in a `Registry`; `VentionApp.finalize()` takes its entries from there. `action` and
`stream` of this module note them in `default_registry`, which every app uses unless it is given another:

    registry = Registry()

    @registry.action()
    def ping() -> str: ...

    app = VentionApp(name="second-app", registry=registry)
"""

from __future__ import annotations

import copy
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, PydanticSchemaGenerationError, TypeAdapter

from communication.entries import ActionEntry, RpcBundle, StreamEntry
from communication.errors import ContractError
from communication.streams import Channel, Policy

F = TypeVar("F", bound=Callable[..., Any])


class Registry:
    """The decorated functions, in the order of their declaration.

    Declaring a function again under the same module and qualified name (a module that is reloaded) replaces it.

    Example:
        >>> registry = Registry()
        >>> @registry.action()
        ... def double(number: int) -> int:
        ...     return 2 * number
        >>> [entry.name for entry in registry.bundle().actions]
        ['double']
    """

    def __init__(self) -> None:
        self._actions: dict[tuple[str, str, str], tuple[str, Callable[..., Any]]] = {}
        self._streams: dict[tuple[str, str, str], StreamEntry] = {}

    def action(self, name: str | None = None) -> Callable[[F], F]:
        """Make an RPC of a function; the function itself stays as it is.

        Args:
            name: Name of the RPC; the function's own name unless given.

        Returns:
            A decorator for a synchronous function, which is then served in a worker thread, or an asynchronous one. It
            takes no or one argument; its annotations are the types of request and response, checked by `finalize()`.

        Raises:
            ContractError: Used without parentheses.
        """
        if callable(name):
            raise ContractError("@action was used without parentheses", hint="write @action()")

        def register(func: F) -> F:
            rpc = name or str(getattr(func, "__name__", ""))
            self._actions[_identity(rpc, func)] = (rpc, func)
            return func

        return register

    def stream(
        self, name: str, *, payload: Any, replay: bool = True, queue_maxsize: int = 1, policy: Policy = "latest"
    ) -> Callable[[F], F]:
        """Make a stream of a function: each call publishes what it returns to all subscribers, and returns it.

        What is published is a snapshot: changing the returned object later changes nothing for subscribers. Inside a
        transaction the publication goes out after the commit.

        Args:
            name: Name of the RPC.
            payload: Type of the published values. A dict or an object with the attributes of a model will do as well.
            replay: A new subscriber first gets the value published last.
            queue_maxsize: How many values wait for one slow subscriber.
            policy: `"latest"` keeps the newest values of a full queue; `"fifo"` loses none, but ends a subscriber that
                falls behind.

        Returns:
            A decorator for a synchronous or asynchronous function. The decorated function raises
            `pydantic.ValidationError` when what it returned is not a `payload`.

        Raises:
            ContractError: `payload`, `queue_maxsize` or `policy` cannot be used.
        """
        channel: Channel[Any] = Channel(replay=replay, queue_maxsize=queue_maxsize, policy=policy)
        snapshot = _snapshot_of(name, payload)

        def register(func: F) -> F:
            self._streams[_identity(name, func)] = StreamEntry(name, channel, payload)
            return _publishing(func, lambda value: channel.publish(snapshot(value)))

        return register

    def bundle(self) -> RpcBundle:
        """The entries of all decorated functions.

        Raises:
            ContractError: A function has more than one argument, or lacks annotations.
        """
        actions = [_action_entry(name, func) for name, func in self._actions.values()]
        return RpcBundle(actions, self._streams.values())


default_registry = Registry()
"""Where `action` and `stream` of this module note functions, and where an app looks unless told otherwise."""

action = default_registry.action
"""`@action(name=None)`: `Registry.action` of the `default_registry`."""
stream = default_registry.stream
"""`@stream(name, *, payload, replay=True, queue_maxsize=1, policy="latest")`: `Registry.stream` of the
`default_registry`."""


def _identity(rpc: str, func: Callable[..., Any]) -> tuple[str, str, str]:
    """What a declaration has in common with the same one after a reload; a loop may make several of one function."""
    if not inspect.isfunction(func):
        raise ContractError(
            f"{rpc or func!r} is declared on something that is no function", hint="decorate a plain def"
        )
    return rpc, func.__module__, func.__qualname__


def _action_entry(name: str, func: Callable[..., Any]) -> ActionEntry:
    """Read the types of request and response from the annotations."""
    where = f"{func.__module__}.{func.__qualname__}"
    try:
        hints = typing.get_type_hints(func, include_extras=True)
    except (NameError, TypeError) as error:
        raise ContractError(
            f"the annotations of {where} cannot be resolved ({error})", hint="use types that its module knows"
        ) from error
    parameters = list(inspect.signature(func).parameters.values())
    if len(parameters) > 1 or any(parameter.kind not in _POSITIONAL for parameter in parameters):
        raise ContractError(
            f"{where} takes {len(parameters)} arguments" if len(parameters) > 1 else f"{where} takes no plain argument",
            hint="an action takes no or one positional argument; put several values into one pydantic model",
        )
    for missing in [parameter.name for parameter in parameters if parameter.name not in hints]:
        raise ContractError(f"argument {missing} of {where} has no type", hint="annotate it")
    if "return" not in hints:
        raise ContractError(f"{where} does not say what it returns", hint="annotate it, with None for nothing")
    output = hints["return"]
    return ActionEntry(
        name,
        func,
        hints[parameters[0].name] if parameters else None,
        None if output is type(None) else output,
    )


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _snapshot_of(name: str, payload: Any) -> Callable[[Any], Any]:
    """A function that validates a value against `payload` and copies it."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(payload)
    except PydanticSchemaGenerationError as error:
        raise ContractError(
            f"{payload!r}, the payload of stream {name}, cannot be validated", hint="use a pydantic model"
        ) from error

    def snapshot(value: Any) -> Any:
        valid = adapter.validate_python(value, from_attributes=True)
        if isinstance(valid, BaseModel):
            # Field by field: a copy of a table's record must not drag its database session along.
            return {field: copy.deepcopy(getattr(valid, field)) for field in type(valid).model_fields}
        return copy.deepcopy(valid)

    return snapshot


def _publishing(func: F, publish: Callable[[Any], None]) -> F:
    """The function, publishing what it returns."""
    if inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def call(*args: Any, **kwargs: Any) -> Any:
            value = await func(*args, **kwargs)
            publish(value)
            return value
    else:

        @functools.wraps(func)
        def call(*args: Any, **kwargs: Any) -> Any:
            value = func(*args, **kwargs)
            publish(value)
            return value

    return typing.cast("F", call)
