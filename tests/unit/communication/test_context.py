"""What a handler can learn about the call that it serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from communication.context import CURRENT_CALL, Call, current_call
from communication.errors import CommunicationError


@pytest.fixture
def call() -> Iterator[Call]:
    served = Call(procedure="/vention.app.v1.MyAppService/ping", headers={"x-user": "ada"}, deadline=None)
    token = CURRENT_CALL.set(served)
    yield served
    CURRENT_CALL.reset(token)


def test_the_call_is_there_while_it_is_served(call: Call) -> None:
    assert current_call() is call


def test_outside_a_handler_the_error_says_where_to_ask() -> None:
    with pytest.raises(CommunicationError, match="only inside a handler"):
        current_call()


async def test_a_worker_thread_sees_the_call() -> None:
    served = Call(procedure="/vention.app.v1.MyAppService/ping", headers={}, deadline=None)
    token = CURRENT_CALL.set(served)
    try:
        assert await asyncio.to_thread(current_call) is served
    finally:
        CURRENT_CALL.reset(token)


def test_without_a_timeout_there_is_no_end(call: Call) -> None:
    assert call.remaining() is None


def test_the_remaining_time_counts_down_to_zero() -> None:
    def remaining(deadline: float) -> float | None:
        return Call(procedure="/s/p", headers={}, deadline=deadline).remaining()

    left = remaining(time.monotonic() + 60)
    assert left is not None
    assert 0 < left <= 60
    assert remaining(time.monotonic() - 1) == 0.0
