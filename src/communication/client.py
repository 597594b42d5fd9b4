"""ConnectClient: call the RPCs of an app from Python, without generated code."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

from connectrpc.client import ConnectClient as ConnectTransport
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from pyqwest import Client, HTTPTransport, ReadError, RemoteProtocolError, WriteError

from communication.codec import ClientCodec
from communication.contract.contract import Contract, Outgoing, Rpc
from communication.errors import CommunicationError, ContractError, RpcError, from_connect_error
from communication.naming import canonical_rpc_name
from communication.service import CONTRACT_CHANGED, CONTRACT_HEADER, RPC_PREFIX, contract_digest, method_info

_UNREACHABLE = (ConnectionError, OSError, ReadError, RemoteProtocolError, WriteError)
_FORBIDDEN = {401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED}


@dataclass(frozen=True, kw_only=True)
class _Remote:
    """What a server serves, and how to talk to it."""

    contract: Contract
    transport: ConnectTransport
    digest: str
    """What names the contract in the header of each call."""


@dataclass(frozen=True, kw_only=True)
class _Options:
    """How one call is made."""

    headers: Mapping[str, str]
    timeout: float | None
    """How long it may take, in seconds, the contract included."""
    deadline: float | None
    """When that is over, by `time.monotonic()`."""

    def remaining(self) -> float | None:
        """Return how many seconds are left."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def milliseconds(self) -> int | None:
        """Return what is left as the transport wants it, at least 1."""
        remaining = self.remaining()
        return None if remaining is None else max(1, round(remaining * 1000))


class ConnectClient:
    """A client of one app. It asks the app for its contract, so bytes arrive as bytes and times as times.

    Args:
        base_url: Where the app is: `http://localhost:8000`; `/rpc` at its end may be there or not.
        timeout: How long a call may take, in seconds; None for as long as it needs.
        headers: Sent with every call: `{"X-User": "ada"}`.

    Raises:
        CommunicationError: The address begins with neither `http://` nor `https://`.

    Example:
        async with ConnectClient("http://localhost:8000") as client:
            response = await client.call("UsersGetRecord", {"record_id": 1})
            print(response.record.name)
    """

    def __init__(
        self, base_url: str, *, timeout: float | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        if not base_url.lower().startswith(("http://", "https://")):
            raise CommunicationError(f"base_url {base_url!r} is no HTTP address", hint="write http://localhost:8000")
        self._base_url = base_url.rstrip("/").removesuffix(RPC_PREFIX).rstrip("/")
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
            timeout: How long this call may take, in seconds, reading the contract included; None for the client's own
                timeout.
            headers: Sent with this call, over the client's own, and with the request for the contract if it needs one.

        Returns:
            The response, its fields as attributes; messages inside it likewise.

        Raises:
            RpcError: The call failed; `code` says how, `violations` which fields were wrong.
        """
        options = self._options(timeout, headers)
        final = False
        while True:
            remote, rpc = await self._find(name, options, streaming=False)
            cancelled = _cancellations()
            try:
                response = await remote.transport.execute_unary(**_arguments(remote, rpc, request, options))
            except ConnectError as error:
                if final or not await self._contract_changed(error, remote, options):
                    raise self._failure(error) from error
                final = True
                continue
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
        options = self._options(timeout, headers)
        final = False
        while True:
            remote, rpc = await self._find(name, options, streaming=True)
            responses = remote.transport.execute_server_stream(**_arguments(remote, rpc, request, options))
            try:
                async with aclosing(cast("AsyncGenerator[Any, None]", responses)):
                    async for response in responses:
                        final = True
                        yield response
            except ConnectError as error:
                if final or not await self._contract_changed(error, remote, options):
                    raise self._failure(error) from error
                final = True
            else:
                return

    async def close(self) -> None:
        """Close the client's connections; it cannot be used afterwards."""
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _find(self, name: str, options: _Options, *, streaming: bool) -> tuple[_Remote, Rpc]:
        """Find an RPC in the contract, which is read again once if it does not have it."""
        remote = self._remote or await self._load(None, options)
        rpc = _lookup(remote.contract, name)
        if rpc is None:
            remote = await self._load(remote, options)
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

    async def _contract_changed(self, error: ConnectError, remote: _Remote, options: _Options) -> bool:
        """Whether the app refused a call by its old contract, and has a new one, which is read."""
        if error.code is not Code.FAILED_PRECONDITION or error.message != CONTRACT_CHANGED:
            return False
        # A handler may have passed on what another app told it; then calling again would execute it twice.
        return (await self._load(remote, options)).digest != remote.digest

    async def _load(self, stale: _Remote | None, options: _Options) -> _Remote:
        """Read the contract, unless another task did meanwhile."""
        try:
            async with asyncio.timeout(options.remaining()), self._loading:
                if self._remote is None or self._remote is stale:
                    self._remote = await self._fetch(options)
                return self._remote
        except TimeoutError as error:
            text = f"{self._base_url} did not answer within {options.timeout} s"
            raise RpcError(Code.DEADLINE_EXCEEDED, text) from error

    async def _fetch(self, options: _Options) -> _Remote:
        url = f"{self._base_url}{RPC_PREFIX}/app.binpb"
        try:
            response = await self._http.get(url, headers=options.headers)
        except _UNREACHABLE as error:
            raise self._unreachable() from error
        if response.status in _FORBIDDEN:
            raise RpcError(
                _FORBIDDEN[response.status],
                f"{url} answered with HTTP status {response.status}",
                hint="send the headers that the app wants: ConnectClient(..., headers={...})",
            )
        hint = "check that base_url is the address of a VentionApp"
        if response.status != 200:  # noqa: PLR2004 # HTTP's OK
            raise RpcError(Code.UNAVAILABLE, f"{url} answered with HTTP status {response.status}", hint=hint)
        content = bytes(response.content)
        try:
            contract = Contract.from_descriptor_set(content)
        except ContractError as error:
            text = f"{url} is not the contract of an app"
            raise RpcError(Code.UNAVAILABLE, text, hint=error.hint or hint) from error
        transport = ConnectTransport(
            f"{self._base_url}{RPC_PREFIX}",
            codec=cast("Any", ClientCodec(contract)),
            accept_compression=(),
            send_compression=None,
            http_client=self._http,
        )
        return _Remote(contract=contract, transport=transport, digest=contract_digest(content))

    def _options(self, timeout: float | None, headers: Mapping[str, str] | None) -> _Options:
        seconds = self._timeout if timeout is None else timeout
        deadline = None if seconds is None else time.monotonic() + seconds
        return _Options(headers={**self._headers, **(headers or {})}, timeout=seconds, deadline=deadline)

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


def _arguments(remote: _Remote, rpc: Rpc, request: object, options: _Options) -> dict[str, Any]:
    """What the transport is called with."""
    return {
        "request": Outgoing(type=rpc.request, value={} if request is None else request),
        "method": method_info(remote.contract, rpc),
        "headers": {**options.headers, CONTRACT_HEADER: remote.digest},
        "timeout_ms": options.milliseconds(),
    }
