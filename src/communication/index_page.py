"""The first page of an app: what it serves, and how to call it from a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from communication.contract.contract import Contract, Rpc
from communication.contract.types import Field, Kind, MessageType

_SAMPLES: Mapping[Kind, Any] = {
    Kind.BOOL: True,
    Kind.INT32: 1,
    Kind.INT64: "1",
    Kind.DOUBLE: 1.5,
    Kind.STRING: "text",
    Kind.BYTES: "",
    Kind.TIMESTAMP: "2026-01-31T12:00:00Z",
    Kind.DURATION: "1.5s",
    Kind.VALUE: {},
    Kind.DECIMAL: "1.50",
    Kind.UUID: "00000000-0000-0000-0000-000000000000",
    Kind.DATE: "2026-01-31",
    Kind.TIME: "12:00:00",
}

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
         color: #1b1f24; background: #fff }}
  pre {{ background: #f3f4f6; padding: .75rem; border-radius: .4rem; overflow-x: auto }}
  h2 {{ font-size: 1.05rem; margin: 1.75rem 0 .25rem }}
  small {{ font-weight: normal; color: #57606a }}
  a {{ color: #0550ae }}
  @media (prefers-color-scheme: dark) {{
    body {{ color: #e6edf3; background: #0d1117 }} pre {{ background: #161b22 }}
    small {{ color: #9198a1 }} a {{ color: #79b8ff }}
  }}
</style>
<h1>{title}</h1>
<p>{service} serves {count} over Connect, gRPC-Web and, on a server with HTTP/2, gRPC. Its contract:
<a href="{base}/rpc/app.proto">app.proto</a>, <a href="{base}/rpc/app.binpb">app.binpb</a> (descriptor set).</p>
{rpcs}
</html>
"""

_RPC = """<h2 id="{name}">{name} <small>{kind}</small></h2>
<pre><code>{command}</code></pre>
"""


def index_page(title: str, contract: Contract, base_url: str) -> str:
    """Return the page as HTML that needs nothing else.

    Args:
        title: Name of the app.
        contract: What the app serves.
        base_url: Where the caller reached the app, without a slash at the end.
    """
    rpcs = "".join(
        _RPC.format(
            name=escape(rpc.name),
            kind="stream" if rpc.streaming else "action",
            command=escape(_curl(contract, rpc, base_url)),
        )
        for rpc in contract.rpcs
    )
    return _PAGE.format(
        title=escape(title),
        service=escape(contract.service),
        count="one RPC" if len(contract.rpcs) == 1 else f"{len(contract.rpcs)} RPCs",
        base=escape(base_url),
        rpcs=rpcs,
    )


def _curl(contract: Contract, rpc: Rpc, base_url: str) -> str:
    """A command that calls the RPC; single quotes in it are written so that a shell takes them."""
    url = f"{base_url}/rpc/{contract.service}/{rpc.name}"
    if rpc.streaming:
        # An envelope of no flags and two bytes, then "{}".
        return (
            f"printf '\\0\\0\\0\\0\\2{{}}' | curl -sN {url} \\\n"
            "  -H 'Content-Type: application/connect+json' --data-binary @-"
        )
    body = json.dumps(_sample(contract, rpc.request, ())).replace("'", "'\\''")
    return f"curl -s {url} \\\n  -H 'Content-Type: application/json' -d '{body}'"


def _sample(contract: Contract, message: MessageType, within: tuple[str, ...]) -> dict[str, Any]:
    """A body with the fields that a caller must give."""
    return {
        field.json_name: [] if field.repeated else _sample_value(contract, field, (*within, message.name))
        for field in message.fields
        if field.required and field.type_name not in within
    }


def _sample_value(contract: Contract, field: Field, within: tuple[str, ...]) -> Any:
    if field.kind is Kind.ENUM:
        return contract.enums[field.type_name or ""].values[-1].label
    if field.kind is Kind.MESSAGE:
        return _sample(contract, contract.messages[field.type_name or ""], within)
    return _SAMPLES[field.kind]
