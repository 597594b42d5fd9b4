"""PostgreSQL goes away: what is told is true, nothing acknowledged is lost, and the next call goes on by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlmodel import select

from storage.accessor import ModelAccessor
from storage.database import after_commit, get_engine, set_database_url, transaction, use_session
from storage.errors import CommitUncertain, DatabaseBusy, DatabaseUnavailable
from tests.integration.storage.conftest import Audit, make_tables
from tests.integration.storage.models import Bin, Recipe
from tests.integration.storage.wire import Wire
from tests.postgresql import PostgreSQL

Codes = Callable[[], list[str]]


@pytest.fixture
def url(postgresql_database: str) -> str:
    return make_url(postgresql_database).update_query_dict({"application_name": "tested"}).render_as_string(False)


@pytest.fixture
def codes(bins: ModelAccessor[Bin]) -> Codes:
    return lambda: [found.code for found in bins.all()]


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    """The wire on which storage speaks with its server."""
    server = make_url(url)
    with tempfile.TemporaryDirectory() as folder:  # whose path is short enough for a socket
        wire = Wire(Path(folder), Path(str(server.query["host"])))
        set_database_url(server.update_query_dict({"host": folder}).render_as_string(False))
        yield wire
        set_database_url(url)
        wire.close()


def test_connections_that_were_ended_while_idle_are_replaced(
    postgresql_server: PostgreSQL, bins: ModelAccessor[Bin], codes: Codes
) -> None:
    calls: list[Callable[[], Any]] = [codes, lambda: bins.get(1), lambda: bins.insert(Bin(code="A2"))]
    bins.insert(Bin(code="A1"))
    for call in calls:
        postgresql_server.end_connections()
        assert call()
    postgresql_server.end_connections()
    with transaction() as session:
        session.add(Bin(code="A3"))
    assert codes() == ["A1", "A2", "A3"]


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_a_read_that_is_cut_off_is_done_again(cut: str, bins: ModelAccessor[Bin], codes: Codes, wire: Wire) -> None:
    bins.insert(Bin(code="A1"))
    for read in (codes, lambda: bins.get(1)):
        getattr(wire, cut)(b"SELECT")
        assert read()
    assert wire.cuts == 2


def test_a_read_that_is_cut_off_inside_a_transaction_ends_it(
    bins: ModelAccessor[Bin], codes: Codes, wire: Wire
) -> None:
    with pytest.raises(DatabaseUnavailable), transaction():
        bins.insert(Bin(code="A1"))
        wire.cut_before(b"SELECT")
        codes()
    assert codes() == []


def test_a_connection_that_is_lost_in_a_transaction(
    postgresql_server: PostgreSQL, bins: ModelAccessor[Bin], codes: Codes, audit: Audit
) -> None:
    told: list[str] = []
    first, second = Bin(code="A1"), Bin(code="A2")
    with pytest.raises(DatabaseUnavailable), transaction():
        bins.insert(first)
        after_commit(lambda: told.append("A1"))
        postgresql_server.end_connections()
        bins.insert(second)

    assert (first.id, second.id, told) == (None, None, [])
    assert codes() == []
    assert bins.insert(first).id is not None
    assert len(audit()) == 1


def test_a_transaction_that_hides_the_loss_is_not_acknowledged(
    postgresql_server: PostgreSQL, bins: ModelAccessor[Bin], codes: Codes
) -> None:
    for open_ in (transaction, use_session):
        with pytest.raises(DatabaseUnavailable), open_():
            bins.insert(Bin(code="A1"))
            postgresql_server.end_connections()
            for call in (codes, lambda: bins.insert(Bin(code="A2")), lambda: bins.delete(1)):
                with pytest.raises(DatabaseUnavailable):
                    call()
        assert codes() == []


def test_a_connection_that_is_lost_just_before_the_commit(
    postgresql_server: PostgreSQL, bins: ModelAccessor[Bin], codes: Codes
) -> None:
    for open_ in (transaction, use_session):
        with pytest.raises(DatabaseUnavailable), open_() as session:
            bins.insert(Bin(code="A1"))
            session.add(Bin(code="A2"))
            session.flush()
            postgresql_server.end_connections()
        assert codes() == []


@pytest.mark.parametrize("hook", ["before_insert", "after_insert"])
def test_a_connection_that_is_lost_between_the_statements_of_a_write(
    hook: str, postgresql_server: PostgreSQL, bins: ModelAccessor[Bin], codes: Codes, audit: Audit
) -> None:
    losing = True

    @getattr(bins, hook)()  # type: ignore[untyped-decorator]
    def lose(session: Any, instance: Bin) -> None:
        if losing:
            postgresql_server.end_connections()

    new = Bin(code="A1")
    with pytest.raises(DatabaseUnavailable):
        bins.insert(new)
    assert new.id is None

    losing = False
    assert codes() == []
    bins.insert(new)
    assert len(audit()) == 1


@pytest.mark.parametrize(("cut", "stored"), [("cut_before", []), ("cut_after", ["A1"])])
@pytest.mark.parametrize("way", ["accessor", "transaction", "use_session"])
def test_a_commit_that_nobody_answers_is_told_as_such(
    *, cut: str, stored: list[str], way: str, bins: ModelAccessor[Bin], codes: Codes, audit: Audit, wire: Wire
) -> None:
    told: list[str] = []

    @bins.after_insert()
    def note(session: Any, instance: Bin) -> None:
        after_commit(lambda: told.append(instance.code))

    bins.all()
    getattr(wire, cut)(b"COMMIT")
    with pytest.raises(CommitUncertain, match="read it again"):
        match way:
            case "accessor":
                bins.insert(Bin(code="A1"))
            case "transaction":
                with transaction():
                    bins.insert(Bin(code="A1"))
            case _:
                with use_session():
                    bins.insert(Bin(code="A1"))

    assert wire.cuts == 1
    assert told == []
    assert codes() == stored
    assert len(audit()) == len(stored)
    assert bins.insert(Bin(code="A2")).id is not None


@pytest.mark.usefixtures("postgresql_server")  # which skips it where there is none
def test_a_server_that_is_stopped_and_started_again(
    tmp_path_factory: pytest.TempPathFactory, bins: ModelAccessor[Bin], codes: Codes, url: str
) -> None:
    server = PostgreSQL(tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("run"))
    set_database_url(server.url)
    make_tables(get_engine())
    bins.insert(Bin(code="A1"))
    calls: list[Callable[[], Any]] = [codes, lambda: bins.insert(Bin(code="A2")), lambda: bins.delete(1)]
    server.stop()
    for call in calls:
        with pytest.raises(DatabaseUnavailable, match="server") as caught:
            call()
        assert not isinstance(caught.value, DatabaseBusy)
    with pytest.raises(DatabaseUnavailable), transaction():
        pytest.fail("there is none")

    server.start()
    assert codes() == ["A1"]
    bins.insert(Bin(code="A2"))
    assert codes() == ["A1", "A2"]
    set_database_url(url)
    server.close()


def test_what_was_written_after_a_hidden_error_is_not_acknowledged(
    bins: ModelAccessor[Bin], recipes: ModelAccessor[Recipe]
) -> None:
    """PostgreSQL answers the COMMIT of a transaction that has failed with no error, and rolls it back."""

    @recipes.after_insert()
    def hide(session: Any, instance: Recipe) -> None:
        with suppress(Exception):
            session.connection().exec_driver_sql("SELECT 1 / 0")

    with pytest.raises(DatabaseUnavailable, match="rolled the transaction back"):
        recipes.insert(Recipe(name="a"))
    for open_ in (transaction, use_session):
        with pytest.raises(DatabaseUnavailable, match="rolled the transaction back"), open_() as session:
            bins.insert(Bin(code="A1"))
            with suppress(Exception):
                session.connection().exec_driver_sql("SELECT 1 / 0")

    assert (recipes.all(), bins.all()) == ([], [])


def test_what_fails_in_a_transaction_of_its_own_is_undone_alone(bins: ModelAccessor[Bin]) -> None:
    with transaction() as session:
        bins.insert(Bin(code="A1"))
        with suppress(Exception), transaction():
            session.connection().exec_driver_sql("SELECT 1 / 0")
        assert len(session.exec(select(Bin)).all()) == 1

    assert len(bins.all()) == 1


def test_a_network_that_falls_silent_is_noticed(url: str, bins: ModelAccessor[Bin]) -> None:
    with get_engine().connect() as connection:
        given = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    assert (given["keepalives_idle"], given["tcp_user_timeout"], given["connect_timeout"]) == ("10", "30000", "10")


def test_options_of_the_url_count(url: str, bins: ModelAccessor[Bin]) -> None:
    options = {"options": "-c statement_timeout=12345", "connect_timeout": "7"}
    set_database_url(make_url(url).update_query_dict(options).render_as_string(False))
    with get_engine().connect() as connection:
        settings = ("statement_timeout", "lock_timeout", "timezone")
        shown = [connection.exec_driver_sql(f"SHOW {setting}").scalar() for setting in settings]
        given = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    assert shown == ["12345ms", "5s", "UTC"]
    assert given["connect_timeout"] == "7"
