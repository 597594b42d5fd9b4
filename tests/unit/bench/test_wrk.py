from __future__ import annotations

from pathlib import Path

from bench.servers.wrk import Call, write_script


def test_a_script_has_every_byte_of_a_body(tmp_path: Path) -> None:
    write_script(tmp_path / "script.lua", [Call(path="/a", content_type="application/proto", body=b'\x00"\\\n')])

    written = (tmp_path / "script.lua").read_text()
    assert r'requests[1] = wrk.format("POST", "\047\097", {' in written
    assert r'"\000\034\092\010")' in written
