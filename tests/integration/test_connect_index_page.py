"""The commands on the first page do what they say when they are pasted into a terminal."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import httpx
from pydantic import BaseModel

from communication.app import VentionApp
from communication.contract.markers import Int64
from communication.decorators import Registry
from tests.serving import PATIENCE, serving


class Tool(Enum):
    drill = "drill"
    mill = "mill"


class Point(BaseModel):
    x: float
    name: str = "it's"


class Everything(BaseModel):
    text: str
    whole: int
    large: Int64
    real: float
    yes: bool
    data: bytes
    at: datetime
    lasting: timedelta
    tool: Tool
    price: Decimal
    key: UUID
    day: date
    hour: time
    point: Point
    points: list[Point]
    free: dict[str, Any]
    note: str | None = None


def make() -> VentionApp:
    registry = Registry()

    @registry.action()
    async def everything(request: Everything) -> Everything:
        return request

    @registry.action()
    async def ping() -> str:
        return "pong"

    @registry.stream("ticks", payload=int)
    def tick(number: int) -> int:
        return number

    tick(7)
    return VentionApp(name="cell", registry=registry)


async def test_each_command_works(need: Callable[[str], str]) -> None:
    need("curl")
    app = make()
    outputs = []
    async with serving(app) as url, httpx.AsyncClient() as http, asyncio.timeout(PATIENCE):
        page = (await http.get(url)).text
        for command in re.findall("<code>((?:curl|printf)[^<]*/rpc/vention[^<]*)</code>", page):
            process = await asyncio.create_subprocess_shell(html.unescape(command), stdout=asyncio.subprocess.PIPE)
            assert process.stdout is not None
            begin = await process.stdout.readexactly(17)
            app.end_streams()  # else the last command would go on
            outputs.append(begin + await process.stdout.read())
            await process.wait()
    everything, ping, ticks = outputs
    assert json.loads(everything)["tool"] == "TOOL_MILL"
    assert json.loads(ping) == {"result": "pong"}
    assert ticks.startswith(b'\0\0\0\0\x0c{"result":7}')
