"""Plain calls are answered like any other, only sooner."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from pydantic import BaseModel, Field, field_validator

from communication import unary
from communication.context import current_call
from communication.contract.contract import Contract
from communication.contract.descriptors import message_classes
from communication.entries import ActionEntry
from communication.errors import FieldViolation, RpcError
from communication.service import OpenStreams, Service

LIBRARY = [(b"connect-timeout-ms", b"60000")]  # a deadline leaves the call to the library
PATH = "/vention.app.v1.TestService/act"


class Move(BaseModel):
    axis: str
    distance: float = Field(default=0.0, ge=0)


class Answer:
    """What an app sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""

    async def send(self, message: Any) -> None:
        """What the app is given to send with."""
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message["body"]

    @property
    def seen(self) -> tuple[int, bytes | None, Any]:
        """What a caller makes of it."""
        body = gzip.decompress(self.body) if self.headers.get(b"content-encoding") == b"gzip" else self.body
        return self.status, self.headers.get(b"content-type"), body


def service_of(func: Callable[..., Any], types: tuple[Any, Any] = (Move, Move), **options: Any) -> Service:
    entry = ActionEntry("act", func, *types, **options)
    return Service(Contract.build("test", [entry], []), [entry], [], OpenStreams())


def receiver(*parts: bytes, then: Awaitable[Any] | None = None) -> Callable[[], Awaitable[Any]]:
    """What gives an app the parts of a body, and then tells that the caller has gone, in time or after something."""
    waiting = list(parts)

    async def receive() -> Any:
        if waiting:
            part = waiting.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(waiting)}
        await (then if then is not None else asyncio.Event().wait())
        return {"type": "http.disconnect"}

    return receive


async def call(
    service: Service, *parts: bytes, headers: list[tuple[bytes, bytes]] | None = None, codec: str = "json", **more: Any
) -> Answer:
    sent = [
        (b"content-type", f"application/{codec}".encode()),
        (b"content-length", str(sum(map(len, parts))).encode()),
        *(headers or []),
    ]
    scope = {"type": "http", "method": "POST", "path": PATH, "root_path": "", "headers": sent, "http_version": "1.1"}
    target, answer = service.target(scope), Answer()
    assert target is not None
    await asyncio.wait_for(target(scope, receiver(*parts, **more), answer.send), 5)
    return answer


def double(move: Move) -> Move:
    return Move(axis=move.axis, distance=2 * move.distance)


def refuse(_: Move) -> Move:
    raise RpcError(
        Code.FAILED_PRECONDITION,
        "the axis is 'ö'",
        violations=[FieldViolation(field="axis", description="is not homed")],
    )


def crash(_: Move) -> Move:
    raise RuntimeError("SELECT secret")


async def lie(_: Move) -> Any:
    return "no move"


BODIES = [
    b'{"axis": "x", "distance": 2}',
    b'{"axis": "x", "distance": -2}',
    b'{"axis": 5}',
    b'{"ax',
    b"",
    b"{}",
    b'{"axis": "x", "speed": 1}',
    json.dumps({"axis": "x" * 5000}).encode(),
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("func", [double, refuse, crash, lie])
async def test_a_plain_call_is_answered_as_the_library_answers_it(func: Any, body: bytes) -> None:
    service = service_of(func)
    plain, through = await call(service, body), await call(service, body, headers=LIBRARY)
    assert plain.seen[:2] == through.seen[:2]
    assert json.loads(plain.body) == json.loads(through.body)
    assert (b"content-length" in plain.headers, b"content-length" in through.headers) == (True, False)


async def test_a_plain_call_in_protobuf_is_answered_as_the_library_answers_it() -> None:
    service = service_of(double)
    classes: dict[str, Any] = {**message_classes(service.contract.descriptor_set)}
    body = classes["vention.app.v1.ActRequest"](axis="x", distance=2).SerializeToString()
    for content in (body, b"\xff\xff", b""):
        plain = await call(service, content, codec="proto")
        assert plain.seen == (await call(service, content, codec="proto", headers=LIBRARY)).seen
    assert (
        classes["vention.app.v1.ActResponse"].FromString((await call(service, body, codec="proto")).body).distance == 4
    )


async def test_a_body_that_comes_in_parts_is_put_together() -> None:
    answer = await call(service_of(double), b'{"axis"', b": ", b'"x"}')
    assert json.loads(answer.body) == {"axis": "x", "distance": 0.0}


@pytest.mark.parametrize(("size", "apart"), [(1_000, False), (300_000, True)])
async def test_a_large_body_is_decoded_beside_the_event_loop(size: int, apart: bool) -> None:
    class Noted(BaseModel):
        text: str

        @field_validator("text")
        @classmethod
        def note(cls, text: str) -> str:
            threads.append(threading.current_thread())
            return text

    threads: list[threading.Thread] = []
    answer = await call(service_of(lambda noted: None, (Noted, None)), json.dumps({"text": "x" * size}).encode())
    assert answer.status == 200
    assert (threads[0] is not threading.current_thread()) == apart


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("accepted", [b"gzip", b"br, gzip;q=1", b"identity", None, b"br,gzip"])
async def test_an_answer_is_compressed_where_that_pays_and_the_caller_takes_it(
    size: int, accepted: bytes | None
) -> None:
    headers = [] if accepted is None else [(b"accept-encoding", accepted)]
    answer = await call(service_of(double), json.dumps({"axis": "x" * size}).encode(), headers=headers)
    compressed = answer.headers.get(b"content-encoding") == b"gzip"
    assert compressed == (size > 1000 and accepted in (b"gzip", b"br,gzip"))
    assert len(answer.body) == int(answer.headers[b"content-length"])
    assert json.loads(answer.seen[2]) == {"axis": "x" * size, "distance": 0.0}


@pytest.mark.parametrize(
    "header",
    [
        (b"content-encoding", b"gzip"),
        (b"content-encoding", b"snappy"),
        (b"connect-protocol-version", b"2"),
        (b"connect-timeout-ms", b"soon"),
    ],
)
async def test_what_is_special_is_left_to_the_library(header: tuple[bytes, bytes]) -> None:
    body = b'{"axis": "x"}'
    answer = await call(service_of(double), gzip.compress(body) if header[1] == b"gzip" else body, headers=[header])
    assert answer.status == (200 if header[1] == b"gzip" else 501 if header[1] == b"snappy" else 400)
    assert b"content-length" not in answer.headers


async def test_a_body_over_the_limit_is_refused() -> None:
    answer = await call(service_of(double, max_request_bytes=20), b'{"axis": "' + b"x" * 20 + b'"}')
    assert (answer.status, json.loads(answer.body)["code"]) == (429, "resource_exhausted")


async def test_the_call_tells_its_headers_and_no_deadline() -> None:
    calls = []

    async def note(move: Move) -> Move:
        calls.append(current_call())
        return move

    await call(service_of(note), b'{"axis": "x"}', headers=[(b"x-user", "Ümit".encode("latin-1")), (b"x-user", b"Bob")])
    assert (calls[0].headers["X-User"], calls[0].deadline, calls[0].procedure) == ("Ümit", None, PATH)


async def test_a_caller_that_hangs_up_cancels_its_handler() -> None:
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def wait(_: Move) -> Move:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    answer = await call(service_of(wait), b'{"axis": "x"}', then=started.wait())
    assert cancelled.is_set()
    assert (answer.status, json.loads(answer.body)["code"]) == (499, "canceled")  # middleware wants an answer


async def test_a_hang_up_leaves_no_cancellation_behind() -> None:
    started = asyncio.Event()

    async def swallow(move: Move) -> Move:
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return move

    task = asyncio.create_task(call(service_of(swallow), b'{"axis": "x"}', then=started.wait()))
    assert (await task).status == 200
    assert task.cancelling() == 0


async def test_a_middleware_that_gives_the_body_again_stops_nobody() -> None:
    service, answer = service_of(slow), Answer()
    body = b'{"axis": "x"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": PATH, "root_path": "", "headers": headers}
    target, asked = service.target(scope), Counter[str]()

    async def again() -> Any:
        asked["times"] += 1
        assert asked["times"] < 10
        return {"type": "http.request", "body": body, "more_body": False}

    assert target is not None
    await asyncio.wait_for(target(scope, again, answer.send), 5)
    assert (answer.status, asked["times"]) == (200, 2)


async def slow(move: Move) -> Move:
    await asyncio.sleep(2 * unary._LONG)
    return move


async def test_a_handler_that_waits_for_what_was_cancelled_is_answered_as_the_library_answers_it() -> None:
    async def wait(move: Move) -> Move:
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other
        return move

    answer = await call(service_of(wait), b'{"axis": "x"}')
    assert (answer.status, json.loads(answer.body)["code"]) == (499, "canceled")


async def test_half_a_surrogate_pair_in_an_error_is_replaced() -> None:
    async def refuse_badly(_: Move) -> Move:
        raise ConnectError(Code.NOT_FOUND, "no \ud800")

    answer = await call(service_of(refuse_badly), b'{"axis": "x"}')
    assert (answer.status, json.loads(answer.body)["message"]) == (404, "no ?")


async def test_a_caller_that_hangs_up_before_its_body_is_there_is_sent_nothing() -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"9")],
    }
    target, answer = service_of(crash).target(scope), Answer()
    assert target is not None

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    await target(scope, receive, answer.send)
    assert answer.status == 0


async def test_a_cancellation_from_elsewhere_is_passed_on() -> None:
    started = asyncio.Event()

    async def wait(move: Move) -> Move:
        started.set()
        await asyncio.Event().wait()
        return move

    task = asyncio.create_task(call(service_of(wait), b'{"axis": "x"}'))
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
