"""Every name on the wire."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from hypothesis import given
from hypothesis import strategies as st

from communication import naming
from communication.errors import ContractError


@pytest.mark.parametrize(
    ("app", "service"),
    [
        ("my-app", "MyAppService"),
        ("VentionApp", "VentionAppService"),
        ("my app_2", "MyApp2Service"),
        ("cell", "CellService"),
    ],
)
def test_the_service_is_named_after_the_app(app: str, service: str) -> None:
    assert naming.service_name(app) == service


@pytest.mark.parametrize("app", ["", "---", "2nd", "größe", "станок"])
def test_an_app_name_without_an_identifier_in_it_is_refused(app: str) -> None:
    with pytest.raises(ContractError, match="cannot name a service"):
        naming.service_name(app)


@pytest.mark.parametrize(
    ("component", "today", "legacy"),
    [
        ("users", "UsersListRecords", "Users_ListRecords"),
        ("pick_place", "PickPlaceListRecords", "Pick_place_ListRecords"),
        ("ioModule", "IoModuleListRecords", "IoModule_ListRecords"),
    ],
)
def test_both_spellings_of_a_components_rpc(component: str, today: str, legacy: str) -> None:
    assert naming.component_prefix(component) + "ListRecords" == today
    assert naming.legacy_component_prefix(component) + "ListRecords" == legacy
    assert naming.canonical_rpc_name(legacy) == today


def test_messages_of_an_rpc_are_pascal_case() -> None:
    assert naming.request_name("start_job") == "StartJobRequest"
    assert naming.response_name("UsersGetRecord") == "UsersGetRecordResponse"


@pytest.mark.parametrize(
    ("enum", "member", "label"),
    [
        ("JobState", "running", "JOB_STATE_RUNNING"),
        ("HTTPMode", "KeepAlive", "HTTP_MODE_KEEP_ALIVE"),
        ("Axis2D", "X_1", "AXIS2D_X_1"),
    ],
)
def test_enum_labels_carry_the_name_of_their_enum(enum: str, member: str, label: str) -> None:
    assert naming.enum_value_label(enum, member) == label


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,20}", fullmatch=True))
def test_json_names_are_those_of_protobuf(field: str) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", syntax="proto3")
    message = file.message_type.add(name="M")
    message.field.add(name=field, number=1, type="TYPE_BOOL", label="LABEL_OPTIONAL")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    assert naming.json_name(field) == pool.FindMessageTypeByName("M").fields[0].json_name


@pytest.mark.parametrize("name", ["größe", "1st", "a-b", "", "a b", "a\n"])
def test_what_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(ContractError, match=r"field Job\.x has a name"):
        naming.check_identifier(name, "field Job.x")


@pytest.mark.parametrize("name", ["string", "google", "int32", "message"])
def test_a_type_cannot_have_the_name_of_something_else(name: str) -> None:
    with pytest.raises(ContractError, match="means something else"):
        naming.check_type_name(name, "class string")
