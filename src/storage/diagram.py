"""The schema as a picture: Mermaid text always, SVG and PNG by Graphviz where it is installed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

import sqlalchemy as sa

from storage.accessor import ModelAccessor
from storage.auditor import AuditLog
from storage.database import get_engine
from storage.errors import NotSupported
from storage.records import codec_of

_INSTALL = (
    "install both: sudo apt-get install graphviz (macOS: brew install graphviz) and pip install "
    "sqlalchemy-schemadisplay; or ask for mermaid, which needs neither"
)


class DiagramFormat(Enum):
    """What a diagram is made as."""

    SVG = "svg"
    PNG = "png"
    MERMAID = "mermaid"

    @property
    def extension(self) -> str:
        """The ending of the file's name.

        Example:
            >>> DiagramFormat.SVG.extension, DiagramFormat.MERMAID.extension
            ('svg', 'mmd')
        """
        return "mmd" if self is DiagramFormat.MERMAID else str(self.value)


def tables_of(accessors: Iterable[ModelAccessor[Any]]) -> list[sa.Table]:
    """The tables of accessors, those that they refer to, and the audit trail, by name."""
    found = {codec_of(AuditLog).table}
    waiting = [accessor.codec.table for accessor in accessors]
    while waiting:
        table = waiting.pop()
        if table not in found:
            found.add(table)
            waiting += [key.column.table for key in table.foreign_keys]
    return sorted(found, key=lambda table: table.fullname)


def diagram(tables: Sequence[sa.Table], format: DiagramFormat) -> bytes:  # noqa: A002 - what it is
    """Draw tables and what they refer to.

    Args:
        tables: The tables.
        format: What to make.

    Returns:
        The content of the file.

    Raises:
        NotSupported: SVG or PNG is wanted, and Graphviz or sqlalchemy-schemadisplay is not installed.

    Example:
        >>> from storage.accessor import ModelAccessor
        >>> from sqlmodel import Field, SQLModel
        >>> class Lathe(SQLModel, table=True):
        ...     id: int | None = Field(default=None, primary_key=True)
        >>> diagram(tables_of([ModelAccessor(Lathe, "lathes")]), DiagramFormat.MERMAID)[:9]
        b'erDiagram'
    """
    if format is DiagramFormat.MERMAID:
        return mermaid(tables).encode()
    try:
        schemadisplay = importlib.import_module("sqlalchemy_schemadisplay")  # an extra, and slow: only where it is used
    except ImportError as error:
        raise NotSupported("a picture of the schema needs sqlalchemy-schemadisplay", hint=_INSTALL) from error
    graph = schemadisplay.create_schema_graph(
        engine=get_engine(), tables=list(tables), show_indexes=False, rankdir="LR"
    )
    try:
        picture: bytes = graph.create(format=format.value)
    except OSError as error:  # there is no program of the name
        raise NotSupported("a picture of the schema needs Graphviz", hint=_INSTALL) from error
    except AssertionError as error:  # so pydot tells of a program that fails, one without the plugin of a format say
        raise NotSupported(f"this Graphviz cannot draw {format.value}", hint=_INSTALL) from error
    return picture


def mermaid(tables: Iterable[sa.Table]) -> str:
    """Describe tables in the language of Mermaid (https://mermaid.js.org/syntax/entityRelationshipDiagram.html).

    Example:
        >>> metadata = sa.MetaData()
        >>> shelf = sa.Table("shelf", metadata, sa.Column("id", sa.Integer, primary_key=True))
        >>> job = sa.Table("job", metadata, sa.Column("shelf_id", sa.ForeignKey("shelf.id"), nullable=False))
        >>> print(mermaid([shelf, job]))
        erDiagram
            "shelf" {
                INTEGER id PK
            }
            "job" {
                INTEGER shelf_id FK
            }
            "shelf" ||--o{ "job" : "shelf_id"
        <BLANKLINE>
    """
    shown = list(tables)
    lines = ["erDiagram"]
    for table in shown:
        lines += [
            f"    {_quoted(table.fullname)} {{",
            *(f"        {_attribute(item)}" for item in table.columns),
            "    }",
        ]
    for table in shown:
        for constraint in sorted(table.foreign_key_constraints, key=lambda item: list(item.column_keys)):
            if constraint.referred_table in shown:
                lines.append(f"    {_relation(table, constraint)}")
    return "\n".join(lines) + "\n"


def _attribute(column: sa.Column[Any]) -> str:
    keys = [name for name, holds in (("PK", column.primary_key), ("FK", column.foreign_keys)) if holds]
    if not keys and column.unique:
        keys = ["UK"]
    comment = ['"optional"'] if column.nullable else []
    type_ = column.type.compile(get_engine().dialect)
    return " ".join([_word(type_), _word(column.name), *([", ".join(keys)] if keys else []), *comment])


def _relation(table: sa.Table, constraint: sa.ForeignKeyConstraint) -> str:
    optional = any(column.nullable for column in constraint.columns)
    columns = set(constraint.columns)
    alone = columns == set(table.primary_key.columns) or (len(columns) == 1 and any(item.unique for item in columns))
    parent, child = ("|o" if optional else "||"), ("o|" if alone else "o{")
    label = _quoted(", ".join(constraint.column_keys))
    return f"{_quoted(constraint.referred_table.fullname)} {parent}--{child} {_quoted(table.fullname)} : {label}"


def _quoted(name: str) -> str:
    return '"' + re.sub(r'["\\%\r\n]', "_", name) + '"'


def _word(name: str) -> str:
    """A name that Mermaid takes for a type or an attribute: letters, digits, underscores, brackets and hyphens."""
    word = re.sub(r"[^\w()\[\]-]+", "_", name)
    return word if word[:1].isalpha() else f"c{word}"
