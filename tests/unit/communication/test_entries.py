"""What an app can serve, and how bundles of it come together."""

from __future__ import annotations

from typing import Any

import pytest

from communication.entries import ActionEntry, RpcBundle, StreamEntry, merge_entries
from communication.errors import ContractError
from communication.streams import Channel


def ping() -> str:
    return "pong"


def pong() -> str:
    return "ping"


class Handler:
    """A handler that equals another one of the same target, as generated handlers do."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __call__(self) -> str:
        return self.target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handler) and other.target == self.target

    def __hash__(self) -> int:
        return hash(self.target)


def test_name_function_input_and_output_go_by_position() -> None:
    entry = ActionEntry("ping", ping, int, str)
    assert (entry.name, entry.func, entry.input_type, entry.output_type) == ("ping", ping, int, str)


def test_aliases_of_any_iterable_become_a_tuple() -> None:
    aliases: Any = ["Ping", "PING"]
    assert ActionEntry("ping", ping, aliases=aliases).aliases == ("Ping", "PING")


def test_a_handler_that_cannot_be_called_is_refused() -> None:
    handler: Any = "ping"
    with pytest.raises(ContractError, match="handler of ping is not callable"):
        ActionEntry("ping", handler)


def test_a_limit_that_lets_nothing_through_is_refused() -> None:
    with pytest.raises(ContractError, match="at least one byte"):
        ActionEntry("ping", ping, max_request_bytes=0)


def test_a_bundle_keeps_entries_of_any_iterable_in_order() -> None:
    entries = [ActionEntry("ping", ping), ActionEntry("pong", pong)]
    channel: Channel[int] = Channel()
    bundle = RpcBundle((entry for entry in entries), iter([StreamEntry("ticks", channel, int)]))
    assert bundle.actions == tuple(entries)
    assert [entry.name for entry in bundle.streams] == ["ticks"]
    assert bundle.defer is None


def test_bundles_come_together_in_order() -> None:
    first = RpcBundle([ActionEntry("ping", ping)], [StreamEntry("ticks", Channel(), int)])
    second = RpcBundle([ActionEntry("pong", pong)])
    actions, streams = merge_entries([first, second])
    assert [entry.name for entry in actions] == ["ping", "pong"]
    assert [entry.name for entry in streams] == ["ticks"]


def test_an_equal_entry_counts_once() -> None:
    first = RpcBundle([ActionEntry("ping", Handler("a"), None, str, aliases=("Ping",))])
    again = RpcBundle([ActionEntry("ping", Handler("a"), None, str, aliases=("Ping",))])
    actions, _ = merge_entries([first, again])
    assert actions == first.actions


@pytest.mark.parametrize(
    "other",
    [
        ActionEntry("ping", pong),
        ActionEntry("ping", ping, None, str, max_request_bytes=10),
        ActionEntry("Ping", ping, None, str),
        ActionEntry("pong", pong, aliases=("ping",)),
        ActionEntry("pong", pong, aliases=("Ping",)),
    ],
    ids=["other function", "other limit", "name is its alias", "alias is its name", "alias is its alias"],
)
def test_another_entry_under_a_taken_name_is_refused(other: ActionEntry) -> None:
    taken = RpcBundle([ActionEntry("ping", ping, None, str, aliases=("Ping",))])
    with pytest.raises(ContractError, match=r"two different RPCs are named [Pp]ing"):
        merge_entries([taken, RpcBundle([other])])


def test_an_action_and_a_stream_cannot_share_a_name() -> None:
    with pytest.raises(ContractError, match="two different RPCs are named ping"):
        merge_entries([RpcBundle([ActionEntry("ping", ping)], [StreamEntry("ping", Channel(), int)])])
