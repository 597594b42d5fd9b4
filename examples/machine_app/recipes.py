"""Recipes: how the boxes of a product go onto a pallet."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel
from pydantic import Field as JsonField
from sqlmodel import JSON, Field, Session, SQLModel

from storage.accessor import ModelAccessor

MAX_PALLET_MASS_KG = 1000.0
"""What the lift under the pallet carries."""


class Layer(BaseModel):
    """One layer of boxes."""

    columns: int = JsonField(ge=1, examples=[4])
    rows: int = JsonField(ge=1, examples=[3])
    rotated: bool = False


class Pattern(BaseModel):
    """How the boxes stand; kept as JSON in one column, and a message of its own on the wire."""

    box_length_mm: int = JsonField(ge=50, le=800, examples=[300])
    box_width_mm: int = JsonField(ge=50, le=600, examples=[200])
    box_height_mm: int = JsonField(ge=20, le=600, examples=[150])
    layers: list[Layer] = JsonField(min_length=1)

    @property
    def boxes(self) -> int:
        """How many boxes stand on a full pallet."""
        return sum(layer.columns * layer.rows for layer in self.layers)


class Recipe(SQLModel, table=True):
    """What the cell must know to palletize a product."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True, max_length=80, schema_extra={"examples": ["Oat bars, 12 a box"]})
    box_mass_kg: float = Field(gt=0, schema_extra={"examples": [4.2]})
    cycle_time: timedelta = timedelta(seconds=6)
    pattern: Pattern = Field(sa_type=JSON)
    deleted_at: datetime | None = Field(default=None, index=True)


recipes = ModelAccessor(Recipe, "recipes")


@recipes.before_insert()
@recipes.before_update()
def refuse_overload(_session: Session, recipe: Recipe) -> None:
    """Refuse a pallet that the lift cannot carry."""
    mass = recipe.box_mass_kg * recipe.pattern.boxes
    if mass > MAX_PALLET_MASS_KG:
        raise ValueError(f"a full pallet would weigh {mass:.0f} kg, and the lift carries {MAX_PALLET_MASS_KG:.0f} kg")
