"""The limit that the RPCs set, around any writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from storage.accessor import ModelAccessor
from storage.writer import joined


@contextmanager
def limited(accessor: ModelAccessor[Any], limit: int | None) -> Iterator[None]:
    with joined() as scope, accessor.writes.limited(scope, limit):
        yield
