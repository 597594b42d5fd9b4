"""What is served fits the wire: typed JSON is refused where its message cannot carry it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from communication.contract.markers import Int64
from storage.accessor import ModelAccessor
from storage.errors import RecordInvalid
from storage.rpc.entries import record_entries


class Base(SQLModel, registry=registry()):
    """Keeps the tables of these tests to themselves."""


class Wear(BaseModel):
    strokes: int = 0
    travel: Int64 = 0


class Cylinder(BaseModel):
    wear: Wear = Wear()
    older: list[Wear] = []
    last: int | None = None


class Press(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    cylinder: Cylinder | None = Field(default=None, sa_type=sa.JSON)
    history: list[Wear] | None = Field(default=None, sa_type=sa.JSON)  # any JSON on the wire


@pytest.fixture
def presses() -> ModelAccessor[Press]:
    accessor = ModelAccessor(Press, "presses")
    for _ in range(2):
        record_entries(accessor, None)
    return accessor


@pytest.mark.parametrize(
    ("cylinder", "path"),
    [
        (Cylinder(wear=Wear(strokes=2**31)), "cylinder.wear.strokes"),
        (Cylinder(older=[Wear(), Wear(strokes=-(2**31) - 1)]), "cylinder.older[1].strokes"),
        (Cylinder(last=2**40), "cylinder.last"),
    ],
)
def test_an_integer_of_more_than_32_bits_is_refused(
    presses: ModelAccessor[Press], cylinder: Cylinder, path: str
) -> None:
    with pytest.raises(RecordInvalid, match="between -2147483648 and 2147483647; an Int64") as caught:
        presses.codec.validate(Press(cylinder=cylinder))
    assert [problem.field for problem in caught.value.problems] == [path]


def test_what_the_wire_carries_passes(presses: ModelAccessor[Press]) -> None:
    wear = Wear(strokes=2**31 - 1, travel=2**53 - 1)
    press = Press(cylinder=Cylinder(wear=wear, older=[wear], last=-(2**31)), history=[Wear(strokes=2**40)])

    assert presses.codec.validate(press) == {"id": None, "cylinder": press.cylinder, "history": press.history}


def test_what_the_column_refuses_is_still_refused(presses: ModelAccessor[Press]) -> None:
    with pytest.raises(RecordInvalid, match="JSON readers"):
        presses.codec.validate(Press(cylinder=Cylinder(wear=Wear(travel=2**53))))


def test_a_model_that_is_not_served_has_no_wire_to_fit() -> None:
    class Lathe(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        cylinder: Cylinder | None = Field(default=None, sa_type=sa.JSON)

    lathe = Lathe(cylinder=Cylinder(last=2**40))
    assert ModelAccessor(Lathe, "lathes").codec.validate(lathe)["cylinder"] == lathe.cylinder
