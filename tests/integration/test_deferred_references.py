"""A reference that is checked at the commit only: whoever breaks it is told, and nobody else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from storage.accessor import ModelAccessor
from storage.bootstrap import bootstrap
from storage.database import current_database, get_engine, set_database_url
from storage.errors import ForeignKeyViolation
from storage.group_commit import GroupCommit
from storage.schema.tables import create

PATIENCE = 20.0


class Base(SQLModel, registry=registry()):
    """Root of the one model, so that no other test has to make its table."""


class Node(Base, table=True):
    __tablename__ = "deferred_node"

    id: int | None = Field(default=None, primary_key=True)
    name: str
    next_id: int | None = Field(
        default=None, sa_column=sa.Column(sa.ForeignKey("deferred_node.id", deferrable=True, initially="DEFERRED"))
    )


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[ModelAccessor[Node]]:
    bootstrap(database_url=f"sqlite:///{tmp_path}/nodes.db")
    create(get_engine(), Node.metadata)
    yield ModelAccessor(Node, "nodes")
    set_database_url("sqlite://")


def queued(commits: GroupCommit, count: int) -> None:
    """Wait until so many writes stand in line."""
    settled = threading.Event()
    for _ in range(int(PATIENCE * 1000)):
        if len(commits._queue) >= count:
            return
        settled.wait(0.001)
    pytest.fail(f"{len(commits._queue)} of {count} writes came")


def test_only_who_breaks_a_deferred_reference_is_told(nodes: ModelAccessor[Node]) -> None:
    entered, go_on = threading.Event(), threading.Event()

    @nodes.before_insert()
    def hold(_session: Any, instance: Node) -> None:
        if instance.name == "first":
            entered.set()
            assert go_on.wait(PATIENCE)

    commits = current_database().commits
    assert commits is not None
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(nodes.insert, Node(name="first"))
        assert entered.wait(PATIENCE)
        good = [pool.submit(nodes.insert, Node(name=name)) for name in ("a", "b")]
        bad = pool.submit(nodes.insert, Node(name="bad", next_id=99))
        queued(commits, 3)
        go_on.set()
        assert [future.result(PATIENCE).name for future in (first, *good)] == ["first", "a", "b"]
        with pytest.raises(ForeignKeyViolation):
            bad.result(PATIENCE)
    assert {node.name for node in nodes.all()} == {"first", "a", "b"}
