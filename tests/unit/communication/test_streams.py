"""A channel: one publisher, many subscribers, nobody waits for anybody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from connectrpc.code import Code

from communication.errors import ContractError, RpcError
from communication.streams import Channel, Subscription

PATIENCE = 5.0


async def next_of(subscription: Subscription[Any]) -> Any:
    return await asyncio.wait_for(anext(subscription), PATIENCE)


async def everything(subscription: Subscription[Any]) -> list[Any]:
    return [value async for value in subscription]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"queue_maxsize": 0}, "queue_maxsize is 0"), ({"policy": "random"}, "no stream policy 'random'")],
)
def test_a_channel_that_could_not_work_is_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ContractError, match=text):
        Channel(**arguments)


def test_subscribing_needs_an_event_loop() -> None:
    channel: Channel[int] = Channel()
    with pytest.raises(RuntimeError):
        channel.subscribe()
    assert channel.subscribers == 0


async def test_every_subscriber_gets_what_is_published() -> None:
    channel: Channel[str] = Channel()
    with channel.subscribe() as first, channel.subscribe() as second:
        channel.publish("ready")
        assert [await next_of(first), await next_of(second)] == ["ready", "ready"]


def test_what_is_published_before_any_loop_runs_is_replayed() -> None:
    channel: Channel[int] = Channel()
    channel.publish(1)
    channel.publish(2)

    async def main() -> int:
        with channel.subscribe() as subscription:
            value = await next_of(subscription)
            assert isinstance(value, int)
            return value

    assert asyncio.run(main()) == 2


async def test_without_replay_a_new_subscriber_gets_only_what_comes() -> None:
    channel: Channel[int] = Channel(replay=False)
    channel.publish(1)
    with channel.subscribe() as subscription:
        channel.publish(2)
        assert await next_of(subscription) == 2


async def test_none_is_replayed_like_any_other_value() -> None:
    channel: Channel[int | None] = Channel()
    channel.publish(None)
    with channel.subscribe() as subscription:
        assert await next_of(subscription) is None


async def test_latest_keeps_the_newest_values_for_a_slow_subscriber() -> None:
    channel: Channel[int] = Channel(queue_maxsize=2, policy="latest")
    with channel.subscribe() as slow:
        for number in range(10):
            channel.publish(number)
        assert [await next_of(slow), await next_of(slow)] == [8, 9]


async def test_fifo_gives_every_value_in_order() -> None:
    channel: Channel[int] = Channel(queue_maxsize=3, policy="fifo")
    with channel.subscribe() as subscription:
        for number in range(3):
            channel.publish(number)
        assert [await next_of(subscription) for _ in range(3)] == [0, 1, 2]


async def test_fifo_ends_a_subscriber_that_falls_behind_after_what_it_was_owed() -> None:
    channel: Channel[int] = Channel(queue_maxsize=2, policy="fifo")
    with channel.subscribe() as slow, channel.subscribe() as quick:
        received = []
        for number in range(5):
            channel.publish(number)
            received.append(await next_of(quick))
        assert received == [0, 1, 2, 3, 4]
        assert channel.subscribers == 1
        assert [await next_of(slow), await next_of(slow)] == [0, 1]
        with pytest.raises(RpcError, match="larger queue_maxsize") as caught:
            await next_of(slow)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED


async def test_a_waiting_subscriber_is_woken_from_another_thread() -> None:
    channel: Channel[str] = Channel()
    with channel.subscribe() as subscription:
        waiting = asyncio.create_task(next_of(subscription))
        await asyncio.sleep(0)
        threading.Thread(target=channel.publish, args=("from a thread",)).start()
        assert await waiting == "from a thread"


async def test_values_of_many_threads_all_arrive_and_each_thread_stays_in_order() -> None:
    channel: Channel[tuple[int, int]] = Channel(queue_maxsize=400, policy="fifo")

    def publish(thread: int) -> None:
        for number in range(100):
            channel.publish((thread, number))

    with channel.subscribe() as subscription:
        await asyncio.gather(*(asyncio.to_thread(publish, thread) for thread in range(4)))
        received = [await next_of(subscription) for _ in range(400)]
    for thread in range(4):
        assert [number for source, number in received if source == thread] == list(range(100))


async def test_subscribers_on_other_loops_are_served_too() -> None:
    channel: Channel[str] = Channel()
    subscribed = threading.Event()
    received: list[str] = []

    async def listen() -> None:
        with channel.subscribe() as subscription:
            subscribed.set()
            received.append(await next_of(subscription))

    other = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(listen())))
    assert await asyncio.to_thread(subscribed.wait, PATIENCE)
    channel.publish("across")
    await asyncio.wait_for(other, PATIENCE)
    assert received == ["across"]


def test_a_subscriber_whose_loop_is_gone_is_forgotten() -> None:
    channel: Channel[int] = Channel()

    async def vanish() -> None:
        channel.subscribe()

    asyncio.run(vanish())
    assert channel.subscribers == 1
    channel.publish(1)
    assert channel.subscribers == 0


async def test_closing_leaves_the_channel_and_drops_what_was_queued() -> None:
    channel: Channel[int] = Channel()
    with channel.subscribe() as subscription:
        channel.publish(1)
    assert channel.subscribers == 0
    assert await everything(subscription) == []


async def test_ending_delivers_what_was_queued_then_the_error() -> None:
    channel: Channel[int] = Channel()
    subscription = channel.subscribe()
    channel.publish(1)
    subscription.end(RpcError(Code.UNAVAILABLE, "stopping"))
    subscription.end()
    channel.publish(2)
    assert channel.subscribers == 0
    assert await next_of(subscription) == 1
    with pytest.raises(RpcError, match="stopping"):
        await next_of(subscription)


async def test_ending_wakes_a_waiting_subscriber() -> None:
    channel: Channel[int] = Channel()
    subscription = channel.subscribe()
    waiting = asyncio.create_task(everything(subscription))
    await asyncio.sleep(0)
    subscription.end()
    assert await asyncio.wait_for(waiting, PATIENCE) == []


async def test_a_publication_waits_for_its_deferral() -> None:
    channel: Channel[int] = Channel()
    pending: list[Callable[[], None]] = []
    channel.defer_with(pending.append)
    channel.defer_with(pending.append)
    with channel.subscribe() as subscription:
        channel.publish(1)
        waiting = asyncio.create_task(next_of(subscription))
        await asyncio.sleep(0)
        assert not waiting.done()
        (publication,) = pending
        publication()
        assert await waiting == 1


async def test_with_several_deferrals_each_has_its_turn() -> None:
    channel: Channel[int] = Channel()
    first: list[Callable[[], None]] = []
    second: list[Callable[[], None]] = []
    channel.defer_with(first.append)
    channel.defer_with(second.append)
    channel.publish(1)
    assert (len(first), len(second)) == (0, 1)
    second.pop()()
    assert (len(first), len(second)) == (1, 0)
    first.pop()()
    with channel.subscribe() as subscription:
        assert await next_of(subscription) == 1


async def test_a_flood_wakes_the_loop_once_per_read(monkeypatch: pytest.MonkeyPatch) -> None:
    channel: Channel[int] = Channel()
    loop = asyncio.get_running_loop()
    wakes: list[Any] = []
    original = loop.call_soon_threadsafe

    def counting(callback: Any, *args: Any) -> asyncio.Handle:
        wakes.append(callback)
        return original(callback, *args)

    with channel.subscribe() as subscription, monkeypatch.context() as patch:
        patch.setattr(loop, "call_soon_threadsafe", counting)
        for number in range(1000):
            channel.publish(number)
        assert await next_of(subscription) == 999
        assert len(wakes) == 1
