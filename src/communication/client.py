"""ConnectClient: call the RPCs of an app from Python, without generated code."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from connectrpc.client import ConnectClient as ConnectTransport
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from pyqwest import Client, HTTPTransport, ReadError, RemoteProtocolError, WriteError

from communication.codec import ClientCodec
from communication.contract.contract import Contract, Outgoing, Rpc
from communication.errors import ContractError, RpcError, from_connect_error
from communication.naming import canonical_rpc_name

_UNREACHABLE = (ConnectionError, OSError, ReadError, RemoteProtocolError, WriteError)


@dataclass(frozen=True, kw_only=True)
class _Remote:
    """What a server serves, and how to talk to it."""

    contract: Contract
    transport: ConnectTransport


class ConnectClient:
    """A client of one app. It asks the app for its contract, so bytes arrive as bytes and times as times.

    Args:
        base_url: Where the app is: `http://localhost:8000`.
        timeout: How long a call may take, in seconds; None for as long as it needs.
        headers: Sent with every call: `{"X-User": "ada"}`.

    Example:
        async with ConnectClient("http://localhost:8000") as client:
            response = await client.call("UsersGetRecord", {"record_id": 1})
            print(response.record.name)
    """

    def __init__(
        self, base_url: str, *, timeout: float | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._headers = dict(headers or {})
        # The system's resolver knows names that DNS does not, such as machine.local.
        self._connections = HTTPTransport(tls_include_system_certs=True, use_system_dns=True)
        self._http = Client(self._connections)
        self._remote: _Remote | None = None
        self._loading = asyncio.Lock()

    async def call(
        self,
        name: str,
        request: object = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # sent to the server as well, so that it stops, too
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Call an RPC that answers once.

        Args:
            name: Name of the RPC; older spellings (`Users_GetRecord`) will do.
            request: The request's fields, as a mapping or as an object with attributes; None for none.
            timeout: How long this call may take, in seconds; None for the client's own timeout.
            headers: Sent with this call, over the client's own.

        Returns:
            The response, its fields as attributes; messages inside it likewise.

        Raises:
            RpcError: The call failed; `code` says how, `violations` which fields were wrong.
        """
        remote, rpc = await self._find(name, streaming=False)
        cancelled = _cancellations()
        try:
            response = await remote.transport.execute_unary(
                request=_outgoing(rpc, request),
                method=_method(remote.contract, rpc),
                headers={**self._headers, **(headers or {})},
                timeout_ms=self._milliseconds(timeout),
            )
        except ConnectError as error:
            raise self._failure(error) from error
        if _cancellations() > cancelled:  # asyncio.wait_for of Python 3.11 loses one that comes with the answer
            raise asyncio.CancelledError
        return response

    async def stream(
        self,
        name: str,
        request: object = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # sent to the server as well, so that it stops, too
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Call an RPC that answers with a stream; leaving the loop ends it.

        Args:
            name: Name of the RPC.
            request: The request's fields, as a mapping or as an object with attributes; None for none.
            timeout: How long the whole stream may take, in seconds; None for the client's own timeout.
            headers: Sent with this call, over the client's own.

        Yields:
            Each response, its fields as attributes.

        Raises:
            RpcError: The stream ended with an error; `Code.UNAVAILABLE` when the server stopped.
        """
        remote, rpc = await self._find(name, streaming=True)
        responses: AsyncIterator[Any] = remote.transport.execute_server_stream(
            request=_outgoing(rpc, request),
            method=_method(remote.contract, rpc),
            headers={**self._headers, **(headers or {})},
            timeout_ms=self._milliseconds(timeout),
        )
        try:
            async with aclosing(cast("AsyncGenerator[Any, None]", responses)):
                async for response in responses:
                    yield response
        except ConnectError as error:
            raise self._failure(error) from error

    async def close(self) -> None:
        """Close the client's connections; it cannot be used afterwards."""
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _find(self, name: str, *, streaming: bool) -> tuple[_Remote, Rpc]:
        """Find an RPC in the contract, which is read again once if it does not have it."""
        remote = self._remote or await self._load(stale=None)
        rpc = _lookup(remote.contract, name)
        if rpc is None:
            remote = await self._load(stale=remote)
            rpc = _lookup(remote.contract, name)
        if rpc is None:
            names = {canonical_rpc_name(rpc.name): rpc.name for rpc in remote.contract.rpcs}
            near = [
                names[found] for found in difflib.get_close_matches(canonical_rpc_name(name), names)
            ] or names.values()
            raise RpcError(Code.UNIMPLEMENTED, f"{self._base_url} has no RPC {name}", hint=f"it has {', '.join(near)}")
        if rpc.streaming != streaming:
            right = "stream" if rpc.streaming else "call"
            raise RpcError(Code.UNIMPLEMENTED, f"{name} does not answer that way", hint=f"use client.{right}()")
        return remote, rpc

    async def _load(self, stale: _Remote | None) -> _Remote:
        """Read the contract, unless another task did meanwhile."""
        async with self._loading:
            if self._remote is None or self._remote is stale:
                contract = await self._fetch_contract()
                transport = ConnectTransport(
                    f"{self._base_url}/rpc",
                    codec=cast("Any", ClientCodec(contract)),
                    accept_compression=(),
                    send_compression=None,
                    http_client=self._http,
                )
                self._remote = _Remote(contract=contract, transport=transport)
            return self._remote

    async def _fetch_contract(self) -> Contract:
        url = f"{self._base_url}/rpc/app.binpb"
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._http.get(url, headers=self._headers)
        except TimeoutError as error:
            raise RpcError(Code.DEADLINE_EXCEEDED, f"{url} did not answer within {self._timeout} s") from error
        except _UNREACHABLE as error:
            raise self._unreachable() from error
        hint = "check that base_url is the address of a VentionApp"
        if response.status != 200:  # noqa: PLR2004 # HTTP's OK
            raise RpcError(Code.UNAVAILABLE, f"{url} answered with HTTP status {response.status}", hint=hint)
        try:
            return Contract.from_descriptor_set(bytes(response.content))
        except ContractError as error:
            raise RpcError(Code.UNAVAILABLE, f"{url} is not the contract of an app", hint=hint) from error

    def _milliseconds(self, timeout: float | None) -> int | None:
        seconds = self._timeout if timeout is None else timeout
        return None if seconds is None else max(1, round(seconds * 1000))

    def _failure(self, error: ConnectError) -> BaseException:
        """What the caller is told; the transport wraps its causes, and even a cancellation, into errors of its own."""
        cause = error.__cause__
        if isinstance(cause, (RpcError, asyncio.CancelledError)):
            return cause
        if isinstance(cause, _UNREACHABLE) and not isinstance(cause, TimeoutError):
            return self._unreachable()
        return from_connect_error(error)

    def _unreachable(self) -> RpcError:
        return RpcError(
            Code.UNAVAILABLE, f"no server answers at {self._base_url}", hint="start it, or check the address"
        )


def _cancellations() -> int:
    """How often the current task was asked to stop."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _lookup(contract: Contract, name: str) -> Rpc | None:
    return contract.rpc(name) or contract.rpc(canonical_rpc_name(name))


def _outgoing(rpc: Rpc, request: object) -> Outgoing:
    return Outgoing(type=rpc.request, value={} if request is None else request)


def _method(contract: Contract, rpc: Rpc) -> MethodInfo[Any, Any]:
    return MethodInfo(
        name=rpc.name,
        service_name=contract.service,
        input=cast("type[Any]", rpc.request),
        output=cast("type[Any]", rpc.response),
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.SERVER_STREAM if rpc.streaming else StreamType.UNARY,
    )
