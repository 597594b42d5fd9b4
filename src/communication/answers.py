"""Answers that are made without the Connect library: errors, and refusals of requests that reach no RPC."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from functools import partial
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# The HTTP status of each code; the gRPC status is its place here, from 1.
# Sources: https://connectrpc.com/docs/protocol#error-codes and https://grpc.io/docs/guides/status-codes
_HTTP_STATUSES = {
    Code.CANCELED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
_GRPC_STATUSES = {code: str(number).encode() for number, code in enumerate(_HTTP_STATUSES, start=1)}


def error_response(error: ConnectError) -> Response:
    """Make the answer of a unary Connect call that failed.

    Args:
        error: What the caller is told.

    Example:
        >>> response = error_response(ConnectError(Code.NOT_FOUND, "Tool 1 does not exist"))
        >>> response.status_code, response.body
        (404, b'{"code": "not_found", "message": "Tool 1 does not exist"}')
    """
    return Response(_json(_content(error)), status_code=_HTTP_STATUSES[error.code], media_type="application/json")


async def refuse(code: Code, text: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that is not handed to an RPC, in the protocol it was asked in.

    Args:
        code: What kind of error it is.
        text: What the caller is told.
        scope: The request, as ASGI has it.
        receive: Reads its body.
        send: Sends the answer.

    Sources: https://connectrpc.com/docs/protocol#error-end-stream and
    https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
    """
    await _await_body(receive)
    content_type = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
    if content_type.startswith("application/grpc"):
        status = [(b"grpc-status", _GRPC_STATUSES[code]), (b"grpc-message", text.encode())]
        await _end_grpc(scope, send, content_type, status)
        return
    response = error_response(ConnectError(code, text))
    if content_type.startswith("application/connect+"):
        end = _json({"error": _content(ConnectError(code, text))})
        response = Response(struct.pack(">BI", 0b10, len(end)) + end, headers={"content-type": content_type})
    await response(scope, receive, send)


unimplemented = partial(refuse, Code.UNIMPLEMENTED, "there is no such RPC; GET /rpc/app.proto lists those there are")
"""Answers a request for an RPC that is not there."""


async def refuse_form(content_types: Sequence[str], scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request that is no POST, or of another content type, which no protocol is known for.

    Args:
        content_types: What is understood, the one to advise first.
        scope: The request, as ASGI has it.
        receive: Reads its body.
        send: Sends the answer.
    """
    await _await_body(receive)
    if scope["method"] != "POST":
        status, code, headers = 405, Code.UNIMPLEMENTED, {"allow": "POST"}
    else:
        status, code, headers = 415, Code.INVALID_ARGUMENT, {"accept-post": ", ".join(content_types)}
    error = ConnectError(code, f"call RPCs by POST with Content-Type: {content_types[0]}")
    response = Response(_json(_content(error)), status_code=status, headers=headers, media_type="application/json")
    await response(scope, receive, send)


def _content(error: ConnectError) -> dict[str, Any]:
    details = [
        {"type": detail.type_name, "value": base64.b64encode(detail.message_bytes).decode().rstrip("=")}
        for detail in error.details
    ]
    content = {"code": error.code.value, "message": error.message}
    return {**content, "details": details} if details else content


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode(errors="replace")  # half a surrogate pair has no form


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
