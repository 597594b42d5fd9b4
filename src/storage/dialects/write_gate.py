"""The queue in which the writers of this process wait for SQLite's single write lock.

SQLite makes rivals poll for its lock, so the unlucky ones starve, and it cannot see that the lock's owner waits for
the very thread that asks. Here writers wait in the order in which they came, and a wait that cannot end is refused.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import DatabaseBusy, WriteWouldDeadlock
from storage.owner import Owner, current_owner


class WriteGate:
    """A fair lock that knows its owner.

    Args:
        timeout: The longest wait, in seconds.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._mutex = threading.RLock()  # a leaked connection may be collected, and leave, inside a locked block
        self._owner: Owner | None = None
        self._since = 0.0
        self._announced: list[tuple[Owner, str]] = []
        self._closed_to: list[Owner] = []
        self._waiting: deque[_Ticket] = deque()

    def acquire(self, timeout: float) -> float:
        """Wait for the lock.

        Args:
            timeout: The longest wait, in seconds.

        Returns:
            The seconds waited.

        Raises:
            WriteWouldDeadlock: The owner is the caller itself, or another task of the caller's event loop; or the
                caller has closed the gate to itself.
            DatabaseBusy: The owner kept the lock longer than the timeout.
        """
        owner = current_owner()
        with self._mutex:
            self.refuse_deadlock(owner)
            if self._owner is None:
                self._take(owner)
                return 0.0
            ticket = _Ticket(owner)
            self._waiting.append(ticket)
            self._let_in()
        started = time.monotonic()
        try:
            granted = ticket.wake.acquire(timeout=timeout)
        except BaseException:  # Ctrl-C, say: the lock must not be handed to somebody who is gone
            if not self._leave_line(ticket):
                self.release()
            raise
        if not granted and self._leave_line(ticket):
            raise self._busy()
        return time.monotonic() - started

    @contextmanager
    def announced(self, task: str) -> Iterator[None]:
        """Let those who wait in vain, because the caller keeps the lock in this block, know what it is for.

        Args:
            task: What takes so long: "an import".
        """
        announcement = current_owner(), task
        self._announced.append(announcement)
        try:
            yield
        finally:
            self._announced.remove(announcement)

    @contextmanager
    def closed_to_caller(self) -> Iterator[None]:
        """Refuse the caller in this block, and nobody else, as if it had the lock: it writes to a copy meanwhile."""
        owner = current_owner()
        self._closed_to.append(owner)
        try:
            yield
        finally:
            self._closed_to.remove(owner)

    def busy_with_task(self) -> DatabaseBusy | None:
        """The error for who waited in vain, where the lock's owner announced what it does."""
        holder = self._owner
        tasks = [task for owner, task in list(self._announced) if holder is not None and holder.same(owner)]
        if not tasks:
            return None
        message = f"waited {self.timeout:g} s for a write, because {tasks[0]} is under way"
        return DatabaseBusy(message, hint="try again when it has ended", task=tasks[0])

    def refuse_deadlock(self, owner: Owner) -> None:
        """Refuse a wait of this owner's that would never end, and one of who has closed the gate to itself.

        Raises:
            WriteWouldDeadlock: The lock's owner is the same, or another task of the same event loop.
        """
        if any(closed.same(owner) for closed in list(self._closed_to)):
            raise _second_session(owner)
        if (holder := self._owner) is not None:
            _refuse_deadlock(holder, owner)

    def release(self) -> None:
        """Hand the lock to the writer that has waited longest; any thread may call it."""
        with self._mutex:
            self._owner = None
            self._let_in()

    def _let_in(self) -> None:
        if self._owner is None and self._waiting:
            ticket = self._waiting.popleft()
            self._take(ticket.owner)
            ticket.given = True
            ticket.wake.release()

    def _take(self, owner: Owner) -> None:
        self._owner = owner
        self._since = time.monotonic()

    def _leave_line(self, ticket: _Ticket) -> bool:
        """Stop waiting; False when the lock came meanwhile."""
        with self._mutex:
            if ticket.given:
                return False
            self._waiting.remove(ticket)
            return True

    def _busy(self) -> DatabaseBusy:
        if busy := self.busy_with_task():
            return busy
        held = time.monotonic() - self._since
        message = f"waited for a write: {self._owner} has had a transaction open for {held:.1f} s"
        return DatabaseBusy(message, hint="keep transactions short and never wait for another writer inside one")


def _refuse_deadlock(holder: Owner, owner: Owner) -> None:
    if holder.same(owner):
        raise _second_session(owner)
    if holder.blocks(owner):
        message = f"{owner} would block its event loop to wait for a transaction of {holder}"
        hint = "write with `await in_thread(...)`, or do not await inside a transaction"
        raise WriteWouldDeadlock(message, hint=hint)


def _second_session(owner: Owner) -> WriteWouldDeadlock:
    message = f"{owner} writes while it has a transaction open in another session"
    hint = "end that session first, or let this write join it with `with use_session(session):`"
    return WriteWouldDeadlock(message, hint=hint)


class _Ticket:
    """One writer's place in the queue; a plain lock, which a connection that is collected meanwhile can release."""

    __slots__ = ("given", "owner", "wake")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.given = False
        self.wake = threading.Lock()
        self.wake.acquire()
