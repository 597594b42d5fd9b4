"""The one call that makes storage ready."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Engine, inspect
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from storage.database import DEFAULT_URL, URL_VARIABLE, current_database, set_database_url
from storage.errors import ConfigurationError, DatabaseBusy, DatabaseUnavailable, SchemaMismatch, StorageError
from storage.schema.comparison import check
from storage.schema.tables import create, prepare
from storage.schema.upgrade import is_old, upgrade

_HEADER = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html


def bootstrap(*, database_url: str | None = None, create_tables: bool = True) -> None:
    """Open the database and see that its tables are what the models say.

    Call it once at start, after the models are imported. A second call with the same URL changes nothing, one with
    another URL closes the first database and opens the other. Several processes may do it at the same time.

    Args:
        database_url: An SQLAlchemy URL, `sqlite:///./my_app.db` or `postgresql://user@host/name`; without one, what the
            environment variable VENTION_STORAGE_DATABASE_URL says, else `sqlite:///./storage.db`.
        create_tables: Whether to make the tables that are missing and to bring a database of version 0.6 up to date.
            If False, the tables are only compared with the models, and that only where there are any yet.

    Raises:
        ConfigurationError: The database cannot be opened, or not be written though tables are to be made.
        SchemaMismatch: A table differs from its model; the text has the SQL that mends it.
        DatabaseBusy: Another process keeps the database locked.

    Example:
        >>> bootstrap(database_url="sqlite://")
    """
    set_database_url(database_url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
    database = current_database()
    metadata = SQLModel.metadata
    prepare(metadata)
    try:
        if create_tables:
            upgrade(database.engine, metadata)
            create(database.engine, metadata)
        elif is_old(database.engine):
            message = "the database was made by version 0.6"
            raise SchemaMismatch(message, hint="call bootstrap(create_tables=True) once, which brings it up to date")
        if create_tables or _has_tables(database.engine):
            check(database.engine, metadata)
    except DBAPIError as error:
        raise _explain(database.engine, database.dialect.translate(error), error) from error
    except DatabaseBusy:
        raise
    except DatabaseUnavailable as error:
        raise _explain(database.engine, error, error) from error


def _has_tables(engine: Engine) -> bool:
    """Whether any model has its table already; without one, the application makes them all later."""
    return not set(inspect(engine).get_table_names()).isdisjoint(SQLModel.metadata.tables)


def _explain(engine: Engine, meaning: StorageError | None, error: Exception) -> StorageError:
    """Say in one sentence why the database does not open."""
    if isinstance(meaning, DatabaseBusy):
        return meaning
    path = engine.url.database
    if engine.dialect.name == "sqlite" and path and not path.startswith("file:"):
        return _explain_file(Path(path), meaning)
    shown = engine.url.render_as_string(hide_password=True)
    reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    hint = meaning.hint if meaning else None
    if engine.dialect.name != "sqlite":
        hint = "check the database URL, and that the server runs and lets you in"
    return ConfigurationError(f"the database {shown} cannot be used: {reason}", hint=hint)


def _explain_file(path: Path, meaning: StorageError | None) -> ConfigurationError:
    if path.is_dir():
        return ConfigurationError(f"the database {path} is a directory", hint="add the name of a file to the URL")
    if not path.parent.is_dir():
        hint = f"create it, or choose another folder than {path.parent}"
        return ConfigurationError(f"the folder of the database {path} does not exist", hint=hint)
    try:
        with path.open("rb") as file:
            header = file.read(len(_HEADER))
    except OSError as error:
        message = f"the database {path} cannot be opened: {(error.strerror or str(error)).lower()}"
        return ConfigurationError(message, hint="let this user read and write the file and its folder")
    if header not in {b"", _HEADER}:
        hint = "point the database URL at a SQLite file, or at a new name"
        return ConfigurationError(f"the file {path} is not a SQLite database", hint=hint)
    return ConfigurationError(f"the database {path} cannot be used: {meaning or 'SQLite does not open it'}")
