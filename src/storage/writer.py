"""The write path: everything that an accessor writes goes through `write` or `write_async`."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from storage.database import current_database, in_thread, refuse_inside_transaction
from storage.scope import Scope, current_scope, open_transaction
from storage.write_job import wait_out

logger = logging.getLogger("storage")

R = TypeVar("R")


def write(work: Callable[[Scope], R]) -> R:
    """Perform work that writes, undone alone if it raises: inside the open scope, else in a transaction of its own.

    Args:
        work: Called with the scope to write in; outside a transaction perhaps on another thread, in this context.

    Returns:
        What the work returned, outside a transaction once it is on the disk.

    Raises:
        DatabaseBusy: Another writer kept its lock longer than the busy timeout.
        DatabaseUnavailable: The database cannot be written now.
    """
    commits = None if current_scope() is not None else current_database().commits
    if commits is not None:
        return commits.run(work)
    with joined() as scope:
        return work(scope)


@contextmanager
def joined() -> Iterator[Scope]:
    """A block that writes, undone alone if it raises: inside the open scope, else a transaction of its own.

    Raises:
        DatabaseBusy: Another writer kept its lock longer than the busy timeout.
        DatabaseUnavailable: The database cannot be written now.
    """
    outer, database = current_scope(), current_database()
    opened = open_transaction(database.engine, database.dialect) if outer is None else outer.child()
    with opened as scope:
        yield scope


async def write_async(work: Callable[[Scope], R]) -> R:
    """Perform work as `write` does, on another thread, without blocking the event loop.

    Raises:
        WriteWouldDeadlock: The task has a transaction open, for which the work would have to wait.
        DatabaseUnavailable: The database cannot be written now.
    """
    refuse_inside_transaction("write_async")
    commits = current_database().commits
    return await (_write_in_thread(work) if commits is None else commits.run_async(work))


async def _write_in_thread(work: Callable[[Scope], R]) -> R:
    """Write on a worker thread; a caller that is cancelled has written nothing, or is told when the work has ended."""
    claim = threading.Lock()  # goes to whoever comes first: the thread, or a caller that gives up
    results: list[R] = []
    errors: list[BaseException] = []

    def perform() -> None:
        if claim.acquire(blocking=False):
            try:
                results.append(write(work))
            except BaseException as error:  # noqa: BLE001 - it is the caller's, not that of the task between
                errors.append(error)

    running = asyncio.ensure_future(in_thread(perform))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        if claim.acquire(blocking=False):
            running.cancel()
        else:
            await wait_out(running)
            if results:
                logger.warning("a caller gave up on a write that was committed all the same")
        raise
    if errors:
        raise errors[0]
    return results[0]
