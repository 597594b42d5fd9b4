"""Write jobs: what a caller gives to group commit, and how it waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import Any, Generic, TypeVar, cast

import anyio

from storage.outcomes import Outcomes
from storage.owner import Owner, current_owner
from storage.scope import Scope

R = TypeVar("R")
Work = Callable[[Scope], R]


class WriteJob(Generic[R]):
    """One caller's work and what came of it.

    Args:
        work: Called with the scope to write in.
        timeout: The longest wait for its turn, in seconds.
    """

    __slots__ = (
        "context",
        "deadline",
        "ended",
        "error",
        "future",
        "loop",
        "outcomes",
        "owner",
        "promoted",
        "result",
        "started",
        "wake",
        "work",
    )

    def __init__(self, work: Work[R], timeout: float) -> None:
        self.work = work
        self.owner: Owner = current_owner()
        self.deadline = time.monotonic() + timeout
        self.started = self.promoted = self.ended = False
        self.result: R | None = None
        self.error: BaseException | None = None
        self.outcomes = Outcomes()
        self.context: Context | None = None
        self.wake: threading.Event | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[None] | None = None

    def in_context(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in the caller's context, which on the caller's own thread is the current one."""
        return function(*args) if self.context is None else self.context.run(function, *args)

    def end(self) -> None:
        """Let the task that waits go on; to be called on its event loop."""
        self.ended = True
        if self.future is not None and not self.future.done():
            self.future.set_result(None)

    def outcome(self) -> R:
        """What the work returned, or raise what it raised."""
        if self.error is not None:
            self.outcomes.undo()
            raise self.error
        return cast(R, self.result)


async def wait_out(future: asyncio.Future[Any]) -> None:
    """Wait until a future is done, however often the caller is cancelled meanwhile."""
    with anyio.CancelScope(shield=True):  # or anyio would cancel it in every turn of the loop
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
