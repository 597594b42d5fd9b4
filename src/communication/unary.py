"""Unary RPCs, and their plain calls, which are answered here at two thirds of the cost.

Plain is what clients nearly always send: JSON or protobuf of known length, neither compressed nor with a deadline. The
Connect library answers all the rest, and to the caller there is no difference.

Source: https://connectrpc.com/docs/protocol#unary-rpcs-request-response-rpcs
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from anyio import to_thread
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from starlette.types import Receive, Scope, Send

from communication.answers import error_response
from communication.codec import ServerCodec
from communication.context import CURRENT_CALL, Call
from communication.contract.contract import Outgoing, Rpc
from communication.contract.types import MessageType
from communication.errors import RpcError, to_connect_error
from communication.headers import RequestHeaders

logger = logging.getLogger("communication")

_SPECIAL = frozenset({b"connect-timeout-ms", b"content-encoding", b"transfer-encoding"})
_DIGITS = 18  # more than any body has bytes, and fewer than int() refuses
_LONG = 0.1  # seconds from which on a call may be one whose caller gives up
_WORTH_COMPRESSING = 1024  # bytes; less is one packet anyway
_SLOW_TO_COMPRESS = 64 * 1024  # bytes
_SLOW_TO_DECODE = 256 * 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class UnaryRpc:
    """A unary RPC with what serves it."""

    rpc: Rpc
    """The RPC."""
    procedure: str
    """Its path as the contract spells it."""
    handler: Callable[..., Awaitable[Any]]
    """What serves it."""

    async def perform(self, request: Any, call: Call) -> Outgoing:
        """Call the handler.

        Args:
            request: What the caller sent, decoded.
            call: The call.

        Raises:
            ConnectError: What the caller is told when the handler fails.
        """
        token = CURRENT_CALL.set(call)
        try:
            return self.rpc.outgoing(await self.handler(*self.rpc.arguments(request)))
        except (Exception, SystemExit) as error:  # a handler that gives up does not end the server
            raise on_the_wire(error, self.procedure) from error
        finally:
            CURRENT_CALL.reset(token)


def on_the_wire(error: BaseException, procedure: str) -> ConnectError:
    """Tell what a caller learns of an error: of one that was not meant for callers, nothing.

    Args:
        error: What a handler raised.
        procedure: The path of the RPC, for the log.
    """
    if isinstance(error, RpcError):
        return to_connect_error(error)
    if isinstance(error, ConnectError):
        return error
    logger.error("%s failed", procedure, exc_info=error)
    return ConnectError(Code.INTERNAL, "internal error")


def is_plain(headers: Mapping[bytes, bytes], limit: int) -> bool:
    """Tell whether a request of a usual content type is a plain call.

    Args:
        headers: Its headers.
        limit: How many bytes its body may have.

    Example:
        >>> is_plain({b"content-length": b"2"}, 10), is_plain({b"content-length": b"20"}, 10)
        (True, False)
    """
    length = headers.get(b"content-length", b"")
    return (
        _SPECIAL.isdisjoint(headers)
        and headers.get(b"connect-protocol-version", b"1") == b"1"
        and length.isdigit()
        and len(length) <= _DIGITS
        and int(length) <= limit
    )


async def answer_plain(rpc: UnaryRpc, codec: ServerCodec, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a plain call.

    Args:
        rpc: What it calls.
        codec: How it is encoded.
        scope: The request, as ASGI has it.
        receive: Reads its body.
        send: Sends the answer.
    """
    body = await _body(receive)
    if body is None:
        return
    headers = RequestHeaders(scope["headers"])
    call = Call(procedure=rpc.procedure, headers=headers, deadline=None)
    try:
        request = await _decoded(codec, body, rpc.rpc.request)
        with _CancelledByHangUp(receive):
            content = codec.encode(await rpc.perform(request, call))
    except ConnectError as error:
        await error_response(error)(scope, receive, send)
    except asyncio.CancelledError:
        await error_response(ConnectError(Code.CANCELED, "the call was cancelled"))(scope, receive, send)
        if _is_cancelled():
            raise
    else:
        await _send(content, codec, headers, send)


async def _body(receive: Receive) -> bytes | None:
    """The body of a request, None where the caller hangs up."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _decoded(codec: ServerCodec, body: bytes, message: MessageType) -> Any:
    """Decode a request; others are served meanwhile where that takes long."""
    if len(body) < _SLOW_TO_DECODE:
        return codec.decode(body, message)
    return await to_thread.run_sync(codec.decode, body, message)


async def _send(content: bytes, codec: ServerCodec, asked: Mapping[str, str], send: Send) -> None:
    headers = [(b"content-type", f"application/{codec.name()}".encode()), (b"vary", b"accept-encoding")]
    if len(content) >= _WORTH_COMPRESSING and _takes_gzip(asked):
        content = await _compressed(content)
        headers.append((b"content-encoding", b"gzip"))
    headers.append((b"content-length", b"%d" % len(content)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _takes_gzip(asked: Mapping[str, str]) -> bool:
    return "gzip" in (coding.strip() for coding in asked.get("accept-encoding", "").split(","))


def _is_cancelled() -> bool:
    """Whether it is this very task that is cancelled, and not one that the handler waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _compressed(content: bytes) -> bytes:
    if len(content) < _SLOW_TO_COMPRESS:
        return gzip.compress(content, compresslevel=1)
    return await to_thread.run_sync(lambda: gzip.compress(content, compresslevel=1))


class _CancelledByHangUp:
    """A block that is cancelled when the caller hangs up, which is looked for only once it takes long.

    Args:
        receive: Tells that the caller has gone, once it has given the whole body.
    """

    __slots__ = ("_gone", "_receive", "_task", "_timer", "_watcher")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_LONG, self._watch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._gone and self._task is not None:
            self._task.uncancel()

    def _watch(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._await_hang_up())

    async def _await_hang_up(self) -> None:
        with suppress(Exception):  # the server's, which is no concern of the call's
            # Once only: a middleware that has read the body may give it again, and again.
            self._gone = (await self._receive())["type"] == "http.disconnect"
        if self._gone and self._task is not None:
            self._task.cancel()
