"""Who holds a transaction: one task of an event loop, or one thread outside of any."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False, slots=True)
class Owner:
    """The thread, and the task on it where an event loop runs, that some code belongs to."""

    thread: threading.Thread
    """The thread."""
    task: asyncio.Task[Any] | None
    """The task that runs on that thread's event loop, None outside a loop."""

    def same(self, other: Owner) -> bool:
        """Whether both are the same task, or the same thread outside a loop."""
        return self.thread is other.thread and self.task is other.task

    def blocks(self, other: Owner) -> bool:
        """Whether this owner can do nothing while `other` blocks its thread: both live on one event loop."""
        return self.thread is other.thread

    def __str__(self) -> str:
        task = f"task {self.task.get_name()!r} on " if self.task else ""
        return f"{task}thread {self.thread.name!r}"


def current_task() -> asyncio.Task[Any] | None:
    """The task that runs now, None outside an event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def current_owner() -> Owner:
    """The owner that the calling code runs as.

    Example:
        >>> print(current_owner())
        thread 'MainThread'
    """
    return Owner(threading.current_thread(), current_task())
