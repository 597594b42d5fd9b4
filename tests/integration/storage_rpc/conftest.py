"""The app under test, on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.database import set_database_url
from tests.integration.storage_rpc.cell import Caller, Cell, running_cell


@pytest.fixture(autouse=True)
def closed_database() -> Iterator[None]:
    yield
    set_database_url("sqlite://")


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    return tmp_path / "cell.db"


@pytest.fixture
async def cell(database_path: Path) -> AsyncIterator[Cell]:
    async with running_cell(f"sqlite:///{database_path}") as running:
        yield running


@pytest.fixture
def call(cell: Cell) -> Caller:
    return cell.call
