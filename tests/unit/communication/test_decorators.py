"""Decorated functions and what an app takes from them."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Any, Optional

import pytest
from pydantic import BaseModel, ValidationError
from sqlmodel import Field, Session, SQLModel, create_engine

from communication.decorators import Registry, action, default_registry, stream
from communication.errors import ContractError
from communication.streams import Channel


class Move(BaseModel):
    axis: str
    distance: float = 0.0


@dataclasses.dataclass
class Position:
    axis: str
    targets: list[float]


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def published(registry: Registry) -> Any:
    """What a new subscriber of the registry's only stream gets."""
    (entry,) = registry.bundle().streams
    with entry.channel.subscribe() as subscription:
        return await asyncio.wait_for(anext(subscription), 5)


def test_an_action_keeps_its_function(registry: Registry) -> None:
    def double(number: int) -> int:
        return 2 * number

    assert registry.action()(double) is double


def test_an_action_gets_name_and_types_from_its_function(registry: Registry) -> None:
    @registry.action()
    def move(request: Move) -> bool:
        return bool(request)

    (entry,) = registry.bundle().actions
    assert (entry.name, entry.func, entry.input_type, entry.output_type) == ("move", move, Move, bool)


def test_an_action_without_argument_and_result_has_no_types(registry: Registry) -> None:
    @registry.action(name="stop_all")
    async def stop() -> None: ...

    (entry,) = registry.bundle().actions
    assert (entry.name, entry.input_type, entry.output_type) == ("stop_all", None, None)


def test_an_optional_result_stays_optional(registry: Registry) -> None:
    @registry.action()
    def find() -> Optional[Move]:  # noqa: UP045 # the older spelling must work
        return None

    assert registry.bundle().actions[0].output_type == Optional[Move]  # noqa: UP045


def two(axis: str, distance: float) -> None: ...


def keyword(*, axis: str) -> None: ...


def several(*axes: str) -> None: ...


def untyped(axis) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001


def silent(axis: str): ...  # type: ignore[no-untyped-def] # noqa: ANN201


def unknown(axis: NoSuchType) -> None: ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("func", "text"),
    [
        (two, r"two takes 2 arguments; .*one pydantic model"),
        (keyword, "keyword takes no plain argument"),
        (several, "several takes no plain argument"),
        (untyped, "argument axis of .*untyped has no type; annotate it"),
        (silent, "silent does not say what it returns"),
        (unknown, "annotations of .*unknown cannot be resolved"),
    ],
)
def test_a_function_that_cannot_be_an_action_is_refused(
    registry: Registry, func: Callable[..., Any], text: str
) -> None:
    registry.action()(func)
    with pytest.raises(ContractError, match=text):
        registry.bundle()


def test_forgotten_parentheses_are_noticed(registry: Registry) -> None:
    decorate: Any = registry.action
    with pytest.raises(ContractError, match=r"write @action\(\)"):
        decorate(two)


def test_entries_come_in_the_order_of_declaration(registry: Registry) -> None:
    def define(name: str) -> None:
        def func() -> None: ...

        func.__qualname__ = name
        registry.action(name)(func)

    for name in ("c", "a", "b"):
        define(name)
    assert [entry.name for entry in registry.bundle().actions] == ["c", "a", "b"]


def test_a_function_defined_again_replaces_itself(registry: Registry) -> None:
    def define(answer: int) -> Callable[[], int]:
        @registry.action()
        def ask() -> int:
            return answer

        return ask

    define(1)
    second = define(2)
    assert [entry.func for entry in registry.bundle().actions] == [second]


def test_a_loop_may_declare_one_function_under_several_names(registry: Registry) -> None:
    for axis in (1, 2):

        @registry.action(f"HomeAxis{axis}")
        def home() -> None: ...

        @registry.stream(f"WatchAxis{axis}", payload=int)
        def watch() -> int:
            return 0

    bundle = registry.bundle()
    assert [entry.name for entry in bundle.actions] == ["HomeAxis1", "HomeAxis2"]
    assert [entry.name for entry in bundle.streams] == ["WatchAxis1", "WatchAxis2"]


def test_what_is_no_function_is_refused(registry: Registry) -> None:
    with pytest.raises(ContractError, match="decorate a plain def"):
        registry.action("Sort")(functools.partial(sorted, []))


@pytest.mark.usefixtures("fresh_declarations")
def test_the_module_level_decorators_note_in_the_default_registry() -> None:
    @action()
    def ping() -> str:
        return "pong"

    @stream("ticks", payload=int)
    def tick(number: int) -> int:
        return number

    bundle = default_registry.bundle()
    assert [entry.func for entry in bundle.actions] == [ping]
    assert [entry.name for entry in bundle.streams] == ["ticks"]
    assert tick(1) == 1


async def test_calling_a_stream_publishes_and_returns_the_value(registry: Registry) -> None:
    @registry.stream("moves", payload=Move)
    def moved(axis: str) -> Move:
        return Move(axis=axis)

    assert moved("x") == Move(axis="x")
    assert await published(registry) == {"axis": "x", "distance": 0.0}


async def test_an_asynchronous_stream_publishes_too(registry: Registry) -> None:
    @registry.stream("ticks", payload=int)
    async def tick(number: int) -> int:
        return number

    assert inspect.iscoroutinefunction(tick)
    assert await tick(7) == 7
    assert await published(registry) == 7


async def test_a_dict_is_validated_against_the_payload(registry: Registry) -> None:
    @registry.stream("moves", payload=Move)
    def moved(values: dict[str, Any]) -> dict[str, Any]:
        return values

    assert moved({"axis": "x", "distance": "1.5"}) == {"axis": "x", "distance": "1.5"}
    assert await published(registry) == {"axis": "x", "distance": 1.5}
    with pytest.raises(ValidationError):
        moved({"distance": 1})


async def test_what_is_published_does_not_change_afterwards(registry: Registry) -> None:
    @registry.stream("positions", payload=Position)
    def at(position: Position) -> Position:
        return position

    position = Position("x", [1.0])
    assert at(position) is position
    position.targets.append(2.0)
    assert await published(registry) == Position("x", [1.0])


@pytest.mark.usefixtures("fresh_declarations")
async def test_a_record_of_a_table_is_published_without_its_session(registry: Registry) -> None:
    class Job(SQLModel, table=True):
        id: int | None = Field(default=None, primary_key=True)
        name: str
        started_at: datetime | None = None

    @registry.stream("jobs", payload=Job)
    def changed(job: Job) -> Job:
        return job

    engine = create_engine("sqlite://")
    SQLModel.metadata.create_all(engine, tables=[SQLModel.metadata.tables["job"]])
    with Session(engine) as session:
        job = Job(name="drill")
        session.add(job)
        session.flush()
        assert changed(job) is job
    engine.dispose()
    assert await published(registry) == {"id": 1, "name": "drill", "started_at": None}


def test_a_payload_that_cannot_be_validated_is_refused(registry: Registry) -> None:
    with pytest.raises(ContractError, match="payload of stream moves"):
        registry.stream("moves", payload=Channel)


def test_the_options_of_a_stream_reach_its_channel(registry: Registry) -> None:
    @registry.stream("moves", payload=Move, replay=False, queue_maxsize=3, policy="fifo")
    def moved() -> Move:
        return Move(axis="x")

    (entry,) = registry.bundle().streams
    assert entry.payload is Move

    async def main() -> list[Any]:
        moved()
        with entry.channel.subscribe() as subscription:
            for _ in range(3):
                moved()
            first = [await anext(subscription) for _ in range(3)]
            for _ in range(4):
                moved()
            assert entry.channel.subscribers == 0
            return first

    assert len(asyncio.run(main())) == 3
