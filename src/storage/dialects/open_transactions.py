"""Which transactions of this process are open, by the thread that began them.

A server sees who waits for whose lock, but not that the lock's owner waits for the very thread that asks for it: a
second session of the same code, or another task of the same event loop. Such a wait would never end.
"""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

from storage.owner import Owner, current_owner


class OpenTransactions:
    """The owners of the transactions that are open."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._owners: WeakKeyDictionary[Connection, Owner] = WeakKeyDictionary()

    def add(self, connection: Connection) -> None:
        """Note that a connection begins a transaction, here and now."""
        with self._mutex:
            self._owners[connection] = current_owner()

    def remove(self, connection: Connection) -> None:
        """Note that its transaction is over."""
        with self._mutex:
            self._owners.pop(connection, None)

    def of_this_thread(self) -> list[Owner]:
        """Who has one open that cannot end while this thread waits: others first, the calling code itself last."""
        here = current_owner()
        with self._mutex:
            found = [owner for owner in self._owners.values() if owner.blocks(here)]
        return sorted(found, key=here.same)
