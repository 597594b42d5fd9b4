"""The RPCs of records as a caller sees them: list, get, create, update, delete, restore."""

from __future__ import annotations

from typing import Any

import pytest

from storage.accessor import ModelAccessor
from tests.integration.storage_rpc.cell import Caller, Cell, app_of, open_database, served, trail
from tests.integration.storage_rpc.models import Person

UUID = "6fa459ea-ee8a-3ca4-894e-db77e160355e"


async def create_people(call: Caller, *names: str) -> list[int]:
    return [(await call("PeopleCreateRecord", {"record": {"name": name}})).record["id"] for name in names]


def names(answer: Any) -> list[str]:
    assert answer.status == 200, answer.body
    return [record["name"] for record in answer.body["records"]]


# Create


async def test_create_answers_the_record_as_it_is_stored(call: Caller) -> None:
    created = await call("PeopleCreateRecord", {"record": {"name": "Ada", "badge": "A1"}})
    assert created.record == {"id": 1, "name": "Ada", "badge": "A1", "level": 1, "trips": 0, "greeting": "hello"}
    assert (await call("PeopleGetRecord", {"recordId": 1})).record == created.record


async def test_create_takes_an_absent_field_and_null_as_the_default_and_zero_as_zero(call: Caller) -> None:
    absent = await call("PeopleCreateRecord", {"record": {"name": "Ada"}})
    null = await call("PeopleCreateRecord", {"record": {"name": "Ada", "level": None, "greeting": None}})
    zero = await call("PeopleCreateRecord", {"record": {"name": "", "level": 0, "greeting": ""}})
    assert [answer.record["level"] for answer in (absent, null, zero)] == [1, 1, 0]
    assert [answer.record["greeting"] for answer in (absent, null, zero)] == ["hello", "hello", ""]
    assert zero.record["name"] == ""


async def test_create_in_protobuf_tells_absent_from_zero(call: Caller) -> None:
    def created(**record: Any) -> Any:
        return call.message("PeopleCreateRecordRequest", record=call.message("Person", **record))

    absent = (await call.proto("PeopleCreateRecord", created(name="Ada"))).record
    zero = (await call.proto("PeopleCreateRecord", created(name="", level=0, greeting=""))).record
    assert (absent.level, absent.greeting, absent.HasField("badge")) == (1, "hello", False)
    assert (zero.level, zero.greeting, zero.HasField("greeting")) == (0, "", True)


async def test_create_with_a_key_of_the_callers_uses_it_and_ids_go_on_from_there(call: Caller) -> None:
    assert (await call("PeopleCreateRecord", {"record": {"id": 7, "name": "Ada"}})).record["id"] == 7
    assert await create_people(call, "Bob") == [8]


async def test_create_without_a_record_or_a_required_field_names_it(call: Caller) -> None:
    bodies: list[tuple[dict[str, Any], str]] = [({}, "record"), ({"record": {}}, "record.name")]
    for body, field in bodies:
        answer = await call("PeopleCreateRecord", body)
        assert answer.error == (400, "invalid_argument")
        assert answer.violations == {field: "is required"}


# Get


async def test_get_of_a_missing_or_soft_deleted_record_is_not_found(call: Caller) -> None:
    await create_people(call, "Ada")
    await call("PeopleDeleteRecord", {"recordId": 1})
    for key in (1, 2, -1):
        assert (await call("PeopleGetRecord", {"recordId": key})).error == (404, "not_found")
    assert "deletedAt" in (await call("PeopleGetRecord", {"recordId": 1, "includeDeleted": True})).record
    assert (await call("PeopleGetRecord", {"recordId": 2, "includeDeleted": True})).error == (404, "not_found")


async def test_a_long_key_is_not_said_back_whole(call: Caller) -> None:
    answer = await call("FormulasGetRecord", {"recordId": "x" * 500})
    assert answer.error == (404, "not_found")
    assert len(answer.body["message"]) < 200


# Update


async def test_update_changes_the_fields_that_are_present(call: Caller) -> None:
    await call("PeopleCreateRecord", {"record": {"name": "Ada", "badge": "A1", "level": 3}})
    updated = await call("PeopleUpdateRecord", {"recordId": 1, "record": {"trips": 2, "level": 0, "badge": None}})
    assert updated.record == {"id": 1, "name": "Ada", "badge": "A1", "level": 0, "trips": 2, "greeting": "hello"}
    assert (await call("PeopleGetRecord", {"recordId": 1})).record == updated.record


@pytest.mark.parametrize("mask", [["badge", "greeting"], "badge,greeting"])
@pytest.mark.parametrize("spelling", ["update_mask", "updateMask"])
async def test_update_with_a_mask_changes_those_named_null_included(
    call: Caller, mask: list[str] | str, spelling: str
) -> None:
    await call("PeopleCreateRecord", {"record": {"name": "Ada", "badge": "A1", "level": 3}})
    body = {"record_id": 1, "record": {"name": "left alone", "greeting": "ahoy"}, spelling: mask}
    updated = await call("PeopleUpdateRecord", body)
    assert updated.record == {"id": 1, "name": "Ada", "level": 3, "trips": 0, "greeting": "ahoy"}


@pytest.mark.parametrize("name", ["person_id", "personId"])
async def test_a_mask_names_fields_in_either_spelling(call: Caller, name: str) -> None:
    await create_people(call, "Ada")
    await call("ErrandsCreateRecord", {"record": {"title": "box", "personId": 1}})
    answer = await call("ErrandsUpdateRecord", {"recordId": 1, "record": {"title": "crate"}, "updateMask": [name]})
    assert answer.record == {"id": 1, "title": "box", "count": 1}


async def test_a_mask_in_protobuf(call: Caller) -> None:
    await call("PeopleCreateRecord", {"record": {"name": "Ada", "badge": "A1"}})
    record = call.message("Person", name="left alone")
    request = call.message("PeopleUpdateRecordRequest", record_id=1, record=record, update_mask=["badge"])
    answer = await call.proto("PeopleUpdateRecord", request)
    assert (answer.record.name, answer.record.HasField("badge")) == ("Ada", False)


async def test_a_mask_that_names_a_required_field_cannot_null_it(call: Caller) -> None:
    await create_people(call, "Ada")
    answer = await call("PeopleUpdateRecord", {"recordId": 1, "record": {}, "updateMask": "name"})
    assert answer.error == (400, "invalid_argument")
    assert list(answer.violations) == ["record.name"]


async def test_a_mask_with_an_unknown_field_is_refused(call: Caller) -> None:
    await create_people(call, "Ada")
    for mask in (["name", "no"], "name,no", ["name", "name.first"], ["name", ""]):
        answer = await call("PeopleUpdateRecord", {"recordId": 1, "record": {"name": "Eve"}, "updateMask": mask})
        assert answer.error == (400, "invalid_argument")
        assert list(answer.violations) == ["update_mask[1]"]
    assert (await call("PeopleGetRecord", {"recordId": 1})).record["name"] == "Ada"


async def test_update_with_another_key_in_the_record_is_refused(call: Caller) -> None:
    await create_people(call, "Ada", "Bob")
    for body in ({"id": 2, "name": "Eve"}, {"id": 0, "name": "Eve"}):
        for mask in ([], ["name"]):
            answer = await call("PeopleUpdateRecord", {"recordId": 1, "record": body, "updateMask": mask})
            assert answer.error == (400, "invalid_argument")
            assert answer.violations == {"record.id": "differs from record_id"}
    assert names(await call("PeopleListRecords")) == ["Ada", "Bob"]


async def test_update_with_the_whole_record_sent_back_changes_nothing_else(call: Caller, cell: Cell) -> None:
    await create_people(call, "Ada")
    record = (await call("PeopleGetRecord", {"recordId": 1})).record
    updated = await call("PeopleUpdateRecord", {"recordId": 1, "record": {**record, "name": "Eve"}})
    assert updated.record == {**record, "name": "Eve"}
    again = await call("PeopleUpdateRecord", {"recordId": 1, "record": updated.record, "updateMask": ["id", "name"]})
    assert again.record == updated.record
    assert [entry.operation for entry in cell.trail("people")] == ["create", "update"]


async def test_update_of_a_missing_or_soft_deleted_record_is_not_found(call: Caller) -> None:
    await create_people(call, "Ada")
    await call("PeopleDeleteRecord", {"recordId": 1})
    for key in (1, 2):
        answer = await call("PeopleUpdateRecord", {"recordId": key, "record": {"name": "Eve"}})
        assert answer.error == (404, "not_found")


async def test_deleted_at_is_set_by_delete_and_restore_only(call: Caller) -> None:
    record = {"name": "Ada", "deletedAt": "2024-01-01T00:00:00Z"}
    await create_people(call, "Ada")
    created = await call("PeopleCreateRecord", {"record": record})
    updated = await call("PeopleUpdateRecord", {"recordId": 1, "record": record})
    for answer in (created, updated):
        assert answer.error == (400, "invalid_argument")
        assert list(answer.violations) == ["record.deleted_at"]


# Delete and Restore


async def test_delete_and_restore_of_a_soft_deleted_record(call: Caller) -> None:
    await create_people(call, "Ada", "Bob")
    deleted = await call("PeopleDeleteRecord", {"recordId": 1})
    assert (deleted.status, deleted.body) == (200, {"status": "deleted"})
    assert names(await call("PeopleListRecords")) == ["Bob"]
    assert names(await call("PeopleListRecords", {"includeDeleted": True})) == ["Ada", "Bob"]
    assert (await call("PeopleDeleteRecord", {"recordId": 1})).error == (404, "not_found")
    restored = await call("PeopleRestoreRecord", {"recordId": 1})
    assert restored.record == (await call("PeopleGetRecord", {"recordId": 1})).record
    assert "deletedAt" not in restored.record
    assert (await call("PeopleRestoreRecord", {"recordId": 1})).record == restored.record
    assert (await call("PeopleRestoreRecord", {"recordId": 9})).error == (404, "not_found")


async def test_delete_for_good_leaves_nothing_to_restore(call: Caller) -> None:
    await call("ErrandsCreateRecord", {"record": {"title": "box"}})
    assert (await call("ErrandsDeleteRecord", {"recordId": 1})).body == {"status": "deleted"}
    assert (await call("ErrandsDeleteRecord", {"recordId": 1})).error == (404, "not_found")
    assert (await call("ErrandsGetRecord", {"recordId": 1, "includeDeleted": True})).error == (404, "not_found")
    assert (await call("ErrandsRestoreRecord", {"recordId": 1})).error == (400, "failed_precondition")


# Keys


@pytest.mark.parametrize(
    ("component", "key", "other", "change"),
    [
        ("People", 2**31 - 1, 5, {"name": "Eve"}),
        ("People", -(2**31), 5, {"name": "Eve"}),
        ("People", 0, 5, {"name": "Eve"}),
        ("Formulas", "größe/1 %2F", "größe", {"grams": 0.5}),
        ("Formulas", "", "x", {"grams": 0.5}),
        ("TestFixtures", UUID, UUID.replace("6", "7"), {"label": "x"}),
        ("Meters", str(2**63 - 1), "5", {"total": "7"}),
        ("Meters", str(-(2**63)), "5", {"total": str(-(2**63))}),
    ],
)
async def test_every_kind_of_key_names_a_record(
    call: Caller, component: str, key: Any, other: Any, change: Any
) -> None:
    name = "code" if component == "Formulas" else "id"
    first = {"name": "Ada"} if component == "People" else {}
    created = await call(f"{component}CreateRecord", {"record": {name: key, **first}})
    assert created.record[name] == key
    assert (await call(f"{component}GetRecord", {"recordId": key})).record == created.record
    assert (await call(f"{component}GetRecord", {"recordId": other})).error == (404, "not_found")
    updated = await call(f"{component}UpdateRecord", {"recordId": key, "record": {name: key, **change}})
    assert updated.record == {**created.record, **change}
    listed = await call(f"{component}ListRecords")
    assert listed.body["records"] == [updated.record]
    again = await call(f"{component}CreateRecord", {"record": {name: key, **first}})
    assert again.error == (409, "already_exists")
    assert list(again.violations) == [f"record.{name}"]
    assert (await call(f"{component}DeleteRecord", {"recordId": key})).body == {"status": "deleted"}


async def test_a_key_that_the_model_makes(call: Caller) -> None:
    record = (await call("TestFixturesCreateRecord", {"record": {"label": "x"}})).record
    assert (await call("TestFixturesGetRecord", {"recordId": record["id"]})).record == record


async def test_a_uuid_key_in_protobuf(call: Caller) -> None:
    created = call.message("TestFixturesCreateRecordRequest", record=call.message("Fixture", id=UUID))
    assert (await call.proto("TestFixturesCreateRecord", created)).record.id == UUID
    got = call.message("TestFixturesGetRecordRequest", record_id=UUID)
    assert (await call.proto("TestFixturesGetRecord", got)).record.id == UUID


@pytest.mark.parametrize(
    ("rpc", "key"),
    [
        ("PeopleGetRecord", 2**31),
        ("PeopleGetRecord", "1x"),
        ("PeopleGetRecord", 1.5),
        ("PeopleGetRecord", True),
        ("FormulasGetRecord", "a\0b"),
        ("FormulasUpdateRecord", "a\0b"),
        ("FormulasDeleteRecord", "a\0b"),
        ("FormulasRestoreRecord", "a\0b"),
        ("FormulasGetRecord", 5),
        ("TestFixturesGetRecord", "x"),
        ("TestFixturesGetRecord", None),
        ("MetersGetRecord", 2**63),
    ],
)
async def test_a_key_of_another_kind_is_refused(call: Caller, rpc: str, key: Any) -> None:
    record: dict[str, Any] = {"record": {}} if "Update" in rpc else {}
    answer = await call(rpc, {"recordId": key, **record})
    assert answer.error == (400, "invalid_argument")
    assert list(answer.violations) == ["record_id"]


# List


async def test_list_gives_all_in_the_order_of_the_keys(call: Caller) -> None:
    for key in (5, 1, 3):
        await call("PeopleCreateRecord", {"record": {"id": key, "name": f"p{key}"}})
    everything = await call("PeopleListRecords", {})
    assert names(everything) == ["p1", "p3", "p5"]
    assert everything.body["nextPageToken"] == ""
    assert (await call("PeopleListRecords", {"pageSize": 0})).body == everything.body
    assert (await call("ErrandsListRecords")).body == {"records": [], "nextPageToken": ""}


async def test_pages_are_stable_while_records_come_and_go(call: Caller) -> None:
    await create_people(call, *"abcdef")
    seen: list[str] = []
    token, turns = "", 0
    while token or not turns:
        page = await call("PeopleListRecords", {"pageSize": 2, "pageToken": token})
        assert 1 <= len(names(page)) <= 2
        seen += names(page)
        token = page.body["nextPageToken"]
        turns += 1
        if turns == 1:  # behind and ahead of the page that was read, one goes and one comes
            await call("PeopleDeleteRecord", {"recordId": 1})
            await call("PeopleDeleteRecord", {"recordId": 2})
            await call("PeopleDeleteRecord", {"recordId": 3})
            await create_people(call, "g")
    assert seen == [*"ab", *"de", *"fg"]


async def test_the_last_page_has_no_token(call: Caller) -> None:
    await create_people(call, *"abcd")
    first = await call("PeopleListRecords", {"pageSize": 2})
    last = await call("PeopleListRecords", {"pageSize": 2, "pageToken": first.body["nextPageToken"]})
    rest = await call("PeopleListRecords", {"pageToken": first.body["nextPageToken"]})
    assert names(last) == names(rest) == ["c", "d"]
    assert last.body["nextPageToken"] == rest.body["nextPageToken"] == ""
    assert names(await call("PeopleListRecords", {"pageSize": 2**31 - 1})) == [*"abcd"]


async def test_pages_with_deleted_records(call: Caller) -> None:
    await create_people(call, *"abc")
    await call("PeopleDeleteRecord", {"recordId": 2})
    first = await call("PeopleListRecords", {"pageSize": 2, "includeDeleted": True})
    assert names(first) == ["a", "b"]
    assert names(await call("PeopleListRecords", {"pageSize": 2})) == ["a", "c"]


@pytest.mark.parametrize(
    ("component", "keys"),
    [
        ("Formulas", ["", "a", "b/ü", "c\n"]),
        ("TestFixtures", [UUID, UUID.replace("6f", "7f"), UUID.replace("6f", "ff")]),
        ("Meters", ["-5", str(2**53 + 1), str(2**63 - 1)]),
    ],
)
async def test_pages_by_every_kind_of_key(call: Caller, component: str, keys: list[str]) -> None:
    name = "code" if component == "Formulas" else "id"
    for key in reversed(keys):
        assert (await call(f"{component}CreateRecord", {"record": {name: key}})).status == 200
    seen, token = [], ""
    for _ in keys:
        page = (await call(f"{component}ListRecords", {"pageSize": 1, "pageToken": token})).body
        seen += [record[name] for record in page["records"]]
        token = page["nextPageToken"]
    assert (seen, token) == (keys, "")


@pytest.mark.parametrize(
    "token", ["x", "ü", "bnVsbA==", "W10=", "InR3byI=", "dHJ1ZQ==", "MS41", "MjE0NzQ4MzY0OA==", "\0"]
)
async def test_a_page_token_of_somebody_elses_is_refused(call: Caller, token: str) -> None:
    answer = await call("PeopleListRecords", {"pageToken": token})
    assert answer.error == (400, "invalid_argument")
    assert list(answer.violations) == ["page_token"]


async def test_a_negative_page_size_is_refused(call: Caller) -> None:
    answer = await call("PeopleListRecords", {"pageSize": -1})
    assert answer.error == (400, "invalid_argument")
    assert list(answer.violations) == ["page_size"]


# Actor


async def test_the_actor_is_of_the_body_else_of_the_header_else_anonymous(call: Caller, cell: Cell) -> None:
    record = {"name": "Ada"}
    await call("PeopleCreateRecord", {"record": record, "actor": "body"}, x_user="header")
    await call("PeopleCreateRecord", {"record": record, "actor": ""}, x_user="header")
    await call("PeopleCreateRecord", {"record": record}, x_user="")
    await call("PeopleUpdateRecord", {"recordId": 1, "record": {"name": "Eve"}, "actor": "u"}, x_user="header")
    await call("PeopleDeleteRecord", {"recordId": 1, "actor": "d"}, x_user="header")
    await call("PeopleRestoreRecord", {"recordId": 1}, x_user="r")
    assert [(entry.operation, entry.record_id, entry.actor) for entry in cell.trail("people")] == [
        ("create", 1, "body"),
        ("create", 2, "header"),
        ("create", 3, "anonymous"),
        ("update", 1, "u"),
        ("soft_delete", 1, "d"),
        ("restore", 1, "r"),
    ]


async def test_the_header_may_name_somebody_beyond_ascii(call: Caller, cell: Cell) -> None:
    body = b'{"record":{"name":"Ada"}}'
    for header in ("Jörg".encode(), "Jörg".encode("latin-1")):
        headers = {b"content-type": b"application/json", b"x-user": header}
        response = await call.http.post("/vention.app.v1.CellService/PeopleCreateRecord", content=body, headers=headers)
        assert response.status_code == 200
    assert [entry.actor for entry in cell.trail("people")] == ["Jörg", "Jörg"]


@pytest.mark.parametrize("actor", ["a\0b", "a\nb", "\u202e"])
async def test_an_actor_that_the_trail_cannot_keep_is_refused(call: Caller, cell: Cell, actor: str) -> None:
    answer = await call("PeopleCreateRecord", {"record": {"name": "Ada"}, "actor": actor})
    assert answer.error == (400, "invalid_argument")
    assert list(answer.violations) == ["actor"]
    assert cell.trail("people") == []


async def test_the_trail_has_whole_snapshots(call: Caller, cell: Cell) -> None:
    await call("ErrandsCreateRecord", {"record": {"title": "box"}})
    await call("ErrandsUpdateRecord", {"recordId": 1, "record": {"count": 2}})
    await call("ErrandsDeleteRecord", {"recordId": 1})
    before = {"id": 1, "title": "box", "person_id": None, "count": 1}
    after = {**before, "count": 2}
    assert [(entry.before, entry.after) for entry in cell.trail("errands")] == [
        (None, before),
        (before, after),
        (after, None),
    ]


# Names


@pytest.mark.parametrize("prefix", ["/rpc/", "/"])
@pytest.mark.parametrize("name", ["TestFixturesListRecords", "Test_fixtures_ListRecords"])
async def test_rpcs_have_two_names_on_two_paths(call: Caller, prefix: str, name: str) -> None:
    response = await call.http.post(f"{prefix}vention.app.v1.CellService/{name}", json={})
    assert response.json() == {"records": [], "nextPageToken": ""}


@pytest.mark.parametrize("rpc", ["List", "Get", "Create", "Update", "Delete", "Restore"])
async def test_every_rpc_has_its_older_name(call: Caller, rpc: str) -> None:
    name = f"People_{rpc}Record{'s' if rpc == 'List' else ''}"
    answer = await call(name, {})
    assert answer.status != 501


async def test_an_rpc_that_is_not_there_is_unimplemented(call: Caller) -> None:
    for name in ("PeopleDropRecords", "peopleListRecords", "people_ListRecords", "DatabaseNothing"):
        assert (await call(name)).error == (501, "unimplemented")


async def test_two_accessors_of_one_model_are_two_components(url: str) -> None:
    open_database(url)
    app = app_of(ModelAccessor(Person, "staff"), ModelAccessor(Person, "visitors"))
    async with served(app) as (_, call):
        await call("StaffCreateRecord", {"record": {"name": "Ada"}})
        assert names(await call("VisitorsListRecords")) == ["Ada"]
    assert (len(trail("staff")), len(trail("visitors"))) == (1, 0)
