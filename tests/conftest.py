"""Fixtures that all tests share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.isolation import fresh_registries

PROJECT = Path(__file__).resolve().parent.parent

Need = Callable[[str], str]
"""`need(tool)` gives the tool's path; a test without it is skipped, or fails where CI=true."""


def require(found: str | None, what: str) -> str:
    """Return what was found; else skip the test with the reason, or fail it where CI=true."""
    if found:
        return found
    reason = f"{what} is needed and not there"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def need() -> Need:
    own = Path(sys.executable).parent  # where the pinned tools are
    path = f"{own}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return lambda tool: require(shutil.which(tool, path=path), tool)


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the source tree."""
    return PROJECT


@pytest.fixture
def fresh_declarations() -> Iterator[None]:
    """Models and decorated functions declared in the test are forgotten after it."""
    with fresh_registries():
        yield


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test runs in a folder of its own, with no settings of the machine."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("VENTION_STORAGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def in_full(request: pytest.FixtureRequest) -> bool:
    """Whether the torture tests were asked for, in full count; else a sample is enough."""
    return bool(request.config.getoption("markexpr") == "torture")
