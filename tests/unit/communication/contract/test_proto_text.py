"""The .proto text, judged by buf."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2
from pydantic import create_model

from communication.contract.contract import Contract
from communication.contract.lock import Lock, Slot
from communication.naming import PROTO_FILE
from tests.unit.communication.building import contract_of
from tests.unit.communication.contract.buf import Buf
from tests.unit.communication.contract.everything import everything

REMOVED = Lock(
    messages={"Node": {"old": Slot(number=1, type="string"), "older": Slot(number=7, type="int32")}},
    enums={"JobState": {"JOB_STATE_BROKEN": Slot(number=2, type="value")}},
)

KEYWORDS = [
    "syntax",
    "import",
    "package",
    "message",
    "enum",
    "service",
    "rpc",
    "option",
    "returns",
    "stream",
    "optional",
    "repeated",
    "group",
    "oneof",
    "map",
    "extend",
    "extensions",
    "reserved",
    "to",
    "max",
    "weak",
    "public",
    "true",
    "inf",
    "nan",
    "double",
    "string",
    "bytes",
    "bool",
    "int32",
    "google",
    "vention",
    "Node",
]


def own_file(image: bytes) -> descriptor_pb2.FileDescriptorProto:
    whole = descriptor_pb2.FileDescriptorSet.FromString(image)
    (file,) = [file for file in whole.file if file.name == PROTO_FILE]
    file.DiscardUnknownFields()  # buf's own remarks
    return file


def test_buf_has_nothing_to_format_or_to_criticise(buf: Buf) -> None:
    for name, contract in (("plain", everything()), ("reserved", everything(REMOVED))):
        module = buf.module(name, contract)
        assert buf.run("format", "-d", "--exit-code", module) == ""
        assert buf.run("lint", module) == ""


def test_buf_takes_the_descriptor_set_for_the_text(buf: Buf) -> None:
    module, image = buf.module("app", everything()), buf.image("app", everything())
    assert buf.run("breaking", image, "--against", module) == ""
    assert buf.run("breaking", module, "--against", image) == ""


def test_buf_builds_from_the_text_what_the_descriptor_set_says(buf: Buf) -> None:
    for name, contract in (("plain", everything()), ("reserved", everything(REMOVED))):
        module = buf.module(name, contract)
        built = buf.folder / f"{name}.built.binpb"
        assert buf.run("build", module, "--exclude-source-info", "-o", built) == ""
        assert own_file(built.read_bytes()) == own_file(contract.descriptor_set)


def test_an_app_without_rpcs_has_a_text_too(buf: Buf) -> None:
    module = buf.module("empty", Contract.build("my-app", []))
    assert buf.run("format", "-d", "--exit-code", module) == ""
    assert buf.run("build", module, "-o", "/dev/null") == ""


def test_what_is_gone_stays_reserved_in_the_text() -> None:
    text = everything(REMOVED).proto_text
    assert 'message Node {\n  reserved 1, 7;\n  reserved "old", "older";\n  string name = 8;' in text
    assert 'enum JobState {\n  reserved 2;\n  reserved "JOB_STATE_BROKEN";\n  JOB_STATE_UNSPECIFIED = 0;' in text


def test_only_the_files_that_are_used_are_imported() -> None:
    assert "import" not in Contract.build("my-app", []).proto_text
    assert everything().proto_text.count("import ") == 3


def test_no_keyword_of_the_proto_language_is_a_bad_field_name(buf: Buf) -> None:
    node = create_model("Node", a=(int, ...))
    kinds = (node, str, list[node])  # type: ignore[valid-type]  # made in this test
    fields: dict[str, Any] = {word: (kinds[index % 3], ...) for index, word in enumerate(KEYWORDS)}
    module = buf.module("keywords", contract_of(create_model("Words", **fields)))
    assert buf.run("build", module, "-o", "/dev/null") == ""
    assert buf.run("format", "-d", "--exit-code", module) == ""
