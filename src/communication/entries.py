"""What an app can serve: actions, streams, and bundles of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from communication.errors import ContractError
from communication.streams import Channel, Defer


@dataclass(frozen=True)
class ActionEntry:
    """One RPC with one request and one response.

    Two entries are equal when all their fields are; adding an equal entry to an app again changes nothing.

    Example:
        >>> def double(number: int) -> int:
        ...     return 2 * number
        >>> ActionEntry("double", double, int, int).name
        'double'
    """

    name: str
    """Name of the RPC, as callers spell it."""
    func: Callable[..., Any]
    """The handler: called with the request, or with nothing when `input_type` is None. A synchronous one runs in a
    worker thread, an asynchronous one on the event loop."""
    input_type: Any = None
    """Type of the request: a pydantic model, a dataclass or any other type that can go on the wire; None for none."""
    output_type: Any = None
    """Type of the response; None for an empty one."""
    aliases: tuple[str, ...] = field(default=(), kw_only=True)
    """Other names under which the RPC is answered. They are not part of the emitted contract."""
    max_request_bytes: int | None = field(default=None, kw_only=True)
    """Largest request in bytes, before and after decompression; None for the default of 4 MiB."""

    def __post_init__(self) -> None:
        if not callable(self.func):
            raise ContractError(f"the handler of {self.name} is not callable", hint="pass a function")
        if self.max_request_bytes is not None and self.max_request_bytes < 1:
            raise ContractError(
                f"max_request_bytes of {self.name} is {self.max_request_bytes}", hint="allow at least one byte"
            )
        object.__setattr__(self, "aliases", tuple(self.aliases))


@dataclass(frozen=True)
class StreamEntry:
    """One RPC with an empty request and a stream of responses: what is published on a channel.

    Example:
        >>> StreamEntry("temperature", Channel(), float).payload
        <class 'float'>
    """

    name: str
    """Name of the RPC, as callers spell it."""
    channel: Channel[Any]
    """Where the values come from."""
    payload: Any
    """Type of each value."""


@dataclass(frozen=True, init=False)
class RpcBundle:
    """Entries that belong together and are added to an app at once.

    Args:
        actions: The actions; any iterable.
        streams: The streams; any iterable.
        defer: Called with each publication of any stream of the app (a callable of no argument); it runs it now, or
            later, for example after the current transaction has committed. None when publications need not wait.

    Example:
        >>> def ping() -> str:
        ...     return "pong"
        >>> bundle = RpcBundle(actions=[ActionEntry("ping", ping, None, str)])
        >>> [entry.name for entry in bundle.actions]
        ['ping']
    """

    actions: tuple[ActionEntry, ...]
    """The actions, in the order in which they were given."""
    streams: tuple[StreamEntry, ...]
    """The streams, in the order in which they were given."""
    defer: Defer | None
    """Decides when publications go out; None for at once."""

    def __init__(
        self,
        actions: Iterable[ActionEntry] = (),
        streams: Iterable[StreamEntry] = (),
        defer: Defer | None = None,
    ) -> None:
        object.__setattr__(self, "actions", tuple(actions))
        object.__setattr__(self, "streams", tuple(streams))
        object.__setattr__(self, "defer", defer)


def merge_entries(bundles: Iterable[RpcBundle]) -> tuple[tuple[ActionEntry, ...], tuple[StreamEntry, ...]]:
    """Put the entries of several bundles together; an entry that comes again counts once.

    Args:
        bundles: The bundles, in the order in which their entries are declared.

    Returns:
        All actions and all streams.

    Raises:
        ContractError: Two different entries have the same name or alias.

    Example:
        >>> def ping() -> str:
        ...     return "pong"
        >>> bundle = RpcBundle([ActionEntry("ping", ping, None, str)])
        >>> actions, streams = merge_entries([bundle, bundle])
        >>> len(actions), len(streams)
        (1, 0)
    """
    owners: dict[str, ActionEntry | StreamEntry] = {}
    actions: list[ActionEntry] = []
    streams: list[StreamEntry] = []
    for bundle in bundles:
        actions.extend(entry for entry in bundle.actions if _claim(owners, entry, (entry.name, *entry.aliases)))
        streams.extend(entry for entry in bundle.streams if _claim(owners, entry, (entry.name,)))
    return tuple(actions), tuple(streams)


def _claim(
    owners: dict[str, ActionEntry | StreamEntry], entry: ActionEntry | StreamEntry, names: tuple[str, ...]
) -> bool:
    """Note the names of an entry; False when the same entry already has them."""
    if owners.get(entry.name) == entry:
        return False
    for name in dict.fromkeys(names):
        if name in owners:
            raise ContractError(
                f"two different RPCs are named {name}", hint="rename one of them, or add only one of the two bundles"
            )
        owners[name] = entry
    return True
