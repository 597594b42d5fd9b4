"""Archives for tests: models that refer to each other, and archives made by hand."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from typing import Any
from zipfile import ZipFile

import sqlalchemy as sa
from sqlmodel import Field

from storage.accessor import ModelAccessor
from storage.transfer.archive_export import export_archive
from tests.integration.storage.models import Base, Bin, Everything, Job, Part, Recipe, Sample, Shelf, Ticket


class Node(Base, table=True):
    """Refers to another of its kind."""

    id: int | None = Field(default=None, primary_key=True)
    parent_id: int | None = Field(default=None, foreign_key="node.id")
    name: str = Field(default="", unique=True)


class Robot(Base, table=True):
    """Refers to a tool, which refers to a robot."""

    id: int | None = Field(default=None, primary_key=True)
    tool_id: int | None = Field(
        default=None, sa_column=sa.Column(sa.ForeignKey("tool.id", use_alter=True, name="fk_robot_tool"))
    )


class Tool(Base, table=True):
    """Always belongs to a robot."""

    id: int | None = Field(default=None, primary_key=True)
    robot_id: int = Field(foreign_key="robot.id")


class Stamped(Base, table=True):
    """With a value that the database fills in where there is none, and one that it computes."""

    id: int | None = Field(default=None, primary_key=True)
    width: int = 0
    note: str | None = Field(default=None, sa_column_kwargs={"server_default": "new"})
    doubled: int | None = Field(default=None, sa_column=sa.Column(sa.Integer, sa.Computed("width * 2", persisted=True)))


Accessors = dict[str, ModelAccessor[Any]]
"""Accessors by the names of their tables."""
MODELS = (Bin, Everything, Job, Node, Part, Recipe, Robot, Sample, Shelf, Stamped, Ticket, Tool)


def all_accessors() -> Accessors:
    """An accessor for each model, by the name of its table."""
    return {model.__name__.lower(): ModelAccessor(model, f"{model.__name__.lower()}s") for model in MODELS}


def exported(accessors: Accessors) -> io.BytesIO:
    archive = io.BytesIO()
    export_archive(archive, accessors.values())
    return archive


def fill(accessors: Accessors) -> None:
    accessors["recipe"].insert_many(
        [Recipe(name="a"), Recipe(name=""), Recipe(name="=1+1", settings={"axis": [1, None]})]
    )
    accessors["recipe"].delete(2)
    accessors["part"].insert_many([Part(number="z", weight=1.5), Part(number="ä,\r\n\"'")])
    accessors["sample"].insert_many([Sample(label="x"), Sample()])
    accessors["shelf"].insert_many([Shelf(), Shelf()])
    accessors["job"].insert(Job(shelf_id=2))
    accessors["bin"].insert(Bin(code="A1"))


def recipes_with(accessors: Accessors, *rows: list[str]) -> io.BytesIO:
    """An archive of these rows: id, name, speed, settings, deleted_at."""
    return changed(exported(accessors), "recipe.csv", lambda _: list(rows))


GOOD = ["1", "good", "1.0", "", ""]


def contents(accessors: Mapping[str, ModelAccessor[Any]]) -> dict[str, str]:
    """Everything that is stored, soft-deleted records included."""
    return {
        name: repr([record.model_dump() for record in accessor.all(include_deleted=True)])
        for name, accessor in accessors.items()
    }


def files_of(archive: io.BytesIO) -> dict[str, bytes]:
    with ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(files: Mapping[str, bytes]) -> io.BytesIO:
    archive = io.BytesIO()
    with ZipFile(archive, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return archive


def changed(archive: io.BytesIO, file: str, change: Callable[[list[list[str]]], list[list[str]]]) -> io.BytesIO:
    """The same archive with other rows in one file, its manifest right about them."""
    files = files_of(archive)
    rows = list(csv.reader(io.StringIO(files[file].decode(), newline="")))
    header, rows = rows[0], change(rows[1:])
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    files[file] = text.getvalue().encode()
    manifest = json.loads(files["manifest.json"])
    for table in manifest["tables"]:
        if table["file"] == file:
            table |= {"rows": len(rows), "sha256": hashlib.sha256(files[file]).hexdigest()}
    files["manifest.json"] = json.dumps(manifest).encode()
    return packed(files)
