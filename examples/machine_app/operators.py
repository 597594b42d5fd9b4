"""Operators: who works at the cell."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from sqlmodel import Field, Session, SQLModel

from communication.context import current_call
from storage.accessor import ModelAccessor


class Role(Enum):
    """What somebody may do; the cell itself does not enforce it."""

    operator = "operator"
    technician = "technician"


class Operator(SQLModel, table=True):
    """A person with a badge; one who left is deleted softly, and the jobs still know who it was."""

    id: int | None = Field(default=None, primary_key=True)
    badge: str = Field(unique=True, max_length=16, schema_extra={"examples": ["B-1042"]})
    name: str = Field(max_length=80, schema_extra={"examples": ["Ada Miller"]})
    role: Role = Role.operator
    deleted_at: datetime | None = Field(default=None, index=True)


operators = ModelAccessor(Operator, "operators")


@operators.before_insert()
@operators.before_update()
def tidy_badge(_session: Session, operator: Operator) -> None:
    """Keep one spelling of each badge."""
    operator.badge = operator.badge.strip().upper()
    if not operator.badge:
        raise ValueError("a badge must not be empty")


def caller() -> str:
    """Who calls the RPC that is being served, as the header X-User says."""
    return current_call().headers.get("x-user", "anonymous")
