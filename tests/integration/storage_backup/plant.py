"""An application with a database worth keeping, as the tests and the processes that they start declare it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from storage.accessor import ModelAccessor


@dataclass(frozen=True, kw_only=True)
class Plant:
    """The accessors of the application."""

    users: ModelAccessor[Any]
    jobs: ModelAccessor[Any]
    user: Any
    job: Any

    def add_user(self, name: str) -> Any:
        return self.users.insert(self.user(name=name, email=f"{name}@example.com"), "test")

    def names(self) -> list[str]:
        return [user.name for user in self.users.all()]


def declare() -> Plant:
    """Declare the models anew, their tables among those of every application."""

    class Base(SQLModel, registry=registry(metadata=SQLModel.metadata)):
        """Lets the same names be declared again."""

    class User(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        name: str
        email: str
        deleted_at: datetime | None = Field(default=None, index=True)

    class Job(Base, table=True):
        id: int | None = Field(default=None, primary_key=True)
        user_id: int = Field(foreign_key="user.id")
        note: str = ""

    return Plant(users=ModelAccessor(User, "users"), jobs=ModelAccessor(Job, "jobs"), user=User, job=Job)
