"""Create, where making an instance of the model does something of its own."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import field_validator
from sqlalchemy.orm import registry, validates
from sqlmodel import Field, SQLModel

from storage.accessor import ModelAccessor
from tests.integration.storage_rpc.cell import app_of, open_database, served

looked_at: list[str] = []


class Base(SQLModel, registry=registry()):
    """Root of the models here."""


class Label(Base, table=True):
    """Makes its text of its name."""

    id: int | None = Field(default=None, primary_key=True)
    name: str
    text: str | None = None

    def __init__(self, **data: Any) -> None:
        super().__init__(**{"text": f"<{data.get('name')}>", **data})


class Shelf(Base, table=True):
    """Is looked at by SQLAlchemy's validators as well."""

    id: int | None = Field(default=None, primary_key=True)
    name: str

    @validates("name")
    def look(self, _key: str, name: str) -> str:
        """Note the name."""
        looked_at.append(name)
        return name


class Crate(Base, table=True):
    """Has defaults that are made, and validated, for each."""

    id: int | None = Field(default=None, primary_key=True)
    name: str
    layers: float = 3
    marks: str = Field(default_factory=lambda: "fresh")

    @field_validator("name")
    @classmethod
    def strip(cls, name: str) -> str:
        """Take off the spaces around it."""
        return name.strip()


@pytest.mark.parametrize("hooked", [False, True])
async def test_create_does_what_the_model_does(url: str, hooked: bool) -> None:
    looked_at.clear()
    open_database(url, Base)
    models: dict[str, type[Any]] = {"labels": Label, "shelves": Shelf, "crates": Crate}
    accessors: list[ModelAccessor[Any]] = [ModelAccessor(model, name) for name, model in models.items()]
    seen: list[Any] = []
    if hooked:
        for accessor in accessors:
            accessor.after_insert()(lambda _, instance: seen.append(instance.id))
    async with served(app_of(*accessors)) as (_, call):
        label = (await call("LabelsCreateRecord", {"record": {"name": "left"}})).record
        shelf = (await call("ShelvesCreateRecord", {"record": {"name": "left"}})).record
        crate = (await call("CratesCreateRecord", {"record": {"name": " left "}})).record
    assert label == {"id": 1, "name": "left", "text": "<left>"}
    assert shelf == {"id": 1, "name": "left"}
    assert looked_at == ["left"]
    assert crate == {"id": 1, "name": "left", "layers": 3.0, "marks": "fresh"}
    assert seen == ([1, 1, 1] if hooked else [])
