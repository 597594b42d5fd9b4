"""What one would write by hand: two FastAPI routes on SQLModel, not audited, in WAL mode at synchronous=FULL.

The session is opened in the route, and there is a connection for each of the 40 threads that FastAPI runs routes on:
with a session from `Depends` and the default pool, 64 clients at once bring such an app to a standstill.
"""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI, HTTPException
from sqlalchemy import create_engine, event
from sqlmodel import Session, SQLModel

from bench.part import Part
from storage.dialects.sqlite_driver import DRIVER

engine = create_engine(
    os.environ["VENTION_STORAGE_DATABASE_URL"],
    module=DRIVER,
    connect_args={"check_same_thread": False},
    pool_size=40,
)


@event.listens_for(engine, "connect")
def _configure(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 5000"):
        connection.execute(f"PRAGMA {pragma}")


SQLModel.metadata.create_all(engine)
app = FastAPI()


class NewPart(SQLModel):
    """What a caller gives."""

    name: str
    supplier: str
    quantity: int


@app.post("/parts")
def create(part: NewPart) -> Part:
    """Insert a record."""
    with Session(engine) as session:
        stored = Part.model_validate(part)
        session.add(stored)
        session.commit()
        session.refresh(stored)
        return stored


@app.get("/parts/{key}")
def read(key: int) -> Part:
    """Read a record."""
    with Session(engine) as session:
        part = session.get(Part, key)
    if part is None:
        raise HTTPException(status_code=404)
    return part
