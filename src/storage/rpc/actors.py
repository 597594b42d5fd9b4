"""Who calls."""

from __future__ import annotations

from communication.context import current_call
from storage.auditor import checked_actor
from storage.rpc.errors import told_to_caller

_ANONYMOUS = "anonymous"


def actor_of(named: str) -> str:
    """Who calls: the request's actor, else the X-User header, else nobody known.

    Args:
        named: The request's actor.

    Raises:
        RpcError: The name is nothing that the audit trail can keep.
    """
    actor = named.strip() or current_call().headers.get("x-user", "").strip() or _ANONYMOUS
    with told_to_caller():
        return checked_actor(actor)
