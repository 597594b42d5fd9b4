"""The app under test, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from storage.database import set_database_url
from tests.integration.storage_rpc.cell import Caller, Cell, running_cell


@pytest.fixture(autouse=True)
def closed_database() -> Iterator[None]:
    yield
    set_database_url("sqlite://")


@pytest.fixture
async def cell(url: str) -> AsyncIterator[Cell]:
    async with running_cell(url) as running:
        yield running


@pytest.fixture
def call(cell: Cell) -> Caller:
    return cell.call
