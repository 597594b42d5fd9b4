"""Models on their way to the wire: names that are awkward, names that meet, bundles that come twice."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel, RootModel
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from communication.app import VentionApp
from communication.client import ConnectClient
from communication.decorators import Registry
from communication.errors import ContractError
from storage.accessor import ModelAccessor
from storage.errors import ConfigurationError
from storage.vention_communication import build_storage_bundle, build_storage_rpc_bundle
from tests.integration.storage_rpc.cell import app_of, open_database, served
from tests.integration.storage_rpc.models import Formula, Person


class Base(SQLModel, registry=registry()):
    """Keeps the tables of this module to themselves."""


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what SQLModel says of the names, once

    class Awkward(Base, table=True):
        """Names that mean something to Python, to pydantic, to protobuf or to this project."""

        id: int | None = Field(default=None, primary_key=True)
        axis_1: int | None = None
        plcID: str | None = None  # noqa: N815 - as the PLC calls it
        class_: str | None = None
        ends__: str | None = None
        X: int | None = None
        json: str | None = None  # type: ignore[assignment]
        copy: str | None = None  # type: ignore[assignment]
        schema: str | None = None  # type: ignore[assignment]
        validate: str | None = None  # type: ignore[assignment]
        construct: str | None = None  # type: ignore[assignment]
        model_name: str | None = None
        record: str | None = None
        record_id: int | None = None
        actor: str | None = None
        update_mask: str | None = None
        include_deleted: bool | None = None
        message: str | None = None
        optional: str | None = None
        order: int | None = None
        self: str | None = None
        None_: str | None = None
        items: str | None = None
        keys: str | None = None
        name: str | None = None
        ListFields: str | None = None
        DESCRIPTOR: str | None = None
        select: str | None = None
        vention_storage: str | None = None


class Vector(RootModel[list[float]]):
    """A model that is no message: a list at its root."""


class Rooted(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    vector: Vector | None = Field(default=None, sa_type=sa.JSON)


class Spot(BaseModel):
    x: float


class Spotted(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    spots: list[Spot] = Field(default_factory=list, sa_type=sa.JSON)
    by_name: dict[str, Spot] = Field(default_factory=dict, sa_type=sa.JSON)


class Meeting(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    axis_1: int = 0
    axis1: int = 0


class Unspeakable(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    größe: int = 0  # noqa: PLC2401 - which is the point


def twin() -> type[SQLModel]:
    class Person(Base, table=True):
        __tablename__ = "twin"
        id: int | None = Field(default=None, primary_key=True)

    return Person


Twin = twin()


@pytest.fixture
def opened(url: str) -> None:
    open_database(url)
    open_database(url, Base)


AWKWARD = {
    name: {"int": number, "bool": True}.get(str(field.annotation).split(" ")[0], f"v{number}")
    for number, (name, field) in enumerate(Awkward.model_fields.items(), start=1)
    if name != "id"
}


async def test_every_column_name_goes_round(opened: None) -> None:
    app = app_of(ModelAccessor(Awkward, "awkward"))
    async with served(app) as (base_url, call):
        created = (await call("AwkwardCreateRecord", {"record": AWKWARD})).record
        assert set(created.values()) == {1, *AWKWARD.values()}
        assert {"axis1", "plcID", "class", "recordId", "X"} <= set(created)
        assert (await call("AwkwardGetRecord", {"recordId": 1})).record == created
        # What came out can go in again, in JSON's spelling.
        changed = (await call("AwkwardUpdateRecord", {"recordId": 1, "record": {**created, "json": "new"}})).record
        assert changed == {**created, "json": "new"}
        for mask in (list(AWKWARD), list(created)):
            again = await call("AwkwardUpdateRecord", {"recordId": 1, "record": created, "updateMask": mask})
            assert again.record == created
        proto = call.message("AwkwardCreateRecordRequest", record=call.message("Awkward", **AWKWARD))
        answer = await call.proto("AwkwardCreateRecord", proto)
        assert {field.name: value for field, value in type(answer.record).ListFields(answer.record)} == {
            "id": 2,
            **AWKWARD,
        }
        async with ConnectClient(base_url) as client:
            record = (await client.call("AwkwardCreateRecord", {"record": AWKWARD})).record
            assert vars(record) == {"id": 3, **AWKWARD}


async def test_a_violation_of_a_column_that_is_called_actor_is_the_records(opened: None) -> None:
    async with served(app_of(ModelAccessor(Awkward, "awkward"))) as (_, call):
        answer = await call("AwkwardCreateRecord", {"record": {"actor": "a\0b"}})
        assert list(answer.violations) == ["record.actor"]
        answer = await call("AwkwardCreateRecord", {"record": {}, "actor": "a\0b"})
        assert list(answer.violations) == ["actor"]


async def test_typed_json_that_is_no_message_goes_as_json(opened: None) -> None:
    app = app_of(ModelAccessor(Rooted, "rooted"), ModelAccessor(Spotted, "spotted"))
    async with served(app) as (_, call):
        assert (await call("RootedCreateRecord", {"record": {"vector": [1, 2.5]}})).record["vector"] == [1.0, 2.5]
        assert (await call("RootedCreateRecord", {"record": {"vector": "x"}})).error == (400, "invalid_argument")
        spots = {"spots": [{"x": 1.0}], "byName": {"home": {"x": 2.0}}}
        assert (await call("SpottedCreateRecord", {"record": spots})).record == {"id": 1, **spots}
        refused = await call("SpottedCreateRecord", {"record": {"spots": [{"x": "far"}]}})
        assert list(refused.violations) == ["record.spots[0].x"]


@pytest.mark.parametrize(
    ("accessors", "named"),
    [
        (lambda: [ModelAccessor(Meeting, "meeting")], "axis1"),
        (lambda: [ModelAccessor(Unspeakable, "unspeakable")], "größe"),
        (lambda: [ModelAccessor(Person, "people"), ModelAccessor(Twin, "twins")], "Person"),
        (lambda: [ModelAccessor(Person, "pick_place"), ModelAccessor(Formula, "pickPlace")], "PickPlace"),
        (lambda: [ModelAccessor(Person, "people"), ModelAccessor(Formula, "people")], "People"),
        (lambda: [ModelAccessor(Person, "people"), ModelAccessor(Person, "people")], "People"),
        (lambda: [ModelAccessor(Person, "1st")], "1st"),
        (lambda: [ModelAccessor(Person, "größe")], "größe"),
        (lambda: [ModelAccessor(Person, "---")], "---"),
    ],
)
def test_what_cannot_go_on_the_wire_is_refused_when_the_app_is_built(
    accessors: Callable[[], list[ModelAccessor[Any]]], named: str
) -> None:
    with pytest.raises(ContractError, match=f"(?i){named}"):
        app_of(*accessors())


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_records_per_model is -1"):
        build_storage_bundle(accessors=[], max_records_per_model=-1)


async def test_a_bundle_that_comes_twice_changes_nothing(opened: None) -> None:
    accessor = ModelAccessor(Person, "people")
    app = VentionApp(name="cell", registry=Registry())
    bundle = build_storage_bundle(accessors=[accessor], max_records_per_model=3)
    app.add_bundle(bundle)
    app.add_bundle(bundle)
    app.register_rpc_plugin(build_storage_rpc_bundle(accessors=[accessor], max_records_per_model=3))
    app.finalize()
    contract = app.contract.proto_text
    app.add_bundle(bundle)
    app.add_bundle(build_storage_bundle(accessors=[accessor], max_records_per_model=3))
    app.finalize()
    assert app.contract.proto_text == contract
    async with served(app) as (_, call):
        assert (await call("PeopleCreateRecord", {"record": {"name": "Ada"}})).status == 200


def test_another_entry_under_the_same_name_is_refused_after_finalize_too() -> None:
    accessor = ModelAccessor(Person, "people")
    app = app_of(accessor, limit=3)
    contract = app.contract.proto_text
    for other in (
        build_storage_bundle(accessors=[accessor], max_records_per_model=4),
        build_storage_bundle(accessors=[ModelAccessor(Person, "people")], max_records_per_model=3),
    ):
        with pytest.raises(ContractError, match=r"People(Create|List)Record"):
            app.add_bundle(other)
    assert app.contract.proto_text == contract


async def test_a_bundle_that_is_added_while_the_app_is_served_is_answered_at_once(opened: None) -> None:
    app = app_of(ModelAccessor(Person, "people"))
    async with served(app) as (base_url, call), ConnectClient(base_url) as client:
        await client.call("PeopleListRecords")
        assert (await call("FormulasListRecords")).error == (501, "unimplemented")
        app.add_bundle(build_storage_bundle(accessors=[ModelAccessor(Formula, "formulas")]))
        assert (await call("FormulasListRecords")).status == 200
        assert (await client.call("FormulasListRecords")).records == []
