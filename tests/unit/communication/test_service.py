"""How a call reaches its handler, and what the caller is told when the handler fails."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from pydantic import BaseModel

from communication.context import CURRENT_CALL, current_call
from communication.contract.contract import Contract
from communication.entries import ActionEntry, StreamEntry
from communication.errors import FieldViolation, RpcError
from communication.service import CONTRACT_CHANGED, OpenStreams, Service, contract_digest
from communication.streams import Channel
from tests.serving import eventually

JSON = {"content-type": "application/json"}
SERVICE = "/vention.app.v1.TestService"


class Move(BaseModel):
    axis: str
    distance: float = 0.0


def service_of(*entries: ActionEntry | StreamEntry, open_streams: OpenStreams | None = None) -> Service:
    actions = [entry for entry in entries if isinstance(entry, ActionEntry)]
    streams = [entry for entry in entries if isinstance(entry, StreamEntry)]
    return Service(Contract.build("test", actions, streams), actions, streams, open_streams or OpenStreams())


def client_of(service: Service) -> httpx.AsyncClient:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        target = service.target(scope)
        assert target is not None, "the path is none of the service's"
        await target(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


async def answer(func: Callable[..., Any], body: Any = None, **options: Any) -> httpx.Response:
    """What an action "act" answers."""
    entry = ActionEntry("act", func, *options.pop("types", (None, None)))
    async with client_of(service_of(entry)) as client:
        return await client.post(f"{SERVICE}/act", content=json.dumps(body or {}), headers={**JSON, **options})


async def test_a_model_reaches_the_handler_and_comes_back() -> None:
    def double(move: Move) -> Move:
        return Move(axis=move.axis, distance=2 * move.distance)

    response = await answer(double, {"axis": "x", "distance": 1.5}, types=(Move, Move))
    assert (response.status_code, response.json()) == (200, {"axis": "x", "distance": 3.0})


async def test_a_plain_argument_is_a_field_named_like_the_parameter() -> None:
    async def double(number: int) -> int:
        return 2 * number

    response = await answer(double, {"number": 21}, types=(int, int))
    assert response.json() == {"result": 42}


async def test_a_handler_without_argument_and_result_answers_an_empty_message() -> None:
    called = threading.Event()

    def act() -> None:
        called.set()

    response = await answer(act)
    assert (response.status_code, response.json()) == (200, {})
    assert called.is_set()


async def test_synchronous_handlers_leave_the_event_loop_free() -> None:
    loop_thread = threading.get_ident()
    seen: list[int] = []
    await answer(lambda: seen.append(threading.get_ident()))
    assert seen != [loop_thread]


async def test_asynchronous_handlers_run_on_the_event_loop() -> None:
    seen: list[int] = []

    class Handler:
        async def __call__(self) -> None:
            seen.append(threading.get_ident())

    async def function() -> None:
        seen.append(threading.get_ident())

    await answer(Handler())
    await answer(function)
    assert seen == [threading.get_ident()] * 2


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_handler_sees_its_call(asynchronous: bool) -> None:
    def who() -> str:
        call = current_call()
        remaining = call.remaining()
        assert remaining is not None
        assert 0 < remaining <= 5
        return f"{call.procedure} by {call.headers['X-User']}"

    async def who_later() -> str:
        return who()

    func: Callable[..., Any] = who_later if asynchronous else who
    response = await answer(func, types=(None, str), **{"x-user": "ada", "connect-timeout-ms": "5000"})
    assert response.json() == {"result": f"{SERVICE}/act by ada"}
    assert CURRENT_CALL.get(None) is None


async def test_a_header_in_latin_1_arrives_as_text() -> None:
    async with client_of(service_of(ActionEntry("act", lambda: current_call().headers["x-user"], None, str))) as client:
        for encoding in ("latin-1", "utf-8"):
            headers = [(b"content-type", b"application/json"), (b"x-user", "Zoé".encode(encoding))]
            response = await client.post(f"{SERVICE}/act", content=b"{}", headers=headers)
            assert response.json() == {"result": "Zoé"}


async def test_an_rpc_error_reaches_the_caller_with_its_violations() -> None:
    def refuse() -> None:
        violation = FieldViolation(field="record.name", description="is taken")
        raise RpcError(Code.INVALID_ARGUMENT, "no", hint="try another", violations=[violation])

    response = await answer(refuse)
    body = response.json()
    assert response.status_code == 400
    assert (body["code"], body["message"]) == ("invalid_argument", "no; try another")
    assert body["details"][0]["type"] == "google.rpc.BadRequest"


async def test_an_error_of_the_connect_library_passes() -> None:
    def refuse() -> None:
        raise ConnectError(Code.ABORTED, "again, please")

    response = await answer(refuse)
    assert (response.status_code, response.json()) == (409, {"code": "aborted", "message": "again, please"})


def fail_plainly() -> None:
    raise ValueError("SELECT secret FROM /etc/passwd")


def fail_in_validation() -> None:
    Move.model_validate({"axis": ["secret"]})


def time_out() -> None:
    raise TimeoutError("secret")


async def stop_iteration() -> None:
    raise StopIteration("secret")


@pytest.mark.parametrize("func", [fail_plainly, fail_in_validation, time_out, stop_iteration])
async def test_any_other_error_is_logged_and_tells_the_caller_nothing(
    func: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="communication"):
        response = await answer(func)
    assert (response.status_code, response.json()) == (500, {"code": "internal", "message": "internal error"})
    (record,) = [record for record in caplog.records if record.name == "communication"]
    assert f"{SERVICE}/act" in record.getMessage()
    assert record.exc_info is not None


async def test_a_result_of_the_wrong_type_is_an_internal_error() -> None:
    def lie() -> Any:
        return "not a number"

    response = await answer(lie, types=(None, int))
    assert (response.status_code, response.json()["code"]) == (500, "internal")


async def test_a_cancelled_call_cancels_its_asynchronous_handler() -> None:
    cancelled = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    response = await answer(wait, **{"connect-timeout-ms": "20"})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert cancelled.is_set()


async def test_a_caller_of_a_synchronous_handler_is_told_of_its_deadline_at_once() -> None:
    released = threading.Event()
    finished = threading.Event()

    def wait() -> None:
        released.wait(10)
        finished.set()

    response = await answer(wait, **{"connect-timeout-ms": "20"})
    assert response.json()["code"] == "deadline_exceeded"
    assert not finished.is_set()
    released.set()
    assert await asyncio.to_thread(finished.wait, 10)


async def test_each_action_has_its_own_limit() -> None:
    def size(text: str) -> int:
        return len(text)

    small = ActionEntry("small", size, str, int, max_request_bytes=100)
    default = ActionEntry("default", size, str, int)
    large = ActionEntry("large", size, str, int, max_request_bytes=10 * 1024 * 1024)
    body = {"small": 101, "default": 4 * 1024 * 1024 + 1, "large": 5 * 1024 * 1024}
    async with client_of(service_of(small, default, large)) as client:
        codes = {
            name: (await client.post(f"{SERVICE}/{name}", json={"text": "x" * length})).json().get("code")
            for name, length in body.items()
        }
        within = await client.post(f"{SERVICE}/small", json={"text": "x" * 10})
    assert codes == {"small": "resource_exhausted", "default": "resource_exhausted", "large": None}
    assert within.json() == {"result": 10}


async def test_aliases_are_answered_on_both_paths() -> None:
    entry = ActionEntry("UsersGetRecord", lambda: "ada", None, str, aliases=("Users_GetRecord",))
    async with client_of(service_of(entry)) as client:
        for prefix in ("", "/rpc"):
            for name in ("UsersGetRecord", "Users_GetRecord"):
                response = await client.post(f"{prefix}{SERVICE}/{name}", json={})
                assert response.json() == {"result": "ada"}


UNKNOWN = ["/rpc/no", "/rpc/vention.app.v1.OtherService/act", f"/rpc{SERVICE}/no", f"{SERVICE}/no", "/rpc/"]


@pytest.mark.parametrize("path", UNKNOWN)
async def test_an_unknown_rpc_is_unimplemented(path: str) -> None:
    async with client_of(service_of(ActionEntry("act", lambda: None))) as client:
        response = await client.post(path, json={})
    assert (response.status_code, response.headers["content-type"]) == (501, "application/json")
    assert response.json()["code"] == "unimplemented"


async def test_an_unknown_stream_ends_with_unimplemented() -> None:
    async with client_of(service_of(ActionEntry("act", lambda: None))) as client:
        headers = {"content-type": "application/connect+json"}
        response = await client.post(f"{SERVICE}/no", content=b"\0\0\0\0\2{}", headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/connect+json")
    assert response.content[0] == 2
    assert int.from_bytes(response.content[1:5]) == len(response.content) - 5
    assert json.loads(response.content[5:])["error"]["code"] == "unimplemented"


async def test_an_unknown_rpc_over_grpc_web_is_unimplemented() -> None:
    async with client_of(service_of(ActionEntry("act", lambda: None))) as client:
        headers = {"content-type": "application/grpc-web+proto"}
        response = await client.post(f"{SERVICE}/no", content=b"\0\0\0\0\0", headers=headers)
    assert (response.status_code, response.headers["grpc-status"]) == (200, "12")
    assert response.headers["content-type"] == "application/grpc-web+proto"


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(("rpc", "advised"), [("act", "application/json"), ("ticks", "application/connect+json")])
async def test_a_method_other_than_post_is_told_how_to_call(method: str, rpc: str, advised: str) -> None:
    async with client_of(service_of(ActionEntry("act", lambda: None), StreamEntry("ticks", Channel(), int))) as client:
        response = await client.request(method, f"{SERVICE}/{rpc}")
    message = f"call RPCs by POST with Content-Type: {advised}"
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json() == {"code": "unimplemented", "message": message}


@pytest.mark.parametrize(
    ("rpc", "content_type", "advised"),
    [
        ("act", None, "application/json"),
        ("act", "text/plain", "application/json"),
        ("act", "application/connect+json", "application/json"),
        ("ticks", "application/json", "application/connect+json"),
    ],
)
async def test_another_content_type_is_told_how_to_call(rpc: str, content_type: str | None, advised: str) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    async with client_of(service_of(ActionEntry("act", lambda: None), StreamEntry("ticks", Channel(), int))) as client:
        response = await client.post(f"{SERVICE}/{rpc}", content=b"{}", headers=headers)
    message = f"call RPCs by POST with Content-Type: {advised}"
    assert (response.status_code, response.headers["accept-post"].split(", ")[0]) == (415, advised)
    assert response.json() == {"code": "invalid_argument", "message": message}


async def test_content_types_may_have_parameters_and_capitals() -> None:
    async with client_of(service_of(ActionEntry("act", lambda: 7, None, int))) as client:
        for content_type in ("application/json; charset=utf-8", "Application/JSON"):
            response = await client.post(f"{SERVICE}/act", content=b"{}", headers={"content-type": content_type})
            assert response.json() == {"result": 7}


async def test_a_call_by_another_contract_is_refused_before_it_is_executed() -> None:
    called = threading.Event()
    channel: Channel[int] = Channel()
    service = service_of(ActionEntry("act", called.set), StreamEntry("ticks", channel, int))
    error = {"code": "failed_precondition", "message": CONTRACT_CHANGED}
    other = {"vention-contract": "0" * 16}
    async with client_of(service) as client, asyncio.timeout(5):
        unary = await client.post(f"{SERVICE}/act", json={}, headers=other)
        headers = {**other, "content-type": "application/connect+json"}
        stream = await client.post(f"{SERVICE}/ticks", content=b"\0\0\0\0\2{}", headers=headers)
        headers = {**other, "content-type": "application/grpc-web+proto"}
        grpc_web = await client.post(f"{SERVICE}/act", content=b"\0\0\0\0\0", headers=headers)
    assert (unary.status_code, unary.json()) == (400, error)
    assert envelopes(stream.content) == [(2, {"error": error})]
    assert (grpc_web.headers["grpc-status"], grpc_web.headers["grpc-message"]) == ("9", CONTRACT_CHANGED)
    assert not called.is_set()


async def test_a_call_by_this_contract_or_by_none_named_is_served() -> None:
    service = service_of(ActionEntry("act", lambda: 7, None, int))
    async with client_of(service) as client:
        digest = contract_digest((await client.get("/rpc/app.binpb")).content)
        for headers in ({"vention-contract": digest}, {}):
            assert (await client.post(f"{SERVICE}/act", json={}, headers=headers)).json() == {"result": 7}


async def test_other_paths_are_none_of_the_services() -> None:
    service = service_of(ActionEntry("act", lambda: None))
    for path in ("/", "/rpc", "/users", "/vention.app.v1.OtherService/act"):
        assert service.target({"type": "http", "path": path}) is None


async def test_the_contract_can_be_fetched() -> None:
    service = service_of(ActionEntry("act", lambda: None))
    async with client_of(service) as client:
        proto = await client.get("/rpc/app.proto")
        binpb = await client.get("/rpc/app.binpb")
        refused = await client.post("/rpc/app.binpb")
    assert proto.text == service.contract.proto_text
    assert proto.headers["content-type"] == "text/plain; charset=utf-8"
    assert binpb.content == service.contract.descriptor_set
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def envelopes(body: bytes) -> list[tuple[int, Any]]:
    found = []
    while body:
        length = int.from_bytes(body[1:5])
        found.append((body[0], json.loads(body[5 : 5 + length])))
        body = body[5 + length :]
    return found


async def test_a_stream_ends_with_unavailable_when_the_server_stops() -> None:
    channel: Channel[int] = Channel()
    channel.publish(1)
    open_streams = OpenStreams()
    service = service_of(StreamEntry("ticks", channel, int), open_streams=open_streams)

    async def stop() -> None:
        await eventually(lambda: channel.subscribers)
        open_streams.end()

    headers = {"content-type": "application/connect+json"}
    async with client_of(service) as client, asyncio.timeout(5):
        response, _ = await asyncio.gather(
            client.post(f"{SERVICE}/ticks", content=b"\0\0\0\0\2{}", headers=headers), stop()
        )
        late = await client.post(f"{SERVICE}/ticks", content=b"\0\0\0\0\2{}", headers=headers)
    (_, value), (_, end) = envelopes(response.content)
    assert value == {"result": 1}
    assert end["error"]["code"] == "unavailable"
    assert envelopes(late.content)[-1][1]["error"]["code"] == "unavailable"
    assert channel.subscribers == 0
