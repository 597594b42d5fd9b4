"""Archives from outside: what is damaged, hostile or none of ours is refused with the reason before it is used."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile, ZipInfo

import pytest
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from storage.accessor import ModelAccessor
from storage.database import get_engine, set_database_url
from storage.errors import ArchiveInvalid
from storage.schema.tables import create, prepare
from storage.transfer import archive_reader
from storage.transfer.archive_export import export_archive
from storage.transfer.archive_import import import_archive
from storage.transfer.archive_reader import open_archive

MANIFEST = "manifest.json"


class Base(SQLModel, registry=registry()):
    """Keeps the table to this test."""


class Screw(Base, table=True):
    id: int | None = Field(default=None, primary_key=True)
    size: str


@pytest.fixture
def screws(tmp_path: Path) -> Iterator[ModelAccessor[Screw]]:
    set_database_url(f"sqlite:///{tmp_path}/machine.db")
    audit = SQLModel.metadata.tables["auditlog"]
    prepare(Base.metadata)
    create(get_engine(), Base.metadata)
    audit.create(get_engine(), checkfirst=True)
    yield ModelAccessor(Screw, "screws")
    set_database_url("sqlite://")


@pytest.fixture
def sound(screws: ModelAccessor[Screw]) -> bytes:
    """A sound archive, whose record is no longer in the database."""
    screws.insert_many([Screw(size=f"M{number}") for number in range(1, 6)])
    archive = io.BytesIO()
    export_archive(archive, [screws])
    screws.delete_many(range(1, 6))
    return archive.getvalue()


def files_of(archive: bytes) -> dict[str, bytes]:
    with ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(files: dict[str, bytes], **options: Any) -> io.BytesIO:
    archive = io.BytesIO()
    with ZipFile(archive, "w", **options) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return archive


def with_csv(archive: bytes, content: bytes, rows: int) -> io.BytesIO:
    """The archive with other content in screw.csv, of which the manifest tells the truth."""
    files = files_of(archive)
    manifest = json.loads(files[MANIFEST])
    manifest["tables"][0] |= {"rows": rows, "sha256": hashlib.sha256(content).hexdigest()}
    return packed({**files, "screw.csv": content, MANIFEST: json.dumps(manifest).encode()}, compression=ZIP_DEFLATED)


def refusal(archive: io.BytesIO | bytes, screws: ModelAccessor[Screw]) -> str:
    """Why an archive is refused; nothing of it may be in the database."""
    source = io.BytesIO(archive) if isinstance(archive, bytes) else archive
    with pytest.raises(ArchiveInvalid) as caught:
        import_archive(source, [screws], mode="replace")
    assert screws.all() == []
    return str(caught.value)


def test_the_sound_archive_is_taken(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    assert import_archive(io.BytesIO(sound), [screws]).ok
    assert len(screws.all()) == 5


@pytest.mark.parametrize("content", [b"", b"PK", b"SQLite format 3\0" * 99, b"PK\5\6" + bytes(18)])
def test_what_is_no_archive_of_ours(content: bytes, screws: ModelAccessor[Screw]) -> None:
    assert "not a zip archive" in refusal(content, screws) or "has no manifest.json" in refusal(content, screws)


def test_an_archive_of_somebody_else(screws: ModelAccessor[Screw]) -> None:
    assert "has no manifest.json" in refusal(packed({"photo.jpg": b"x"}), screws)


def test_another_content_than_the_manifest_says(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    files = files_of(sound)
    files["screw.csv"] = files["screw.csv"].replace(b"M1", b"M9")
    assert "screw.csv in the archive is not what its manifest says: another SHA-256" in refusal(packed(files), screws)


@pytest.mark.parametrize("name", ["../screw.csv", "/etc/passwd", "a/../../b", "..\\screw.csv", "C:screw.csv"])
def test_a_path_that_leads_out(name: str, sound: bytes, screws: ModelAccessor[Screw]) -> None:
    assert "whose path leads out of it" in refusal(packed({**files_of(sound), name: b"x"}), screws)


def test_two_files_of_one_name(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    archive = io.BytesIO(sound)
    with pytest.warns(UserWarning, match="Duplicate name"), ZipFile(archive, "a") as opened:
        opened.writestr("screw.csv", b"id,size\r\n9,M9\r\n")
    assert "two files named 'screw.csv'" in refusal(archive, screws)


def test_a_file_of_which_the_manifest_does_not_tell(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    assert "has run.exe, of which its manifest does not tell" in refusal(
        packed({**files_of(sound), "run.exe": b"x"}), screws
    )


def test_a_file_that_is_missing(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    files = files_of(sound)
    del files["screw.csv"]
    assert "lacks screw.csv, of which its manifest tells" in refusal(packed(files), screws)


def test_a_bomb(sound: bytes, screws: ModelAccessor[Screw], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_reader, "_ALWAYS_ALLOWED", 1 << 20)
    content = b"id,size\r\n1," + b"M" * (8 << 20) + b"\r\n"
    assert "would grow to" in refusal(with_csv(sound, content, 1), screws)


def test_a_bomb_that_lies_about_its_size(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    content = b"id,size\r\n1," + b"M" * (8 << 20) + b"\r\n"
    archive = with_csv(sound, content, 1).getvalue()
    lying = archive.replace(struct.pack("<L", len(content)), struct.pack("<L", 60))
    assert lying != archive
    assert "screw.csv in the archive" in refusal(lying, screws)


def test_a_row_that_is_too_long(sound: bytes, screws: ModelAccessor[Screw], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_reader, "LARGEST_ROW", 1000)
    for content in (
        b"id,size\r\n1," + b"M" * 2000,
        b'id,size\r\n1,"' + b"M\r\n" * 500 + b'"',
        b"id,size\r\n" + b'"\n",' * 500,
    ):
        assert "screw.csv has a row of more than" in refusal(with_csv(sound, content, 1), screws)


def test_a_line_of_very_many_cells(sound: bytes, screws: ModelAccessor[Screw], monkeypatch: pytest.MonkeyPatch) -> None:
    """128 MiB of commas are 128 KiB in a zip file, and would be a list of more than 1 GB."""
    monkeypatch.setattr(archive_reader, "MOST_COMMAS", 1000)
    for content in (b"id,size\r\n1," + b"," * 2000, b'id,size\r\n1,a"' + b"," * 2000, b'id,size\r\n1,"' + b"," * 2000):
        assert "screw.csv has a line of more than 1000 commas" in refusal(with_csv(sound, content, 1), screws)


def test_an_archive_of_very_many_files(screws: ModelAccessor[Screw], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_reader, "_LARGEST_READ", 1 << 16)
    assert "too many files" in refusal(packed({f"{number}.csv": b"" for number in range(2000)}), screws)


def test_an_encrypted_file_and_a_compression_that_is_not_known(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    assert "compressed in a way that is not deflate" in refusal(packed(files_of(sound), compression=ZIP_BZIP2), screws)
    encrypted = io.BytesIO(sound)
    with ZipFile(encrypted, "a") as opened:
        entry = ZipInfo("secret.csv")
        opened.writestr(entry, b"x")
        opened.getinfo("secret.csv").flag_bits |= 1
    assert "is encrypted" in refusal(encrypted, screws)


@pytest.mark.parametrize(
    ("content", "rows", "why"),
    [
        (b"id,size\r\n1,M\xff\r\n", 1, "screw.csv is not a CSV file in UTF-8"),
        (b'id,size\r\n1,"M\r\n', 1, "screw.csv is not a CSV file in UTF-8"),
        (b'id,size\r\n1,"M"x\r\n', 1, "screw.csv is not a CSV file in UTF-8"),
        (b"id,length\r\n1,M1\r\n", 1, "the header of screw.csv differs from the manifest"),
        (b"", 0, "the header of screw.csv differs from the manifest"),
        (b"id,size\r\n1,M1\r\n", 2, "screw.csv has 1 rows, in the manifest there are 2"),
    ],
)
def test_a_file_that_is_no_csv(content: bytes, rows: int, why: str, sound: bytes, screws: ModelAccessor[Screw]) -> None:
    assert why in refusal(with_csv(sound, content, rows), screws)


def test_a_mark_of_the_byte_order_does_no_harm(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    import_archive(with_csv(sound, "\ufeffid,size\r\n1,M1\r\n".encode(), 1), [screws])
    assert [screw.size for screw in screws.all()] == ["M1"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": "zip"}, "manifest.json is not one of this version: format"),
        ({"version": 2}, "manifest.json is not one of this version: version"),
        ({"tables": 5}, "manifest.json is not one of this version: tables"),
        ({"created": "today"}, "manifest.json is not one of this version: created"),
    ],
)
def test_a_manifest_that_is_none(change: Any, why: str, sound: bytes, screws: ModelAccessor[Screw]) -> None:
    files = files_of(sound)
    files[MANIFEST] = json.dumps({**json.loads(files[MANIFEST]), **change}).encode()
    assert why in refusal(packed(files), screws)


def test_a_manifest_that_is_not_json_or_too_large(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    assert "manifest.json is not one" in refusal(packed({**files_of(sound), MANIFEST: b"\xff{"}), screws)
    assert "larger than 2 MiB" in refusal(packed({**files_of(sound), MANIFEST: b" " * (3 << 20)}), screws)


@pytest.mark.parametrize("place", ["tables", "columns"])
def test_a_manifest_that_says_something_twice(place: str, sound: bytes, screws: ModelAccessor[Screw]) -> None:
    files = files_of(sound)
    manifest = json.loads(files[MANIFEST])
    twice = manifest["tables"] if place == "tables" else manifest["tables"][0]["columns"]
    twice.append(twice[0])
    files[MANIFEST] = json.dumps(manifest).encode()
    assert "has something twice" in refusal(packed(files), screws)


def test_an_archive_without_the_key(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    files = files_of(sound)
    manifest = json.loads(files[MANIFEST])
    del manifest["tables"][0]["columns"][0]
    files[MANIFEST] = json.dumps(manifest).encode()
    assert "screw.csv lacks the column 'id', which is the key of Screw" in refusal(packed(files), screws)


def test_every_archive_that_is_cut_off(sound: bytes, screws: ModelAccessor[Screw]) -> None:
    for length in range(0, len(sound), 13):
        assert refusal(sound[:length], screws)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_archive_is_refused_or_harmless(seed: int, sound: bytes, screws: ModelAccessor[Screw]) -> None:
    """A byte may be one that nobody reads; then the records must be those of the sound archive."""
    chance, expected = random.Random(seed), [f"M{number}" for number in range(1, 6)]  # noqa: S311 - to be repeated
    for _ in range(150):
        damaged = bytearray(sound)
        for _ in range(chance.choice([1, 1, 4])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            import_archive(io.BytesIO(damaged), [screws], dry_run=True)
            with open_archive(io.BytesIO(damaged)) as archive:
                archive.verify()
                rows = [row.cells[1] for table in archive.manifest.tables[:1] for row in archive.rows(table)]
        except ArchiveInvalid:
            continue
        assert rows == expected
