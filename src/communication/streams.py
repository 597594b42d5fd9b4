"""Channel: one publisher side, any number of subscribers, nobody waits for anybody.

Publishing is safe from any thread and from any event loop, also before one runs. Each subscriber has a bounded queue of
its own, so one that reads slowly, or not at all, costs its queue and delays nobody:

    latest   the queue keeps the newest `queue_maxsize` values; a slow subscriber skips the older ones
    fifo     a subscriber gets every value; one that falls more than `queue_maxsize` values behind receives what was
             queued and is then ended with `resource_exhausted`, so that it knows that values are missing

A channel lives in one process: an app with streams is served by one worker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

from connectrpc.code import Code

from communication.errors import ContractError, RpcError

T = TypeVar("T")

Policy = Literal["latest", "fifo"]
"""What happens when a subscriber's queue is full; see the module's text."""

Defer = Callable[[Callable[[], None]], None]
"""Gets a publication and runs it now or later, for example after the current transaction has committed."""


class Subscription(Generic[T]):
    """One subscriber's side of a channel: an asynchronous iterator over what is published.

    Made by `Channel.subscribe()`, read by one task of the event loop that made it.

    Args:
        queue_maxsize: How many values wait.
        policy: What a full queue means.
        lock: The channel's lock; it guards the queue as well.
        leave: Takes the subscription out of its channel.
    """

    def __init__(
        self, *, queue_maxsize: int, policy: Policy, lock: Lock, leave: Callable[[Subscription[T]], None]
    ) -> None:
        self._queue: deque[T] = deque(maxlen=queue_maxsize)
        self._policy = policy
        self._lock = lock
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._wake_pending = False
        self._ended = False
        self._error: RpcError | None = None

    def end(self, error: RpcError | None = None) -> None:
        """Let the subscriber receive what is queued, then end. Callable from any thread; only the first call counts.

        Args:
            error: Raised to the subscriber at the end; None ends the iteration.
        """
        with self._lock:
            self._end(error)
        self._leave(self)

    def close(self) -> None:
        """Leave the channel; what is queued is dropped."""
        with self._lock:
            self._queue.clear()
            self._end(None)
        self._leave(self)

    def offer(self, value: T) -> bool:
        """Queue a value; for the channel, which holds the lock.

        Args:
            value: What was published.

        Returns:
            False when this subscriber is gone for good.
        """
        if self._policy == "fifo" and len(self._queue) == self._queue.maxlen:
            hint = "read faster, or give the stream a larger queue_maxsize"
            self._end(RpcError(Code.RESOURCE_EXHAUSTED, "the subscriber fell too far behind", hint=hint))
            return False
        self._queue.append(value)
        return self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            with self._lock:
                self._wake_pending = False
                if self._queue:
                    return self._queue.popleft()
                if self._error is not None:
                    raise self._error
                if self._ended:
                    raise StopAsyncIteration
                self._ready.clear()
            await self._ready.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, error: RpcError | None) -> None:
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake()

    def _wake(self) -> bool:
        """Wake the reader, once for any number of values; False when its event loop is closed."""
        if not self._wake_pending:
            try:
                self._loop.call_soon_threadsafe(self._ready.set)
            except RuntimeError:
                return False
            self._wake_pending = True
        return True


class Channel(Generic[T]):
    """Hands every published value to all current subscribers.

    Args:
        replay: A new subscriber first gets the value published last, if there is one.
        queue_maxsize: How many values wait for one subscriber, at least 1.
        policy: What a full queue means: `"latest"` or `"fifo"`.

    Raises:
        ContractError: `queue_maxsize` is below 1, or there is no such policy.

    Example:
        >>> async def main() -> str:
        ...     channel: Channel[str] = Channel()
        ...     channel.publish("ready")
        ...     with channel.subscribe() as subscription:
        ...         return await anext(subscription)
        >>> asyncio.run(main())
        'ready'
    """

    def __init__(self, *, replay: bool = True, queue_maxsize: int = 1, policy: Policy = "latest") -> None:
        if queue_maxsize < 1:
            raise ContractError(f"queue_maxsize is {queue_maxsize}", hint="let at least one value wait")
        if policy not in ("latest", "fifo"):
            raise ContractError(f"there is no stream policy {policy!r}", hint='use "latest" or "fifo"')
        self._replay = replay
        self._queue_maxsize = queue_maxsize
        self._policy: Policy = policy
        self._lock = Lock()
        self._last: list[T] = []
        self._subscriptions: dict[Subscription[T], None] = {}
        self._defers: tuple[Defer, ...] = ()

    @property
    def subscribers(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    def publish(self, value: T) -> None:
        """Hand a value to all subscribers, now or when the deferrals given to `defer_with` say so.

        Callable from any thread. The value is shared by all subscribers: do not change it afterwards.

        Args:
            value: What to hand over.
        """
        publication: Callable[[], None] = partial(self._deliver, value)
        for defer in self._defers:
            publication = partial(defer, publication)
        publication()

    def defer_with(self, defer: Defer) -> None:
        """Let `defer` decide when a publication goes out; with several, each has its turn. The same one counts once.

        Args:
            defer: Called in the publisher's thread with each publication, a callable of no argument.
        """
        if defer not in self._defers:
            self._defers = (*self._defers, defer)

    def subscribe(self) -> Subscription[T]:
        """Open a subscription on the running event loop; close it, or use it as a context manager.

        Raises:
            RuntimeError: No event loop is running in this thread.
        """
        subscription: Subscription[T] = Subscription(
            queue_maxsize=self._queue_maxsize, policy=self._policy, lock=self._lock, leave=self._forget
        )
        with self._lock:
            self._subscriptions[subscription] = None
            for value in self._last:
                subscription.offer(value)
        return subscription

    def _deliver(self, value: T) -> None:
        with self._lock:
            if self._replay:
                self._last = [value]
            gone = [subscription for subscription in self._subscriptions if not subscription.offer(value)]
            for subscription in gone:
                del self._subscriptions[subscription]

    def _forget(self, subscription: Subscription[T]) -> None:
        with self._lock:
            self._subscriptions.pop(subscription, None)
