"""The garbage collector of Python, which looks for cycles in vain while many records are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the collector from running in a block that makes many objects that stay.

    Its passes over all that was made so far would cost more than the making itself. Afterwards the new objects count as
    old; what was young before is collected first, so that no garbage grows old with them.

    Example:
        >>> with collector_at_rest():
        ...     gc.isenabled()
        False
    """
    if not gc.isenabled():
        yield
        return
    gc.collect(1)
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else the application has frozen objects, which must stay so
            gc.freeze()
            gc.unfreeze()
        gc.enable()
