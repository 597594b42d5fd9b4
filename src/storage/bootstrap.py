"""The one call that makes storage ready."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, inspect
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import SQLModel

from storage.database import current_database, follow_environment, set_database_url
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
        database_url: An SQLAlchemy URL, `sqlite:///./my_app.db` or `postgresql://user@host/name`; without one, the URL
            that `set_database_url` chose, else what the environment variable VENTION_STORAGE_DATABASE_URL says, else
            `sqlite:///./storage.db`.
        create_tables: Whether to make the tables that are missing and to bring a database of version 0.6 up to date.
            If False, the tables are only compared with the models, and that only where there are any yet.

    Raises:
        ConfigurationError: The database cannot be opened, or not be written though tables are to be made.
        SchemaMismatch: A table differs from its model; the text has the SQL that mends it.
        DatabaseBusy: Another process keeps the database locked.

    Example:
        >>> bootstrap(database_url="sqlite://")
    """
    if database_url is None:
        follow_environment()
    else:
        set_database_url(database_url)
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
    except (DBAPIError, DatabaseUnavailable) as error:
        meaning = error if isinstance(error, DatabaseUnavailable) else database.dialect.translate(error)
        if isinstance(meaning, DatabaseBusy):
            raise meaning from error.__cause__
        raise _explain(database.engine, error, meaning) from error


def _has_tables(engine: Engine) -> bool:
    """Whether any model has its table already; without one, the application makes them all later."""
    return not set(inspect(engine).get_table_names()).isdisjoint(SQLModel.metadata.tables)


def _explain(engine: Engine, error: Exception, meaning: StorageError | None) -> ConfigurationError:
    """Say in one sentence why the database cannot be used."""
    cause = error.orig if isinstance(error, DBAPIError) else error.__cause__
    reason = str(cause or error).strip().partition("\n")[0]
    path = engine.url.database
    if engine.dialect.name != "sqlite":
        shown = engine.url.set(query={}).render_as_string(hide_password=True)
        hint = "check the database URL, and that the server runs and lets you in"
        failed_to_connect = isinstance(error, OperationalError)
        return ConfigurationError(f"{shown} cannot be used: {reason}", hint=hint if failed_to_connect else None)
    found = _look_at_file(Path(path)) if path and not path.startswith("file:") else None
    return found or ConfigurationError(f"{path} cannot be used: {reason}", hint=meaning.hint if meaning else None)


def _look_at_file(path: Path) -> ConfigurationError | None:
    """Find what SQLite does not tell."""
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
    if header in {b"", _HEADER}:
        return None
    hint = "point the database URL at a SQLite file, or at a new name"
    return ConfigurationError(f"the file {path} is not a SQLite database", hint=hint)
