"""Descriptors: accepted by protobuf, and read back."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2
from pydantic import create_model

from communication.contract.descriptors import message_classes, parse_descriptor_set, read_message
from communication.contract.types import Kind
from communication.errors import ContractError
from tests.unit.communication.building import contract_of
from tests.unit.communication.contract.everything import everything

STRINGS = {Kind.DECIMAL, Kind.UUID, Kind.DATE, Kind.TIME}


def test_protobuf_makes_classes_of_ours_and_of_the_imported_messages() -> None:
    classes = message_classes(everything().descriptor_set)
    assert {"vention.app.v1.SaveRequest", "google.protobuf.Value", "google.protobuf.Timestamp"} <= set(classes)
    message = classes["vention.app.v1.Node"](name="a", children=[{"name": "b"}])
    assert classes["vention.app.v1.Node"].FromString(message.SerializeToString()) == message


def test_two_apps_of_one_name_live_side_by_side() -> None:
    one = message_classes(contract_of(int).descriptor_set)["vention.app.v1.DoRequest"]
    other = message_classes(contract_of(str).descriptor_set)["vention.app.v1.DoRequest"]
    assert (one(value=1).SerializeToString(), other(value="a").SerializeToString()) == (b"\x08\x01", b"\x0a\x01a")


def test_a_message_reads_back_as_a_client_needs_it() -> None:
    contract = everything()
    declared = parse_descriptor_set(contract.descriptor_set)
    read = {message.name: message for message in map(read_message, declared.message_type)}["SaveRequest"]
    for field, original in zip(read.fields, contract.messages["SaveRequest"].fields, strict=True):
        assert (field.name, field.json_name, field.number) == (original.name, original.json_name, original.number)
        assert field.kind is (Kind.STRING if original.kind in STRINGS else original.kind)
        assert (field.repeated, field.presence) == (original.repeated, original.presence)
        assert field.type_name == original.type_name


def test_a_field_of_a_type_that_no_app_has_is_refused() -> None:
    declared = descriptor_pb2.DescriptorProto(name="Job")
    declared.field.add(name="x", number=1, type="TYPE_FIXED32", label="LABEL_OPTIONAL")
    with pytest.raises(ContractError, match=r"Job\.x has a type"):
        read_message(declared)


def test_optional_fields_keep_out_of_each_others_way() -> None:
    model = create_model("Model", value=(int | None, None), X_value=(int | None, None))
    contract = contract_of(model)
    file = parse_descriptor_set(contract.descriptor_set)
    names = [item.name for message in file.message_type for item in message.oneof_decl]
    assert len(set(names)) == len(names) == 2
    assert message_classes(contract.descriptor_set)
