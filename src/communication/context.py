"""The call being served: who calls what, with which headers and how much time.

A handler receives only its request. What else it may want to know about the call is here, in a context variable, so it
is also there in the worker thread of a synchronous handler and in everything that the handler calls.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from communication.errors import CommunicationError


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One RPC while it is being served.

    Example:
        >>> call = Call(procedure="/vention.app.v1.MyAppService/ping", headers={"x-user": "ada"}, deadline=None)
        >>> call.headers["x-user"]
        'ada'
    """

    procedure: str
    """Path of the RPC as the contract spells it: `/vention.app.v1.MyAppService/UsersGetRecord`."""
    headers: Mapping[str, str]
    """Headers of the request; names match in any case. Of a repeated header, the first value."""
    deadline: float | None
    """When the caller stops waiting, in seconds of `time.monotonic()`; None when it set no timeout."""

    def remaining(self) -> float | None:
        """Seconds until the caller stops waiting, never negative; None when it set no timeout.

        Example:
            >>> Call(procedure="/pkg.Service/ping", headers={}, deadline=0.0).remaining()
            0.0
        """
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


CURRENT_CALL: ContextVar[Call] = ContextVar("communication.current_call")
"""Set by the service around each handler; read it through `current_call()`."""


def current_call() -> Call:
    """Return the call being served.

    Raises:
        CommunicationError: Nothing is being served here: the code runs outside a handler.

    Example:
        >>> token = CURRENT_CALL.set(Call(procedure="/pkg.Service/ping", headers={"x-user": "ada"}, deadline=None))
        >>> current_call().headers.get("x-user", "anonymous")
        'ada'
        >>> CURRENT_CALL.reset(token)
    """
    call = CURRENT_CALL.get(None)
    if call is None:
        raise CommunicationError("no RPC is being served here", hint="call current_call() only inside a handler")
    return call
