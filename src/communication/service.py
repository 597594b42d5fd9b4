"""Entries as Connect RPCs: the ASGI application that decodes, calls the handler and encodes.

This is the way of every call, so it is kept short: one look-up by path, no interceptors, one `try` around the handler.
A service never changes; an app that gets more entries makes a new one.
"""

from __future__ import annotations

import inspect
import json
import logging
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, cast

from anyio import to_thread
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import DEFAULT_READ_MAX_BYTES, ConnectASGIApplication, Endpoint
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from communication.codec import JsonCodec, ProtoCodec
from communication.context import CURRENT_CALL, Call
from communication.contract.contract import Contract, Outgoing, Rpc
from communication.entries import ActionEntry, StreamEntry
from communication.errors import RpcError, to_connect_error
from communication.streams import Channel, Subscription

logger = logging.getLogger("communication")

RPC_PREFIX = "/rpc"
"""Where the RPCs are served besides the root. Everything below it belongs to them."""

_Context = RequestContext[Any, Any]


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
        rpcs = {rpc.name: rpc for rpc in contract.rpcs}
        groups: dict[int, dict[str, Endpoint[Any, Any]]] = {}
        for action in actions:
            limit = action.max_request_bytes or DEFAULT_READ_MAX_BYTES
            endpoint = _action_endpoint(contract, rpcs[action.name], action)
            groups.setdefault(limit, {}).update(self._mounted(rpcs[action.name], endpoint))
        for stream in streams:
            endpoint = _stream_endpoint(contract, rpcs[stream.name], stream, open_streams)
            groups.setdefault(DEFAULT_READ_MAX_BYTES, {}).update(self._mounted(rpcs[stream.name], endpoint))
        self._targets: dict[str, ASGIApp] = {
            f"{RPC_PREFIX}/app.proto": _file(contract.proto_text.encode(), "text/plain; charset=utf-8"),
            f"{RPC_PREFIX}/app.binpb": _file(contract.descriptor_set, "application/octet-stream"),
        }
        codecs = (JsonCodec(contract), ProtoCodec(contract))
        for limit, endpoints in groups.items():
            application = cast("ASGIApp", _Application(f"/{contract.service}", endpoints, limit, codecs))
            self._targets.update(dict.fromkeys(endpoints, application))

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
                return _unimplemented
        return target

    def _mounted(self, rpc: Rpc, endpoint: Endpoint[Any, Any]) -> dict[str, Endpoint[Any, Any]]:
        """Every path of an RPC, with its endpoint."""
        names = (rpc.name, *rpc.aliases)
        return {f"{prefix}/{self.contract.service}/{name}": endpoint for name in names for prefix in ("", RPC_PREFIX)}


class _Application(ConnectASGIApplication[None]):
    """The Connect protocols over a fixed set of endpoints."""

    def __init__(
        self,
        path: str,
        endpoints: Mapping[str, Endpoint[Any, Any]],
        read_max_bytes: int,
        codecs: Iterable[JsonCodec | ProtoCodec],
    ) -> None:
        super().__init__(
            service=None,
            endpoints=cast("Callable[[None], Mapping[str, Any]]", lambda _: endpoints),
            read_max_bytes=read_max_bytes,
            codecs=cast("Iterable[Any]", codecs),
        )
        self._path = path

    @property
    def path(self) -> str:
        return self._path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for _, value in scope["headers"]:
            if not value.isascii():
                scope = {**scope, "headers": [(name, _as_utf8(text)) for name, text in scope["headers"]]}
                break
        await super().__call__(scope, receive, send)


def _as_utf8(header: bytes) -> bytes:
    """A header's value as UTF-8: browsers send names of people in Latin-1."""
    try:
        header.decode()
    except UnicodeDecodeError:
        return header.decode("latin-1").encode()
    return header


def _method(contract: Contract, rpc: Rpc) -> MethodInfo[Any, Any]:
    return MethodInfo(
        name=rpc.name,
        service_name=contract.service,
        input=cast("type[Any]", rpc.request),
        output=cast("type[Any]", rpc.response),
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if rpc.streaming else StreamType.UNARY,
    )


def _action_endpoint(contract: Contract, rpc: Rpc, entry: ActionEntry) -> Endpoint[Any, Any]:
    procedure = f"/{contract.service}/{rpc.name}"
    handler = _awaitable(entry.func)

    async def serve(request: Any, context: _Context) -> Outgoing:
        token = CURRENT_CALL.set(_call(procedure, context))
        try:
            return rpc.outgoing(await handler(*rpc.arguments(request)))
        except (Exception, SystemExit) as error:  # a handler that gives up does not end the server
            raise _on_the_wire(error, procedure) from error
        finally:
            CURRENT_CALL.reset(token)

    return Endpoint.unary(_method(contract, rpc), serve)


def _stream_endpoint(contract: Contract, rpc: Rpc, entry: StreamEntry, open_streams: OpenStreams) -> Endpoint[Any, Any]:
    procedure = f"/{contract.service}/{rpc.name}"

    async def serve(_request: Any, _context: _Context) -> AsyncIterator[Outgoing]:
        try:
            with open_streams.subscribe(entry.channel) as subscription:
                async for value in subscription:
                    yield rpc.outgoing(value)
        except Exception as error:
            raise _on_the_wire(error, procedure) from error

    return Endpoint.server_stream(_method(contract, rpc), serve)


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


def _on_the_wire(error: BaseException, procedure: str) -> ConnectError:
    """What the caller is told; of an error that was not meant for callers, nothing."""
    if isinstance(error, RpcError):
        return to_connect_error(error)
    if isinstance(error, ConnectError):
        return error
    logger.error("%s failed", procedure, exc_info=error)
    return ConnectError(Code.INTERNAL, "internal error")


def _file(content: bytes, media_type: str) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        response = Response(content, media_type=media_type, headers={"cache-control": "no-cache"})
        if scope["method"] not in ("GET", "HEAD"):
            response = Response(status_code=405, headers={"allow": "GET, HEAD"})
        await response(scope, receive, send)

    return serve


async def _unimplemented(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an unknown RPC in the protocol it was asked in.

    Sources: https://connectrpc.com/docs/protocol#error-end-stream and
    https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
    """
    # Some servers lose the connection when the answer overtakes the request; more than a part may never come.
    message = await receive()
    while message.get("more_body") and not message.get("body"):
        message = await receive()
    text = "there is no such RPC; GET /rpc/app.proto lists those there are"
    error = {"code": Code.UNIMPLEMENTED.value, "message": text}
    content_type = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
    if content_type.startswith("application/grpc"):
        await _end_grpc(scope, send, content_type, [(b"grpc-status", b"12"), (b"grpc-message", text.encode())])
        return
    if content_type.startswith("application/connect+"):
        end = json.dumps({"error": error}).encode()
        response = Response(struct.pack(">BI", 0b10, len(end)) + end, headers={"content-type": content_type})
    else:
        response = Response(json.dumps(error), status_code=501, media_type="application/json")
    await response(scope, receive, send)


async def _end_grpc(scope: Scope, send: Send, content_type: str, status: list[tuple[bytes, bytes]]) -> None:
    """Send a gRPC status and nothing else: in trailers, or in the headers for gRPC-Web."""
    headers = [(b"content-type", content_type.encode("latin-1"))]
    trailers = not content_type.startswith("application/grpc-web") and "http.response.trailers" in scope.get(
        "extensions", ()
    )
    if not trailers:
        headers.extend(status)
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": trailers})
    await send({"type": "http.response.body", "body": b""})
    if trailers:
        await send({"type": "http.response.trailers", "headers": status})
