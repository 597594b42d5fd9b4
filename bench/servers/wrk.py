"""wrk, the load generator: https://github.com/wg/wrk."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.sample import Sample

_SCRIPT = """
local requests, number = {}, 0
function init()
%s
end
function request()
  number = number + 1
  return requests[number %% #requests + 1]
end
function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format('\\n{"requests": %%d, "microseconds": %%d, "p50": %%d, "p99": %%d, "errors": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One HTTP request."""

    path: str
    """Below the base URL."""
    method: str = "POST"
    """The HTTP method."""
    content_type: str = "application/json"
    """What the body is."""
    body: bytes = b""
    """The body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers."""


def wrk(script: Path, base_url: str, connections: int, seconds: float) -> Sample:
    """Send requests on a number of connections, each as soon as the one before is answered.

    Args:
        script: What `write_script` wrote.
        base_url: The server.
        connections: How many.
        seconds: For how long; wrk counts in whole ones.
    """
    duration = max(1, round(seconds))
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{duration}s"]
    command += ["--timeout", "20s", "--script", str(script), base_url]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=duration + 60)
    found = json.loads(done.stdout.splitlines()[-1])
    good = found["requests"] - found["errors"]
    rate = good / (found["microseconds"] / 1e6)
    return Sample(rate=rate, p50=found["p50"] / 1000, p99=found["p99"] / 1000, errors=found["errors"])


def write_script(path: Path, calls: Sequence[Call]) -> None:
    """Write a script that sends one call after the other, over and over."""
    lines = [f"  requests[{number}] = {_formatted(call)}" for number, call in enumerate(calls, start=1)]
    path.write_text(_SCRIPT % "\n".join(lines))


def _formatted(call: Call) -> str:
    headers = {"Content-Type": call.content_type, **call.headers} if call.body else call.headers
    table = ", ".join(f"[{_quoted(name.encode())}] = {_quoted(value.encode())}" for name, value in headers.items())
    body = _quoted(call.body) if call.body else "nil"
    return f'wrk.format("{call.method}", {_quoted(call.path.encode())}, {{{table}}}, {body})'


def _quoted(content: bytes) -> str:
    """A Lua string, every byte as its number."""
    return '"' + "".join(f"\\{byte:03d}" for byte in content) + '"'
