"""The application: what is added to it, when it is served, and what stands around the RPCs."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount

from communication.app import VentionApp
from communication.decorators import Registry
from communication.entries import ActionEntry, RpcBundle, StreamEntry
from communication.errors import ContractError
from communication.streams import Channel
from tests.serving import eventually

SERVICE = "vention.app.v1.MyAppService"
PING = f"/rpc/{SERVICE}/ping"


def ping() -> str:
    return "pong"


def hello() -> str:
    return "hello"


PINGS = RpcBundle(actions=[ActionEntry("ping", ping, None, str)])
HELLOS = RpcBundle(actions=[ActionEntry("hello", hello, None, str)])


def make(*bundles: RpcBundle, finalize: bool = True, **options: Any) -> VentionApp:
    app = VentionApp(name="my-app", **{"registry": Registry(), **options})
    for bundle in bundles:
        app.add_bundle(bundle)
    if finalize:
        app.finalize()
    return app


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


async def post(app: Any, path: str = PING, **options: Any) -> httpx.Response:
    async with client_of(app) as client:
        return await client.post(path, json={}, **options)


async def get(app: Any, path: str = "/", **options: Any) -> httpx.Response:
    async with client_of(app) as client:
        return await client.get(path, **options)


@asynccontextmanager
async def started(app: VentionApp) -> AsyncIterator[None]:
    """Run the app's lifespan, as a server does."""
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.create_task(app({"type": "lifespan", "state": {}}, events.get, answers.put))

    async def stage(name: str) -> None:
        await events.put({"type": f"lifespan.{name}"})
        assert await asyncio.wait_for(answers.get(), 5) == {"type": f"lifespan.{name}.complete"}

    await stage("startup")
    try:
        yield
    finally:
        await stage("shutdown")
        await running


async def test_what_is_added_is_served_under_rpc_and_at_the_root() -> None:
    app = make(PINGS)
    for prefix in ("/rpc", ""):
        response = await post(app, f"{prefix}/{SERVICE}/ping")
        assert (response.status_code, response.json()) == (200, {"result": "pong"})


async def test_decorated_functions_are_served() -> None:
    registry = Registry()
    registry.action()(ping)
    assert (await post(make(registry=registry))).json() == {"result": "pong"}


async def test_a_bundle_added_after_finalize_is_served_at_once() -> None:
    app = make(PINGS)
    await post(app)
    app.add_bundle(HELLOS)
    assert (await post(app, f"/{SERVICE}/hello")).json() == {"result": "hello"}
    assert (await post(app)).json() == {"result": "pong"}


async def test_register_rpc_plugin_is_another_name_of_add_bundle() -> None:
    app = make(finalize=False)
    app.register_rpc_plugin(PINGS)
    assert (await post(app)).json() == {"result": "pong"}


def test_adding_the_same_again_changes_nothing() -> None:
    app = make(PINGS, PINGS)
    before = app.contract.proto_text
    app.add_bundle(RpcBundle(actions=[ActionEntry("ping", ping, None, str)]))
    assert app.contract.proto_text == before


@pytest.mark.parametrize("finalized", [True, False])
async def test_another_entry_under_a_taken_name_is_refused_and_the_app_goes_on(finalized: bool) -> None:
    app = make(PINGS, finalize=finalized)
    with pytest.raises(ContractError, match="two different RPCs are named ping"):
        app.add_bundle(RpcBundle(actions=[ActionEntry("ping", hello, None, str)]))
    app.add_bundle(HELLOS)
    assert (await post(app)).json() == {"result": "pong"}


async def test_a_bundle_that_cannot_go_on_the_wire_leaves_a_finalized_app_as_it_was() -> None:
    app = make(PINGS)
    with pytest.raises(ContractError):
        app.add_bundle(RpcBundle(actions=[ActionEntry("hello", hello, None, complex)]))
    app.add_bundle(HELLOS)
    assert [rpc.name for rpc in app.contract.rpcs] == ["ping", "hello"]


async def test_an_app_that_was_not_finalized_finalizes_itself_at_start() -> None:
    app = make(PINGS, finalize=False)
    async with started(app):
        assert (await post(app)).json() == {"result": "pong"}


async def test_an_app_that_was_neither_finalized_nor_started_finalizes_itself_on_the_first_request() -> None:
    assert (await post(make(PINGS, finalize=False))).json() == {"result": "pong"}


async def test_a_function_decorated_after_finalize_is_served_once_the_app_starts() -> None:
    registry = Registry()
    app = make(registry=registry)
    registry.action()(ping)
    async with started(app):
        assert (await post(app)).json() == {"result": "pong"}


async def test_the_apps_own_lifespan_runs_and_keeps_its_state() -> None:
    events = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        assert isinstance(app, VentionApp)
        app.add_bundle(PINGS)
        events.append("up")
        yield {"database": "open"}
        events.append("down")

    app = make(finalize=False, lifespan=lifespan)
    async with started(app):
        assert (await post(app)).json() == {"result": "pong"}
    assert events == ["up", "down"]


async def test_the_garbage_collector_leaves_alone_what_was_there_before_the_app_was_served() -> None:
    before = gc.get_freeze_count()
    async with started(make(PINGS)):
        assert gc.get_freeze_count() > before + 10_000
    assert gc.get_freeze_count() <= before


async def test_middleware_of_the_app_sees_the_rpcs() -> None:
    app = make(PINGS)

    @app.middleware("http")
    async def authenticate(request: Any, call_next: Callable[[Any], Any]) -> Response:
        if request.headers.get("authorization") != "Bearer token":
            return PlainTextResponse("who are you?", 401)
        response: Response = await call_next(request)
        return response

    assert (await post(app)).status_code == 401
    assert (await post(app, headers={"authorization": "Bearer token"})).json() == {"result": "pong"}


async def test_a_refusal_by_middleware_can_be_read_by_the_page() -> None:
    app = make(PINGS)

    @app.middleware("http")
    async def refuse(request: Any, call_next: Callable[[Any], Any]) -> Response:
        return PlainTextResponse("no", 401)

    response = await post(app, headers={"origin": "http://localhost:3000"})
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (401, "http://localhost:3000")


async def preflight(app: VentionApp, origin: str) -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "connect-protocol-version,connect-timeout-ms,content-type,x-grpc-web,x-user",
    }
    async with client_of(app) as client:
        return await client.options(PING, headers=headers)


@pytest.mark.parametrize(
    "origin", ["http://localhost", "http://localhost:3000", "https://127.0.0.1:8443", "http://[::1]:5173"]
)
async def test_pages_of_this_machine_may_call(origin: str) -> None:
    response = await preflight(make(PINGS), origin)
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, origin)
    answer = await post(make(PINGS), headers={"origin": origin})
    assert answer.headers["access-control-allow-origin"] == origin
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert {"grpc-status", "grpc-message", "grpc-status-details-bin"} <= set(re.split(r",\s*", exposed))


@pytest.mark.parametrize(
    "origin",
    ["http://example.com", "http://localhost.example.com", "http://127.0.0.1.example.com", "http://localhost:1@e.com"],
)
async def test_pages_from_elsewhere_may_not_call(origin: str) -> None:
    response = await preflight(make(PINGS), origin)
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers


async def test_other_origins_are_the_apps_choice() -> None:
    app = make(PINGS, cors_origins=["https://hmi.example.com"])
    assert (await preflight(app, "https://hmi.example.com")).status_code == 200
    assert (await preflight(app, "http://localhost:3000")).status_code == 400
    everyone = await preflight(make(PINGS, cors_origins=["*"]), "http://example.com")
    assert everyone.headers["access-control-allow-origin"] == "*"
    pattern = make(PINGS, cors_origins=re.compile(r"https://.*\.example\.com"))
    assert (await preflight(pattern, "https://a.example.com")).status_code == 200


@pytest.mark.parametrize("origin", ["https://hmi.example.co", "https://hmi", "https://hmi.example.com.evil.example"])
async def test_one_origin_given_as_text_allows_no_part_of_it(origin: str) -> None:
    app = make(PINGS, cors_origins="https://hmi.example.com")
    assert (await preflight(app, "https://hmi.example.com")).status_code == 200
    assert (await preflight(app, origin)).status_code == 400


async def test_an_app_with_cors_of_its_own_has_only_that() -> None:
    app = make(PINGS)
    app.add_middleware(
        CORSMiddleware, allow_origins=["https://hmi.example.com"], allow_methods=["POST"], allow_headers=["*"]
    )
    assert (await preflight(app, "https://hmi.example.com")).status_code == 200
    assert (await preflight(app, "http://localhost:3000")).status_code == 400


async def test_the_first_page_says_how_to_call_each_rpc() -> None:
    stream = RpcBundle(streams=[StreamEntry("ticks", Channel(), int)])
    response = await get(make(PINGS, stream, title="<Cell> 7"))
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "&lt;Cell&gt; 7" in response.text
    assert f"curl -s http://test{PING}" in response.text
    assert f"http://test/rpc/{SERVICE}/ticks" in response.text
    assert 'href="http://test/rpc/app.proto"' in response.text
    assert " src=" not in response.text
    assert "<link" not in response.text


async def test_a_first_page_of_the_apps_own_wins() -> None:
    app = make(PINGS)

    @app.get("/")
    async def home() -> str:
        return "mine"

    assert (await get(app)).json() == "mine"


async def test_an_app_mounted_at_the_root_does_not_hide_the_rpcs() -> None:
    app = make(PINGS)
    app.mount("/", PlainTextResponse("files"))
    assert (await get(app)).text == "files"
    assert (await post(app)).json() == {"result": "pong"}
    assert (await post(app, "/rpc/no")).status_code == 501


async def test_what_nobody_knows_is_still_not_found() -> None:
    assert (await get(make(PINGS), "/nothing")).status_code == 404


async def test_routes_and_options_of_fastapi_work() -> None:
    app = make(PINGS, title="Cell", docs_url="/api")

    @app.get("/status")
    async def status() -> dict[str, bool]:
        return {"ok": True}

    assert (await get(app, "/status")).json() == {"ok": True}
    assert (await get(app, "/api")).status_code == 200
    assert (app.title, make().title, make().name) == ("Cell", "my-app", "my-app")


async def test_an_app_inside_another_answers_below_its_mount() -> None:
    outer = Starlette(routes=[Mount("/cell", make(PINGS))])
    for path in (f"/cell{PING}", f"/cell/{SERVICE}/ping"):
        assert (await post(outer, path)).json() == {"result": "pong"}
    assert (await post(outer, "/cell/rpc/no")).status_code == 501
    assert f"http://test/cell{PING}" in (await get(outer, "/cell/")).text


async def test_an_app_behind_a_prefix_that_a_proxy_strips_says_so_on_its_page() -> None:
    transport = httpx.ASGITransport(app=make(PINGS), root_path="/cell")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post(PING, json={})).json() == {"result": "pong"}
        assert f"http://test/cell{PING}" in (await client.get("/")).text


def test_the_contract_is_emitted_with_its_lock(tmp_path: Path) -> None:
    proto = tmp_path / "contract" / "cell.proto"
    app = make(PINGS, emit_proto=True, proto_path=proto)
    assert proto.read_text() == app.contract.proto_text
    assert proto.with_suffix(".binpb").read_bytes() == app.contract.descriptor_set
    assert sorted(path.name for path in proto.parent.iterdir()) == ["cell.binpb", "cell.proto", "cell.proto.lock"]


def test_nothing_is_emitted_unless_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="communication"):
        make(PINGS, proto_path=tmp_path / "app.proto")
    assert list(tmp_path.iterdir()) == []
    assert "emit_proto=True keeps them" in caplog.text


def test_emitting_the_same_again_touches_nothing(tmp_path: Path) -> None:
    proto = tmp_path / "app.proto"
    make(PINGS, emit_proto=True, proto_path=proto)
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    make(PINGS, emit_proto=True, proto_path=proto)
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == before


def test_numbers_are_kept_by_the_lock_even_without_emitting(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def old(first: int) -> int:
        return first

    def new(second: int) -> int:
        return second

    proto = tmp_path / "app.proto"
    make(RpcBundle([ActionEntry("act", old, int, int)]), emit_proto=True, proto_path=proto)
    app = make(RpcBundle([ActionEntry("act", new, int, int)]), proto_path=proto)
    assert app.contract.messages["ActRequest"].fields[0].number == 2
    assert "emit_proto=True adds it" in caplog.text


def test_publications_of_all_streams_wait_for_the_deferrals_of_the_bundles() -> None:
    registry = Registry()
    pending: list[Callable[[], None]] = []

    @registry.stream("ticks", payload=int)
    def tick(number: int) -> int:
        return number

    app = make(RpcBundle([ActionEntry("ping", ping, None, str)], defer=pending.append), registry=registry)
    app.add_bundle(RpcBundle([ActionEntry("hello", hello, None, str)], defer=pending.append))
    tick(1)
    assert len(pending) == 1
    tick(2)
    assert len(pending) == 2


async def test_a_stop_signal_ends_the_streams_before_the_server_handles_it() -> None:
    channel: Channel[int] = Channel()
    app = make(RpcBundle(streams=[StreamEntry("ticks", channel, int)]))
    handled: list[int] = []

    def server_handler(number: int, frame: FrameType | None) -> None:
        handled.append(number)

    original = signal.signal(signal.SIGTERM, server_handler)
    try:
        async with started(app):
            headers = {"content-type": "application/connect+json"}
            async with client_of(app) as client, asyncio.timeout(5):
                reading = asyncio.create_task(
                    client.post(f"/{SERVICE}/ticks", content=b"\0\0\0\0\2{}", headers=headers)
                )
                await eventually(lambda: channel.subscribers)
                signal.raise_signal(signal.SIGTERM)
                response = await reading
            assert b"unavailable" in response.content
            assert handled == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is server_handler
    finally:
        signal.signal(signal.SIGTERM, original)


async def test_an_app_that_is_started_again_streams_again() -> None:
    channel: Channel[int] = Channel()
    app = make(RpcBundle(streams=[StreamEntry("ticks", channel, int)]))
    async with started(app):
        pass
    async with started(app), client_of(app) as client, asyncio.timeout(5):
        headers = {"content-type": "application/connect+json"}
        reading = asyncio.create_task(client.post(f"/{SERVICE}/ticks", content=b"\0\0\0\0\2{}", headers=headers))
        await eventually(lambda: channel.subscribers)
        channel.publish(7)
        app.end_streams()
        assert b'{"result":7}' in (await reading).content
