from __future__ import annotations

import logging
import sqlite3

import pytest

from storage.dialects import sqlite_driver
from storage.dialects.sqlite_driver import DRIVER, has_wal_reset_bug, warn_of_wal_reset_bug


@pytest.mark.parametrize("version", [(3, 7, 0), (3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 50, 6), (3, 51, 2)])
def test_versions_with_the_wal_reset_bug(version: tuple[int, int, int]) -> None:
    assert has_wal_reset_bug(version)


@pytest.mark.parametrize("version", [(3, 6, 23), (3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 53, 0), (4, 0, 0)])
def test_versions_without_it(version: tuple[int, int, int]) -> None:
    assert not has_wal_reset_bug(version)


def test_the_bundled_sqlite_is_free_of_it() -> None:
    if DRIVER is sqlite3:
        pytest.skip("there is no bundled SQLite for this platform")

    assert not has_wal_reset_bug(DRIVER.sqlite_version_info)


@pytest.mark.parametrize(("version", "warnings"), [((3, 40, 1), 1), ((3, 53, 4), 0)])
def test_the_log_warns_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, version: tuple[int, ...], warnings: int
) -> None:
    monkeypatch.setattr(sqlite_driver.DRIVER, "sqlite_version_info", version)
    with caplog.at_level(logging.WARNING, "storage"):
        warn_of_wal_reset_bug()

    assert len(caplog.records) == warnings
