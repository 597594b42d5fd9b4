"""An app of accessors behind a real server, and callers of it: raw Connect in JSON and in protobuf."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from sqlalchemy import Connection, create_engine
from sqlmodel import Session, SQLModel, select

from communication.app import VentionApp
from communication.decorators import Registry
from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import get_engine, set_database_url
from storage.dialects.sqlite_driver import DRIVER
from storage.vention_communication import build_storage_bundle
from tests.integration.storage.conftest import make_tables
from tests.integration.storage_rpc.models import Base, Errand, Fixture, Formula, Meter, Person, Sample
from tests.serving import serving

SERVICE = "vention.app.v1.CellService"
PACKAGE = "vention.app.v1"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server said."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def record(self) -> Any:
        """The record of an answer that has one."""
        assert self.status == 200, self.body
        return self.body["record"]

    @property
    def error(self) -> tuple[int, str]:
        """The HTTP status and the code of an error."""
        return self.status, self.body["code"]

    @property
    def violations(self) -> dict[str, str]:
        """What google.rpc.BadRequest says of each field."""
        (detail,) = self.body.get("details", [{"type": "google.rpc.BadRequest", "value": ""}])
        assert detail["type"] == "google.rpc.BadRequest"
        data = base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4))
        return dict(_violations(data))


def _violations(data: bytes) -> Iterator[tuple[str, str]]:
    """Read BadRequest by hand: `repeated FieldViolation = 1`, of which 1 is the field and 2 the description."""
    for _, violation in _fields(data):
        texts = dict(_fields(violation))
        yield texts.get(1, b"").decode(), texts.get(2, b"").decode()


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        tag, data = _varint(data)
        length, data = _varint(data)
        yield tag >> 3, data[:length]
        data = data[length:]


def _varint(data: bytes) -> tuple[int, bytes]:
    value = shift = 0
    for used, byte in enumerate(data, start=1):
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, data[used:]
    raise AssertionError("a varint is cut off")


class Caller:
    """Calls RPCs as curl does, and with the message classes that any protobuf library makes of the contract."""

    def __init__(self, http: httpx.AsyncClient, descriptor_set: bytes) -> None:
        self.http = http
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
            self._pool.Add(file)

    async def post(self, rpc: str, body: bytes, codec: str = "json", **headers: str) -> httpx.Response:
        """Send these bytes."""
        sent = {"content-type": f"application/{codec}", **{key.replace("_", "-"): headers[key] for key in headers}}
        return await self.http.post(f"/rpc/{SERVICE}/{rpc}", content=body, headers=sent)

    async def __call__(self, rpc: str, body: Any = None, **headers: str) -> Answer:
        """Send a value, or text, as JSON."""
        content = body if isinstance(body, bytes) else httpx.Request("POST", "http://x", json=body or {}).content
        response = await self.post(rpc, content, **headers)
        return Answer(status=response.status_code, body=response.json(), headers=response.headers)

    def message(self, name: str, /, **fields: Any) -> Message:
        """Make a message of the contract."""
        made: Message = message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))(**fields)
        return made

    async def proto(self, rpc: str, request: Message | bytes) -> Any:
        """Send a message; gives the response's, or the error as an Answer."""
        body = request if isinstance(request, bytes) else request.SerializeToString()
        response = await self.post(rpc, body, "proto")
        if response.status_code != 200:
            return Answer(status=response.status_code, body=response.json(), headers=response.headers)
        return type(self.message(f"{rpc}Response")).FromString(response.content)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The app under test."""

    people: ModelAccessor[Person]
    errands: ModelAccessor[Errand]
    formulas: ModelAccessor[Formula]
    fixtures: ModelAccessor[Fixture]
    meters: ModelAccessor[Meter]
    samples: ModelAccessor[Sample]
    url: str
    call: Caller

    def trail(self, component: str) -> list[AuditLog]:
        """The audit trail of a component, oldest first."""
        return trail(component)


def trail(component: str) -> list[AuditLog]:
    """The audit trail of a component, oldest first."""
    with Session(get_engine()) as session:
        found = session.exec(select(AuditLog).where(AuditLog.component == component).order_by(AuditLog.id))  # type: ignore[arg-type]
        return list(found.all())


def open_database(url: str, base: type[SQLModel] = Base) -> None:
    """Make the tables of the models of a base, and the project's own."""
    set_database_url(url)
    make_tables(get_engine(), base.metadata)


def app_of(*accessors: ModelAccessor[Any], limit: int | None = None) -> VentionApp:
    """An app that serves these accessors."""
    app = VentionApp(name="cell", registry=Registry())
    app.add_bundle(build_storage_bundle(accessors=accessors, max_records_per_model=limit))
    app.finalize()
    return app


@asynccontextmanager
async def served(app: VentionApp) -> AsyncIterator[tuple[str, Caller]]:
    """Serve an app; gives its URL and a caller."""
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield url, Caller(http, (await http.get("/rpc/app.binpb")).content)


@asynccontextmanager
async def running_cell(database_url: str, limit: int | None = None) -> AsyncIterator[Cell]:
    """Serve every model of the tests."""
    open_database(database_url)
    people, errands = ModelAccessor(Person, "people"), ModelAccessor(Errand, "errands")
    formulas, fixtures = ModelAccessor(Formula, "formulas"), ModelAccessor(Fixture, "test_fixtures")
    meters, samples = ModelAccessor(Meter, "meters"), ModelAccessor(Sample, "samples")
    app = app_of(people, errands, formulas, fixtures, meters, samples, limit=limit)
    async with served(app) as (url, call):
        yield Cell(
            people=people,
            errands=errands,
            formulas=formulas,
            fixtures=fixtures,
            meters=meters,
            samples=samples,
            url=url,
            call=call,
        )


@contextmanager
def stranger(url: str) -> Iterator[Connection]:
    """A connection of another program's, in autocommit."""
    options = {"module": DRIVER} if url.startswith("sqlite") else {}
    engine = create_engine(url, isolation_level="AUTOCOMMIT", **options)
    with engine.connect() as connection:
        yield connection
    engine.dispose()
