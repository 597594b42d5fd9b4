"""VentionApp: a FastAPI application that serves typed functions as Connect RPCs."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from fastapi import FastAPI, Request
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from communication.contract.contract import Contract
from communication.contract.files import write_whole
from communication.contract.lock import Lock
from communication.decorators import Registry, default_registry
from communication.entries import ActionEntry, RpcBundle, StreamEntry, merge_entries
from communication.index_page import index_page
from communication.service import OpenStreams, Service

logger = logging.getLogger("communication")

LOOPBACK_ORIGINS = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
"""Pages served by this very machine, on any port: the origins that may call an app unless it says otherwise."""

# What a browser must be allowed to send and to read; sources: https://connectrpc.com/docs/cors and
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md. X-User names the actor.
_REQUEST_HEADERS = (
    "Authorization",
    "Connect-Accept-Encoding",
    "Connect-Content-Encoding",
    "Connect-Protocol-Version",
    "Connect-Timeout-Ms",
    "Content-Encoding",
    "Content-Type",
    "Grpc-Timeout",
    "X-Grpc-Web",
    "X-User",
    "X-User-Agent",
)
_RESPONSE_HEADERS = ("Connect-Content-Encoding", "Grpc-Message", "Grpc-Status", "Grpc-Status-Details-Bin")
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_CORS_CACHE_SECONDS = 7200


class VentionApp(FastAPI):
    """A FastAPI application with RPCs.

    Add bundles, decorate functions with `@action` and `@stream`, then call `finalize()`. An app that was not finalized
    finalizes itself when its server starts. The RPCs are answered under `/rpc/<service>/<rpc>` and `/<service>/<rpc>`;
    everything below `/rpc/` belongs to them. Middleware that the app adds sees them like any other request.

    Args:
        name: Name of the app: `my-app` serves `vention.app.v1.MyAppService`.
        emit_proto: Whether `finalize()` writes the contract: the .proto file, its lock file (`app.proto.lock`) and the
            descriptor set (`app.binpb`), into one folder. Commit the first two: field numbers never change that way.
        proto_path: Where the .proto file is. A lock file beside it is read in any case.
        cors_origins: The origins whose pages may call the app: one, a list, or a pattern that matches them whole. An
            app that adds a `CORSMiddleware` of its own gets only that one.
        registry: Where `@action` and `@stream` noted their functions; the one of the module-level decorators unless
            given.
        **fastapi_options: Whatever else `fastapi.FastAPI` takes.

    Raises:
        ContractError: Something cannot be put on the wire; from `add_bundle` and `finalize`.

    Example:
        >>> from communication.entries import ActionEntry
        >>> def ping() -> str:
        ...     return "pong"
        >>> app = VentionApp(name="my-app", registry=Registry())
        >>> app.add_bundle(RpcBundle(actions=[ActionEntry("ping", ping, None, str)]))
        >>> app.finalize()
        >>> app.contract.service
        'vention.app.v1.MyAppService'
    """

    def __init__(
        self,
        name: str = "VentionApp",
        *,
        emit_proto: bool = False,
        proto_path: str | os.PathLike[str] = "proto/app.proto",
        cors_origins: str | Sequence[str] | re.Pattern[str] = LOOPBACK_ORIGINS,
        registry: Registry | None = None,
        **fastapi_options: Any,
    ) -> None:
        super().__init__(**{"title": name, **fastapi_options})
        self.name = name
        self._emit_proto = emit_proto
        self._proto_path = Path(proto_path)
        self._cors_origins = (cors_origins,) if isinstance(cors_origins, str) else cors_origins
        self._registry = default_registry if registry is None else registry
        self._bundles: tuple[RpcBundle, ...] = ()
        self._entries: tuple[tuple[ActionEntry, ...], tuple[StreamEntry, ...]] | None = None
        self._service: Service | None = None
        self._open_streams = OpenStreams()
        # The innermost middleware: whatever the app adds, authentication for example, comes before the RPCs.
        self.user_middleware.append(Middleware(_RpcMiddleware, owner=self))
        self._inner_lifespan = self.router.lifespan_context
        self.router.lifespan_context = self._lifespan
        self._not_found = self.router.default
        self.router.default = self._index_or_not_found

    def add_bundle(self, bundle: RpcBundle) -> None:
        """Add the entries of a bundle; after `finalize()` they are served at once.

        Args:
            bundle: What to add. Entries that the app has already are left as they are.

        Raises:
            ContractError: Another entry has the name of one of these, or something cannot be put on the wire; the app
                then stays as it was.
        """
        bundles = (*self._bundles, bundle)
        merge_entries(bundles)
        if self._service is not None:
            self._serve(bundles)
        self._bundles = bundles

    register_rpc_plugin = add_bundle
    """Another name of `add_bundle`."""

    def finalize(self) -> None:
        """Build the contract of everything added and decorated, and serve it.

        Raises:
            ContractError: Something cannot be put on the wire, or the lock file says otherwise.
            OSError: `emit_proto` is set and the files cannot be written.
        """
        self._serve(self._bundles)

    @property
    def contract(self) -> Contract:
        """What is on the wire; finalizes the app if nothing was built yet."""
        return self._current_service().contract

    def end_streams(self) -> None:
        """End all open streams with `unavailable`, so that a server that stops has nothing to wait for.

        It happens by itself when the process is told to stop by SIGINT or SIGTERM. Call it, from any thread, before
        stopping a server by other means. Until the app is started again, new streams end at once as well. A client
        that has stopped reading cannot be told; only the server can drop it: `uvicorn --timeout-graceful-shutdown 5`.
        """
        self._open_streams.end()

    def build_middleware_stack(self) -> ASGIApp:
        """Put CORS around everything, so that refusals and failures of other middleware can be read as well."""
        stack = super().build_middleware_stack()
        if len(self.user_middleware) == 1 and getattr(self, "max_body_size", None) is None:
            # Nothing in the stack concerns the RPCs: they are taken out before it, which saves a fifth of a call.
            stack = _RpcMiddleware(stack, owner=self)
        added: list[object] = [middleware.cls for middleware in self.user_middleware]
        if CORSMiddleware in added:
            return stack
        pattern = self._cors_origins.pattern if isinstance(self._cors_origins, re.Pattern) else None
        return CORSMiddleware(
            stack,
            allow_origins=() if isinstance(self._cors_origins, re.Pattern) else self._cors_origins,
            allow_origin_regex=pattern,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
            max_age=_CORS_CACHE_SECONDS,
        )

    def _serve(self, bundles: Sequence[RpcBundle]) -> None:
        """Replace the service by one of these bundles and of the decorated functions."""
        decorated = self._registry.bundle()
        entries = merge_entries((decorated, *bundles))
        actions, streams = entries
        lock_path = self._proto_path.with_name(f"{self._proto_path.name}.lock")
        lock = Lock.read(lock_path)
        contract = Contract.build(self.name, actions, streams, lock)
        service = Service(contract, actions, streams, self._open_streams)
        if lock is None and not self._emit_proto:
            logger.info(
                "%s does not exist: fields have the numbers of their declaration; emit_proto=True keeps them", lock_path
            )
        elif not self._emit_proto and contract.lock != lock:
            logger.warning(
                "%s lacks what is new in the app, whose numbers may change; emit_proto=True adds it", lock_path
            )
        if self._emit_proto:
            self._emit(contract, lock_path)
        for defer in [bundle.defer for bundle in bundles if bundle.defer is not None]:
            for stream in streams:
                stream.channel.defer_with(defer)
        self._entries = entries
        self._service = service

    def _emit(self, contract: Contract, lock_path: Path) -> None:
        """Write the contract's files, the lock first: a number must not be forgotten once it was published."""
        contract.lock.write(lock_path)
        write_whole(self._proto_path, contract.proto_text.encode())
        write_whole(self._proto_path.with_suffix(".binpb"), contract.descriptor_set)

    def _current_service(self) -> Service:
        if self._service is None:
            self.finalize()
        assert self._service is not None  # noqa: S101 # finalize() raises or sets it
        return self._service

    def _target(self, scope: Scope) -> ASGIApp | None:
        return self._current_service().target(scope)

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[Any]:
        """The lifespan of the app's own, with its streams inside."""
        inner: AbstractAsyncContextManager[Any] = self._inner_lifespan(app)
        async with inner as state:
            # What was decorated, or forgotten, since the last finalize() is served as well.
            if self._entries != merge_entries((self._registry.bundle(), *self._bundles)):
                self.finalize()
            self._open_streams.resume()
            with _startup_frozen(), _on_stop_signal(self.end_streams):
                yield state
            self.end_streams()

    async def _index_or_not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What no route of the app answered: the first page, or 404."""
        root = scope.get("root_path", "")
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] in ("/", root, f"{root}/"):
            base_url = str(Request(scope).url.replace(path=root, query="", fragment=""))
            page = index_page(self.title, self.contract, base_url)
            await HTMLResponse(page)(scope, receive, send)
        else:
            await self._not_found(scope, receive, send)


class _RpcMiddleware:
    """Takes the RPCs out before the app's own routes are tried."""

    def __init__(self, app: ASGIApp, owner: VentionApp) -> None:
        self._app = app
        self._target = owner._target  # noqa: SLF001 # half of VentionApp, in the form that Starlette wants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = self._target(scope) if scope["type"] == "http" else None
        await (target or self._app)(scope, receive, send)


@contextmanager
def _startup_frozen() -> Iterator[None]:
    """Keep the garbage collector off what lives as long as the app.

    Otherwise each of its full runs walks through every module: pauses of a tenth of a second, a third of the time
    under load. Source: https://docs.python.org/3/library/gc.html#gc.freeze
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _on_stop_signal(callback: Callable[[], None]) -> Iterator[None]:
    """Run the callback on the event loop when the process is told to stop, then what the server does about it.

    Servers wait for open responses before they end the lifespan, so its end comes too late to end streams.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    previous: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        if callable(previous[number]):
            previous[number](number, frame)

    for stop in (signal.SIGINT, signal.SIGTERM):
        # Where the server left the default in place, the process ends at once and no stream matters.
        if signal.getsignal(stop) not in (signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, None):
            previous[stop] = signal.getsignal(stop)
            signal.signal(stop, handle)
    try:
        yield
    finally:
        for stopped, handler in previous.items():
            if signal.getsignal(stopped) is handle:
                signal.signal(stopped, handler)
