"""Names that mean something to SQL, and clocks that are not in UTC: the same on both databases."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from storage.accessor import ModelAccessor
from storage.database import get_engine, set_database_url
from storage.errors import ConstraintViolation, DuplicateRecord, RecordLimitReached
from storage.schema.tables import create, prepare
from storage.trail import read_trail
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import import_archive
from tests.integration.storage.limits import limited
from tests.postgresql import PostgreSQL


class Base(SQLModel, registry=registry()):
    """Root of the models of this module."""


class Order(Base, table=True):
    """Every name has to be quoted."""

    __tablename__ = "Order"
    __table_args__ = (
        sa.UniqueConstraint("group", "plcID", name="Unique Group"),
        sa.CheckConstraint('"select" >= 0', name="Not Negative"),
    )

    user: int | None = Field(default=None, primary_key=True)
    group: str
    plcID: str = ""  # noqa: N815 - as the PLC calls it
    select: int = 0
    when: datetime | None = Field(default=None, sa_column_kwargs={"name": 'the "When", %s :x'})
    deleted_at: datetime | None = None


@pytest.fixture
def orders(engine: Engine) -> ModelAccessor[Order]:
    prepare(Base.metadata)
    create(engine, Base.metadata)
    return ModelAccessor(Order, "orders")


def test_names_that_have_to_be_quoted(orders: ModelAccessor[Order]) -> None:
    first = orders.insert(Order(group="a", plcID="1", when=datetime(2024, 1, 1, tzinfo=UTC)))
    many = orders.insert_many([Order(group="b"), Order(group="c", user=7)])
    assert [first.user, *(order.user for order in many)] == [1, 8, 7]
    assert orders.insert(Order(group="d")).user == 9

    with pytest.raises(DuplicateRecord) as caught:
        orders.insert(Order(group="a", plcID="1"))
    assert caught.value.columns == ("group", "plcID")
    with pytest.raises(DuplicateRecord) as caught:
        orders.insert(Order(user=7, group="x"))
    assert caught.value.columns == ("user",)
    with pytest.raises(ConstraintViolation):
        orders.insert(Order(group="x", select=-1))

    first.plcID = "2"
    assert orders.save(first).plcID == "2"
    assert orders.delete(7)
    assert orders.restore(7)
    with pytest.raises(RecordLimitReached), limited(orders, 4):
        orders.insert(Order(group="e"))
    assert [order.user for order in orders.page(size=2, after=1)] == [7, 8]
    assert len(read_trail(component="orders")) == 7


def test_names_that_have_to_be_quoted_survive_export_and_import(orders: ModelAccessor[Order]) -> None:
    orders.insert_many([Order(group="a", when=datetime(2024, 1, 1, tzinfo=UTC)), Order(group="b")])
    archive = io.BytesIO()
    export_archive(archive, [orders])
    before = [order.model_dump() for order in orders.all()]
    orders.update(1, {"group": "z"})
    assert import_archive(archive, [orders], mode="replace").ok
    assert [order.model_dump() for order in orders.all()] == before


@pytest.fixture
def url_of_kathmandu(url: str, postgresql_server: PostgreSQL) -> Iterator[str]:
    """The database of a server, a user and a session whose clocks show something else than UTC."""
    database = make_url(url).database
    postgresql_server.execute(f"ALTER DATABASE {database} SET timezone = 'Asia/Kathmandu'")
    options = {"options": "-c timezone=America/St_Johns"}
    yield make_url(url).update_query_dict(options).render_as_string(hide_password=False)
    postgresql_server.execute(f"ALTER DATABASE {database} RESET timezone")


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_server_whose_clock_is_not_in_utc(
    orders: ModelAccessor[Order], url_of_kathmandu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "Pacific/Auckland")
    set_database_url(url_of_kathmandu)
    moments = [
        datetime(2024, 3, 31, 1, 30, tzinfo=UTC),
        datetime(2024, 10, 27, 2, 30, tzinfo=timezone(timedelta(hours=1))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ]
    began = datetime.now(UTC)
    made = [orders.insert(Order(group=str(number), when=moment)) for number, moment in enumerate(moments)]
    orders.delete(made[0].user)

    stored = orders.all(include_deleted=True)
    assert [order.when for order in stored] == moments
    assert {order.when.utcoffset() for order in stored if order.when} == {timedelta(0)}
    entries = read_trail(component="orders", since=began, until=datetime.now(UTC))
    assert len(entries) == 5
    deleted_at = stored[0].deleted_at
    assert deleted_at is not None
    assert began <= deleted_at <= datetime.now(UTC)
    with get_engine().connect() as connection:
        assert connection.exec_driver_sql("SHOW timezone").scalar() == "UTC"
