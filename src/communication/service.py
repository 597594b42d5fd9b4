"""Entries as Connect RPCs: the ASGI application that decodes, calls the handler and encodes.

This is the way of every call, so it is kept short: one look-up by path, no interceptors, one `try` around the handler.
A service never changes; an app that gets more entries makes a new one.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
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

CONTRACT_HEADER = "vention-contract"
"""Header in which a client may name the contract that it encoded a request by, as `contract_digest` gives it."""

CONTRACT_CHANGED = "the contract of the app has changed; read it again"
"""What a caller is told, with `failed_precondition`, who named another contract; nothing was executed."""

_Context = RequestContext[Any, Any]
_CONTRACT_HEADER = CONTRACT_HEADER.encode()
# The HTTP status and the gRPC status of each code. Source: https://connectrpc.com/docs/protocol#error-codes
_STATUSES = {Code.UNIMPLEMENTED: (501, b"12"), Code.FAILED_PRECONDITION: (400, b"9")}


def contract_digest(descriptor_set: bytes) -> str:
    """Return what names a contract in the header `CONTRACT_HEADER`.

    Args:
        descriptor_set: What the app serves as `app.binpb`.

    Example:
        >>> contract_digest(b"")
        'e3b0c44298fc1c14'
    """
    return hashlib.sha256(descriptor_set).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """How requests to a kind of RPC look over Connect."""

    prefix: str
    """What comes before the codec's name in the content type."""

    @property
    def content_types(self) -> tuple[str, ...]:
        """The content types that are understood, the one to advise first."""
        return (f"{self.prefix}json", f"{self.prefix}proto")


_UNARY = _Shape(prefix="application/")
_STREAM = _Shape(prefix="application/connect+")


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
        groups: dict[tuple[int, _Shape], dict[str, Endpoint[Any, Any]]] = {}
        for action in actions:
            limit = action.max_request_bytes or DEFAULT_READ_MAX_BYTES
            endpoint = _action_endpoint(contract, rpcs[action.name], action)
            groups.setdefault((limit, _UNARY), {}).update(self._mounted(rpcs[action.name], endpoint))
        for stream in streams:
            endpoint = _stream_endpoint(contract, rpcs[stream.name], stream, open_streams)
            groups.setdefault((DEFAULT_READ_MAX_BYTES, _STREAM), {}).update(self._mounted(rpcs[stream.name], endpoint))
        self._targets: dict[str, ASGIApp] = {
            f"{RPC_PREFIX}/app.proto": _file(contract.proto_text.encode(), "text/plain; charset=utf-8"),
            f"{RPC_PREFIX}/app.binpb": _file(contract.descriptor_set, "application/octet-stream"),
        }
        codecs = (JsonCodec(contract), ProtoCodec(contract))
        for (limit, shape), endpoints in groups.items():
            application = _Application(contract, endpoints, limit, codecs, shape)
            self._targets.update(dict.fromkeys(endpoints, cast("ASGIApp", application)))

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
        contract: Contract,
        endpoints: Mapping[str, Endpoint[Any, Any]],
        read_max_bytes: int,
        codecs: Iterable[JsonCodec | ProtoCodec],
        shape: _Shape,
    ) -> None:
        super().__init__(
            service=None,
            endpoints=cast("Callable[[None], Mapping[str, Any]]", lambda _: endpoints),
            read_max_bytes=read_max_bytes,
            codecs=cast("Iterable[Any]", codecs),
        )
        self._path = f"/{contract.service}"
        self._digest = contract_digest(contract.descriptor_set).encode()
        self._content_types = shape.content_types
        self._usual_types = frozenset(name.encode() for name in shape.content_types)

    @property
    def path(self) -> str:
        return self._path

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        content_type, digest, ascii_only = b"", self._digest, True
        for name, value in scope["headers"]:
            if name == b"content-type":
                content_type = value
            elif name == _CONTRACT_HEADER:
                digest = value
            if not value.isascii():
                ascii_only = False
        if scope["method"] != "POST" or not (content_type in self._usual_types or self._understands(content_type)):
            await _refuse_form(self._content_types, scope, receive, send)
        elif digest != self._digest:
            await _refuse(Code.FAILED_PRECONDITION, CONTRACT_CHANGED, scope, receive, send)
        else:
            if not ascii_only:
                scope = {**scope, "headers": [(name, _as_utf8(text)) for name, text in scope["headers"]]}
            await super().__call__(scope, receive, send)

    def _understands(self, content_type: bytes) -> bool:
        """Whether a content type is one of ours, with parameters or in capitals, or one of gRPC's."""
        media_type = content_type.decode("latin-1").partition(";")[0].strip().lower()
        return media_type in self._content_types or media_type.startswith("application/grpc")


def _as_utf8(header: bytes) -> bytes:
    """A header's value as UTF-8: browsers send names of people in Latin-1."""
    try:
        header.decode()
    except UnicodeDecodeError:
        return header.decode("latin-1").encode()
    return header


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

    return Endpoint.unary(method_info(contract, rpc), serve)


def _stream_endpoint(contract: Contract, rpc: Rpc, entry: StreamEntry, open_streams: OpenStreams) -> Endpoint[Any, Any]:
    procedure = f"/{contract.service}/{rpc.name}"

    async def serve(_request: Any, _context: _Context) -> AsyncIterator[Outgoing]:
        try:
            with open_streams.subscribe(entry.channel) as subscription:
                async for value in subscription:
                    yield rpc.outgoing(value)
        except Exception as error:
            raise _on_the_wire(error, procedure) from error

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


async def _refuse(code: Code, text: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that is not handed to an RPC, in the protocol it was asked in.

    Sources: https://connectrpc.com/docs/protocol#error-end-stream and
    https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
    """
    await _await_body(receive)
    http_status, grpc_status = _STATUSES[code]
    error = {"code": code.value, "message": text}
    content_type = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
    if content_type.startswith("application/grpc"):
        await _end_grpc(scope, send, content_type, [(b"grpc-status", grpc_status), (b"grpc-message", text.encode())])
        return
    if content_type.startswith("application/connect+"):
        end = json.dumps({"error": error}).encode()
        response = Response(struct.pack(">BI", 0b10, len(end)) + end, headers={"content-type": content_type})
    else:
        response = Response(json.dumps(error), status_code=http_status, media_type="application/json")
    await response(scope, receive, send)


_unimplemented = partial(_refuse, Code.UNIMPLEMENTED, "there is no such RPC; GET /rpc/app.proto lists those there are")


async def _refuse_form(content_types: Sequence[str], scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that is no POST, or of another content type, which no protocol is known for."""
    await _await_body(receive)
    if scope["method"] != "POST":
        status, code, headers = 405, Code.UNIMPLEMENTED, {"allow": "POST"}
    else:
        status, code, headers = 415, Code.INVALID_ARGUMENT, {"accept-post": ", ".join(content_types)}
    error = {"code": code.value, "message": f"call RPCs by POST with Content-Type: {content_types[0]}"}
    response = Response(json.dumps(error), status_code=status, headers=headers, media_type="application/json")
    await response(scope, receive, send)


async def _await_body(receive: Receive) -> None:
    """Wait for the request: some servers lose the connection when the answer overtakes it."""
    message = await receive()
    while message.get("more_body") and not message.get("body"):  # more than a part may never come
        message = await receive()


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
