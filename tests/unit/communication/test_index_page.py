from __future__ import annotations

import re
import shlex
import subprocess
from decimal import Decimal
from enum import Enum
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from pydantic import BaseModel, Field

from communication.contract.contract import Contract
from communication.entries import ActionEntry, StreamEntry
from communication.index_page import index_page
from communication.streams import Channel

BASE = "http://cell.local:8000"


class Gear(Enum):
    low = "low"
    high = "high"


class Axis(BaseModel):
    axis_name: str = Field(examples=["operator's <axis>"])
    gear: Gear = Gear.low


class Move(BaseModel):
    axis: Axis


def move(request: Move) -> int:
    return len(request.axis.axis_name)


def everything() -> Contract:
    actions = [ActionEntry("move", move, Move, int), ActionEntry("ListAll", list, None, list[Axis])]
    return Contract.build("cell", actions, [StreamEntry("WatchAxis", Channel(), Axis)])


class Outline(HTMLParser):
    """The ids, links and attributes of a page; fails where tags are not closed in order."""

    VOID = ("meta", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.sources: list[Any] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                assert value not in self.ids
                self.ids.add(value or "")
            if name == "href":
                self.links.append(value or "")
            if name == "src":
                self.sources.append(value)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def page() -> str:
    return index_page("Cell <1>", everything(), BASE)


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    assert outline.sources == []
    outside = [link for link in outline.links if not link.startswith("#")]
    assert outside == [f"{BASE}/rpc/app.proto", f"{BASE}/rpc/app.binpb"]
    assert "Cell &lt;1&gt;" in page


def test_links_within_the_page_lead_somewhere(page: str) -> None:
    outline = Outline(page)
    inside = {link.removeprefix("#") for link in outline.links if link.startswith("#")}
    assert {"Axis", "Gear"} <= inside <= outline.ids


def test_every_rpc_shows_its_fields_those_of_the_messages_in_it_too(page: str) -> None:
    section = page[page.index('<details open id="move">') : page.index('<details id="ListAll">')]
    assert re.findall(r"<li><code>(\w+)</code>", section) == ["axis", "axisName", "gear", "result"]
    assert Outline(page).ids >= {"move", "ListAll", "WatchAxis"}


def test_a_string_that_is_more_than_text_says_so() -> None:
    page = index_page("Cell", Contract.build("cell", [ActionEntry("pay", repr, Decimal)]), BASE)
    assert "<small>string (decimal)" in page


def test_an_enum_shows_its_labels(page: str) -> None:
    assert re.findall(r"<li><code>(GEAR_\w+)", page) == ["GEAR_LOW", "GEAR_HIGH"]


def commands(page: str) -> list[str]:
    blocks = re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)
    return [unescape(block) for block in blocks if "curl -s" in block and "npm" not in block]


def test_a_shell_reads_the_commands_as_they_are_meant(page: str) -> None:
    unary, _, stream = commands(page)
    arguments = shlex.split(unary.replace("\\\n", ""))
    assert arguments[2] == f"{BASE}/rpc/vention.app.v1.CellService/move"
    assert arguments[-1] == '{"axis": {"axisName": "operator\'s <axis>"}}'
    envelope = subprocess.run(["sh", "-c", stream.partition("|")[0]], capture_output=True, check=True).stdout
    assert envelope == b"\0\0\0\0\2{}"


def test_the_clients_call_what_needs_no_request(page: str) -> None:
    assert "await client.call(&quot;ListAll&quot;, {})" in page
    assert "client.listAll({})" in page


def test_an_app_of_streams_shows_a_stream() -> None:
    page = index_page("Cell", Contract.build("cell", [], [StreamEntry("WatchAxis", Channel(), Axis)]), BASE)
    assert "client.stream(&quot;WatchAxis&quot;)" in page
    assert "client.watchAxis({})" in page


def test_an_app_without_rpcs_has_a_page() -> None:
    assert Outline(index_page("Cell", Contract.build("cell", []), BASE)).open == []
