"""How much the torture tests do."""

from __future__ import annotations

import pytest


@pytest.fixture
def in_full(request: pytest.FixtureRequest) -> bool:
    """Whether the torture tests were asked for, in full count; else a sample is enough."""
    return bool(request.config.getoption("markexpr") == "torture")
