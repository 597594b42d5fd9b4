"""A database in a file, with a few records, and a backup of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.bootstrap import bootstrap
from storage.database import set_database_url
from storage.transfer.backup import backup_to
from tests.integration.storage_backup.files import left_over
from tests.integration.storage_backup.plant import Plant, declare
from tests.isolation import fresh_registries


@pytest.fixture(scope="module")
def declared() -> Iterator[Plant]:
    with fresh_registries():
        yield declare()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the database, with nothing else in it."""
    made = tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "plant.db"


@pytest.fixture
def plant(declared: Plant, folder: Path, path: Path) -> Iterator[Plant]:
    """The application on its database; whatever a test does, no temporary file is left."""
    bootstrap(database_url=f"sqlite:///{path}")
    yield declared
    set_database_url("sqlite://")
    assert left_over(folder) == []


@pytest.fixture
def backup(plant: Plant, tmp_path: Path) -> Path:
    """A backup with the user Ada and a job of hers; in the database there is Bob as well."""
    ada = plant.add_user("Ada")
    plant.jobs.insert(plant.job(user_id=ada.id, note="weld"), "test")
    made, _ = backup_to(tmp_path / "backup.sqlite")
    plant.add_user("Bob")
    return made
