"""A database with the tables of the models, in a SQLite file and on a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlmodel import SQLModel, select

from storage import database
from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import get_engine, set_database_url, transaction
from storage.schema.tables import create, prepare
from tests.integration.storage.archives import Accessors, all_accessors
from tests.integration.storage.models import Base, Bin, Job, Recipe, Shelf
from tests.postgresql import empty

AUDIT_TABLE: sa.Table = SQLModel.metadata.tables["auditlog"]

Audit = Callable[[], list[AuditLog]]


@pytest.fixture
def engine(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The engine of an empty database that accessors of this process use."""
    monkeypatch.setattr(database, "_door", database._Door())
    set_database_url(url)
    make_tables(get_engine())
    yield get_engine()
    set_database_url("sqlite://")  # which closes it


def make_tables(engine: Engine, models: sa.MetaData = Base.metadata) -> None:
    """Make the tables of some models and the audit trail; no test needs those of all others."""
    audit = sa.MetaData()
    AUDIT_TABLE.to_metadata(audit)
    for metadata in (models, audit):
        prepare(metadata)
        create(engine, metadata)


@pytest.fixture
def recipes(engine: Engine) -> ModelAccessor[Recipe]:
    return ModelAccessor(Recipe, "recipes")


@pytest.fixture
def bins(engine: Engine) -> ModelAccessor[Bin]:
    return ModelAccessor(Bin, "bins")


@pytest.fixture
def audit(engine: Engine) -> Audit:
    """Reads the audit trail, oldest first."""

    def read() -> list[AuditLog]:
        with transaction() as session:
            return list(session.exec(select(AuditLog).order_by(sa.text("id"))))

    return read


@pytest.fixture
def rows(engine: Engine) -> Callable[[str], list[tuple[object, ...]]]:
    """Runs a query past storage, on a connection of its own."""

    def query(statement: str) -> list[tuple[object, ...]]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement))]

    return query


@pytest.fixture
def shelves(engine: Engine) -> ModelAccessor[Shelf]:
    return ModelAccessor(Shelf, "shelves")


@pytest.fixture
def jobs(engine: Engine) -> ModelAccessor[Job]:
    return ModelAccessor(Job, "jobs")


@pytest.fixture
def accessors(engine: Engine) -> Accessors:
    return all_accessors()


@pytest.fixture
def clear(engine: Engine, accessors: Accessors) -> Callable[[], None]:
    """Empties every table, past storage."""

    def run() -> None:
        if engine.dialect.name == "postgresql":
            empty(engine)
            return
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            for table in [*(accessor.codec.table.name for accessor in accessors.values()), "auditlog"]:
                connection.exec_driver_sql(f'DELETE FROM "{table}"')  # noqa: S608 - names of our own
            connection.commit()
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")

    return run
