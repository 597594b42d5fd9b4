"""The RPC DatabaseSchemaDiagram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectrpc.code import Code
from pydantic import BaseModel

from communication.entries import ActionEntry
from communication.errors import FieldViolation, RpcError
from storage.database import in_thread
from storage.diagram import DiagramFormat, diagram, mermaid, tables_of
from storage.rpc.errors import told_to_caller
from storage.rpc.served import served_accessors


class SchemaDiagramRequest(BaseModel):
    """What DatabaseSchemaDiagram is asked with."""

    format: str = DiagramFormat.SVG.value
    """`svg`, `png` or `mermaid`; the last needs nothing installed."""


class SchemaDiagramResponse(BaseModel):
    """What DatabaseSchemaDiagram answers."""

    filename: str
    """A name for the file."""
    data: bytes
    """The file: the picture, or the text of Mermaid."""
    mermaid: str
    """The diagram as text of Mermaid, whatever the format."""


@dataclass(frozen=True)
class SchemaDiagram:
    """Draws the tables that are served."""

    async def __call__(self, request: SchemaDiagramRequest) -> Mapping[str, Any]:
        """Answer the RPC."""
        try:
            wanted = DiagramFormat(request.format)
        except ValueError as error:
            violation = FieldViolation(field="format", description="must be svg, png or mermaid")
            text = f"the request is invalid: {violation}"
            raise RpcError(Code.INVALID_ARGUMENT, text, violations=[violation]) from error
        with told_to_caller():
            return await in_thread(_draw, wanted)


def diagram_entries() -> list[ActionEntry]:
    """Make the entry of DatabaseSchemaDiagram."""
    return [
        ActionEntry(
            "DatabaseSchemaDiagram",
            SchemaDiagram(),
            SchemaDiagramRequest,
            SchemaDiagramResponse,
            aliases=("Database_SchemaDiagram",),
        )
    ]


def _draw(wanted: DiagramFormat) -> Mapping[str, Any]:
    tables = tables_of(served_accessors())
    return {"filename": f"schema.{wanted.extension}", "data": diagram(tables, wanted), "mermaid": mermaid(tables)}
