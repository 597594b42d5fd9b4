"""Fixtures for tests of contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Need
from tests.unit.communication.contract.buf import Buf


@pytest.fixture
def buf(need: Need, tmp_path: Path) -> Buf:
    return Buf(need("buf"), tmp_path)
