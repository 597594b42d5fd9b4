"""What waits for the outcome of a transaction: callbacks for its commit, remedies for its rollback.

A session can commit and roll back a part of a transaction on its own, by savepoints. What waits shares the fate of the
part in which it was added.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

logger = logging.getLogger("storage")

Callback = Callable[[], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    committed: Callback | None
    rolled_back: Callback | None


class Outcomes:
    """What to do once some work is committed, or when it is rolled back.

    Example:
        >>> outcomes = Outcomes()
        >>> outcomes.add(committed=lambda: print("committed"), rolled_back=lambda: print("rolled back"))
        >>> outcomes.settle()
        committed
    """

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []

    def add(self, *, committed: Callback | None = None, rolled_back: Callback | None = None) -> None:
        """Wait for the outcome of what is done now.

        Args:
            committed: Called after the commit, in the order of adding.
            rolled_back: Called after a rollback, the last added first.
        """
        self._waiting.append(_Waiting(committed=committed, rolled_back=rolled_back))

    def absorb(self, inner: Outcomes) -> None:
        """Take over what waits elsewhere: its outcome is decided here from now on."""
        self._waiting += inner._waiting
        inner._waiting = []

    def settle(self) -> None:
        """Run what waited for the commit; the data is safe by now, so a failure is logged and stops nobody."""
        waiting, self._waiting = self._waiting, []
        for item in waiting:
            try:
                if item.committed:
                    item.committed()
            except Exception:
                logger.exception("a callback failed after the commit")

    def undo(self, start: int = 0) -> None:
        """Run the remedies of what was added since `start`, and forget all of it."""
        undone = self._waiting[start:]
        del self._waiting[start:]
        for item in reversed(undone):
            if item.rolled_back:
                item.rolled_back()

    def follow(self, session: Session, settle: Callback | None = None) -> None:
        """Undo what waits for a part that the session rolls back.

        Args:
            session: The session, for the rest of its life.
            settle: Called after the session's own commit; None where its outermost transaction is a savepoint too.
        """
        starts: dict[SessionTransaction, int] = {}
        committed: set[SessionTransaction] = set()

        def begun(_session: Session, part: SessionTransaction) -> None:
            starts[part] = len(self._waiting)

        def succeeded(_session: Session) -> None:
            part = session.get_nested_transaction() or session.get_transaction()
            if part is not None:
                committed.add(part)

        def ended(_session: Session, part: SessionTransaction) -> None:
            start, outermost = starts.pop(part, 0), part.parent is None
            if not outermost and not part.nested:
                return  # a flush, which shares the fate of what it is part of
            if part not in committed:
                self.undo(0 if outermost and settle else start)
                return
            committed.discard(part)
            if outermost and settle:
                settle()

        event.listen(session, "after_transaction_create", begun)
        event.listen(session, "after_commit", succeeded)
        event.listen(session, "after_transaction_end", ended)
