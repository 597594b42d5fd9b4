"""A contract with one field of every kind, in every cardinality."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from communication.contract.contract import Contract
from communication.contract.lock import Lock
from communication.contract.markers import FieldPaths, Int64
from communication.entries import ActionEntry, StreamEntry
from communication.streams import Channel


class JobState(Enum):
    idle = "idle"
    running = "running"


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Everything(BaseModel):
    flag: bool
    small: int
    big: Int64
    ratio: float
    text: str
    data: bytes
    moment: datetime
    span: timedelta
    state: JobState
    node: Node
    free: Any
    price: Decimal
    key: UUID
    day: date
    clock: time
    maybe_flag: bool | None = None
    maybe_small: int | None = None
    maybe_big: Int64 | None = None
    maybe_ratio: float | None = None
    maybe_text: str | None = None
    maybe_data: bytes | None = None
    maybe_moment: datetime | None = None
    maybe_span: timedelta | None = None
    maybe_state: JobState | None = None
    maybe_node: Node | None = None
    maybe_free: dict[str, Any] | None = None
    maybe_price: Decimal | None = None
    maybe_key: UUID | None = None
    maybe_day: date | None = None
    maybe_clock: time | None = None
    flags: list[bool] = []
    smalls: list[int] = []
    bigs: list[Int64] = []
    ratios: list[float] = []
    texts: list[str] = []
    datas: list[bytes] = []
    moments: list[datetime] = []
    spans: list[timedelta] = []
    states: list[JobState] = []
    nodes: list[Node] = []
    frees: list[dict[str, Any]] = []
    prices: list[Decimal] = []
    keys: list[UUID] = []
    days: list[date] = []
    clocks: list[time] = []
    update_mask: FieldPaths = []


def save(record: Everything) -> Everything:
    return record


def ping() -> None:
    pass


def everything(lock: Lock | None = None) -> Contract:
    """A contract whose names are all as `buf lint` wants them."""
    actions = [ActionEntry("Save", save, Everything, Everything), ActionEntry("Ping", ping)]
    return Contract.build("my-app", actions, [StreamEntry("Watch", Channel(), Node)], lock)
