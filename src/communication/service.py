"""Entries as Connect RPCs: what serves each path.

Plain unary calls, which nearly all are, go to `communication.unary`; the Connect library answers all others. There are
no interceptors. A service never changes; an app that gets more entries makes a new one.
"""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, TypeVar, cast

from anyio import to_thread
from connectrpc.code import Code
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import DEFAULT_READ_MAX_BYTES, ConnectASGIApplication, Endpoint
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from communication.answers import refuse, refuse_form, unimplemented
from communication.codec import JsonCodec, ProtoCodec
from communication.context import Call
from communication.contract.contract import Contract, Outgoing, Rpc
from communication.entries import ActionEntry, StreamEntry
from communication.errors import RpcError
from communication.headers import header_text
from communication.streams import Channel, Subscription
from communication.unary import UnaryRpc, answer_plain, is_plain, on_the_wire

RPC_PREFIX = "/rpc"
"""Where the RPCs are served besides the root. Everything below it belongs to them."""

CONTRACT_HEADER = "vention-contract"
"""Header in which a client may name the contract that it encoded a request by, as `contract_digest` gives it."""

CONTRACT_CHANGED = "the contract of the app has changed; read it again"
"""What a caller is told, with `failed_precondition`, who named another contract; nothing was executed."""

Served = TypeVar("Served")
_Context = RequestContext[Any, Any]
_CONTRACT_HEADER = CONTRACT_HEADER.encode()


def contract_digest(descriptor_set: bytes) -> str:
    """Return what names a contract in the header `CONTRACT_HEADER`.

    Args:
        descriptor_set: What the app serves as `app.binpb`.

    Example:
        >>> contract_digest(b"")
        'e3b0c44298fc1c14'
    """
    return hashlib.sha256(descriptor_set).hexdigest()[:16]


class OpenStreams:
    """The streams that clients are reading now, so that a server that stops can end them.

    A server waits for its open responses before it stops, and a stream ends only when somebody ends it.
    """

    def __init__(self) -> None:
        self._subscriptions: set[Subscription[Any]] = set()
        self._stopping = False

    def end(self) -> None:
        """End all streams with `unavailable`, and every one opened until `resume()`. Callable from any thread."""
        self._stopping = True
        for subscription in tuple(self._subscriptions):
            subscription.end(_stopping())

    def resume(self) -> None:
        """Let streams be opened again."""
        self._stopping = False

    @contextmanager
    def subscribe(self, channel: Channel[Any]) -> Iterator[Subscription[Any]]:
        """Read a channel within a `with` block, until one side ends it.

        Args:
            channel: The channel to read.
        """
        with closing(channel.subscribe()) as subscription:
            self._subscriptions.add(subscription)
            try:
                if self._stopping:
                    subscription.end(_stopping())
                yield subscription
            finally:
                self._subscriptions.discard(subscription)


def _stopping() -> RpcError:
    return RpcError(Code.UNAVAILABLE, "the server is stopping", hint="open the stream again later")


class Service:
    """The RPCs of one contract.

    Args:
        contract: What is on the wire.
        actions: The action entries that the contract was built from.
        streams: The stream entries that the contract was built from.
        open_streams: Keeps track of the streams being read.
    """

    def __init__(
        self,
        contract: Contract,
        actions: Iterable[ActionEntry],
        streams: Iterable[StreamEntry],
        open_streams: OpenStreams,
    ) -> None:
        self.contract = contract
        self._own_prefixes = (f"{RPC_PREFIX}/", f"/{contract.service}/")
        self._targets: dict[str, ASGIApp] = {
            f"{RPC_PREFIX}/app.proto": _file(contract.proto_text.encode(), "text/plain; charset=utf-8"),
            f"{RPC_PREFIX}/app.binpb": _file(contract.descriptor_set, "application/octet-stream"),
        }
        rpcs = {rpc.name: rpc for rpc in contract.rpcs}
        codecs = (JsonCodec(contract), ProtoCodec(contract))
        unary: dict[int, dict[str, UnaryRpc]] = {}
        for action in actions:
            rpc = _unary_rpc(contract, rpcs[action.name], action)
            unary.setdefault(action.max_request_bytes or DEFAULT_READ_MAX_BYTES, {}).update(self._mounted(rpc.rpc, rpc))
        for limit, mounted in unary.items():
            self._serve(mounted, _UnaryApplication(contract, mounted, codecs, limit))
        endpoints: dict[str, Endpoint[Any, Any]] = {}
        for stream in streams:
            endpoint = _stream_endpoint(contract, rpcs[stream.name], stream, open_streams)
            endpoints.update(self._mounted(rpcs[stream.name], endpoint))
        self._serve(endpoints, _Application(contract, endpoints, codecs, DEFAULT_READ_MAX_BYTES))

    def target(self, scope: Scope) -> ASGIApp | None:
        """Find what serves a request; None when its path is none of the service's.

        Args:
            scope: The ASGI scope of an HTTP request.
        """
        path: str = scope["path"]
        target = self._targets.get(path)
        if target is None:
            path = path.removeprefix(scope.get("root_path", ""))
            target = self._targets.get(path)
            if target is None and path.startswith(self._own_prefixes):
                return unimplemented
        return target

    def _mounted(self, rpc: Rpc, served: Served) -> dict[str, Served]:
        """Every path of an RPC, with what is served there."""
        names = (rpc.name, *rpc.aliases)
        return {f"{prefix}/{self.contract.service}/{name}": served for name in names for prefix in ("", RPC_PREFIX)}

    def _serve(self, paths: Iterable[str], application: _Application) -> None:
        self._targets.update(dict.fromkeys(paths, cast("ASGIApp", application)))


class _Application(ConnectASGIApplication[None]):
    """The Connect protocols over a fixed set of endpoints."""

    _prefix = "application/connect+"  # of the content types, before the codec's name

    def __init__(
        self,
        contract: Contract,
        endpoints: Mapping[str, Endpoint[Any, Any]],
        codecs: Iterable[JsonCodec | ProtoCodec],
        read_max_bytes: int,
    ) -> None:
        super().__init__(
            service=None,
            endpoints=cast("Callable[[None], Mapping[str, Any]]", lambda _: endpoints),
            read_max_bytes=read_max_bytes,
            codecs=cast("Iterable[Any]", codecs),
        )
        self._path = f"/{contract.service}"
        self._digest = contract_digest(contract.descriptor_set).encode()
        self._usual = {f"{self._prefix}{codec.name()}".encode(): codec for codec in codecs}
        self._content_types = [name.decode() for name in self._usual]

    @property
    def path(self) -> str:
        return self._path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"")
        if scope["method"] != "POST" or not (content_type in self._usual or self._understands(content_type)):
            await refuse_form(self._content_types, scope, receive, send)
        elif headers.get(_CONTRACT_HEADER, self._digest) != self._digest:
            await refuse(Code.FAILED_PRECONDITION, CONTRACT_CHANGED, scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(cast("Any", _with_utf8_headers(scope)), cast("Any", receive), cast("Any", send))

    def _understands(self, content_type: bytes) -> bool:
        """Whether a content type is one of ours, with parameters or in capitals, or one of gRPC's."""
        media_type = content_type.decode("latin-1").partition(";")[0].strip().lower()
        return media_type in self._content_types or media_type.startswith("application/grpc")


class _UnaryApplication(_Application):
    """The Connect protocols over unary RPCs, plain calls of which need less."""

    _prefix = "application/"

    def __init__(
        self,
        contract: Contract,
        rpcs: Mapping[str, UnaryRpc],
        codecs: Iterable[JsonCodec | ProtoCodec],
        read_max_bytes: int,
    ) -> None:
        endpoints = {path: _unary_endpoint(contract, rpc) for path, rpc in rpcs.items()}
        super().__init__(contract, endpoints, codecs, read_max_bytes)
        self._rpcs, self._limit = rpcs, read_max_bytes

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        rpc, codec = self._rpcs.get(scope["path"]), self._usual.get(headers[b"content-type"])
        if rpc is not None and codec is not None and is_plain(headers, self._limit):
            await answer_plain(rpc, codec, scope, receive, send)
        else:
            await super()._answer(scope, receive, send)


def _with_utf8_headers(scope: Scope) -> Scope:
    """The request with headers that the Connect library can read."""
    if all(value.isascii() for _, value in scope["headers"]):
        return scope
    return {**scope, "headers": [(name, header_text(value).encode()) for name, value in scope["headers"]]}


def method_info(contract: Contract, rpc: Rpc) -> MethodInfo[Any, Any]:
    """Return what the Connect library, on either side, wants to know of an RPC.

    Args:
        contract: The contract that has it.
        rpc: The RPC.
    """
    return MethodInfo(
        name=rpc.name,
        service_name=contract.service,
        input=cast("type[Any]", rpc.request),
        output=cast("type[Any]", rpc.response),
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if rpc.streaming else StreamType.UNARY,
    )


def _unary_rpc(contract: Contract, rpc: Rpc, entry: ActionEntry) -> UnaryRpc:
    return UnaryRpc(rpc=rpc, procedure=f"/{contract.service}/{rpc.name}", handler=_awaitable(entry.func))


def _unary_endpoint(contract: Contract, rpc: UnaryRpc) -> Endpoint[Any, Any]:
    async def serve(request: Any, context: _Context) -> Outgoing:
        return await rpc.perform(request, _call(rpc.procedure, context))

    return Endpoint.unary(method_info(contract, rpc.rpc), serve)


def _stream_endpoint(contract: Contract, rpc: Rpc, entry: StreamEntry, open_streams: OpenStreams) -> Endpoint[Any, Any]:
    procedure = f"/{contract.service}/{rpc.name}"

    async def serve(_request: Any, _context: _Context) -> AsyncIterator[Outgoing]:
        try:
            with open_streams.subscribe(entry.channel) as subscription:
                async for value in subscription:
                    yield rpc.outgoing(value)
        except Exception as error:
            raise on_the_wire(error, procedure) from error

    return Endpoint.server_stream(method_info(contract, rpc), serve)


def _awaitable(func: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """The handler itself when it is asynchronous, else one that runs it in a worker thread."""
    if inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(getattr(func, "__call__", None)):  # noqa: B004 # an object whose __call__ is asynchronous
        return func
    # A caller that gave up is told so at once; the thread itself cannot be stopped.
    return partial(to_thread.run_sync, func, abandon_on_cancel=True)


def _call(procedure: str, context: _Context) -> Call:
    timeout_ms = context.timeout_ms
    deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1000
    return Call(procedure=procedure, headers=context.request_headers, deadline=deadline)


def _file(content: bytes, media_type: str) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        response = Response(content, media_type=media_type, headers={"cache-control": "no-cache"})
        if scope["method"] not in ("GET", "HEAD"):
            response = Response(status_code=405, headers={"allow": "GET, HEAD"})
        await response(scope, receive, send)

    return serve
