"""Entry points are found without importlib.metadata, which takes longer to load than all else."""

from __future__ import annotations

from importlib import metadata

import pytest

from lightcl_edge.machine import plugins


@pytest.mark.parametrize("group", ["lightcl_edge.commands", "lightcl_edge.datasets", "console_scripts"])
def test_entry_points_are_those_of_importlib(group):
    known = {entry.name: entry.value for entry in metadata.entry_points(group=group)}
    found = plugins.entry_points(group)
    assert known and set(found) == set(known)
    if group.startswith("lightcl"):
        assert found == known


def test_entry_points_survive_odd_files(tmp_path, monkeypatch):
    for name, content in {
        "a": b"[lightcl_edge.commands]\n# x = y:z\none = mod:One\n\n[other]\ntwo = m:T\n",
        "b": b"\xff\xfe",
        "c": b"[lightcl_edge.commands]\none = later:One\nthree = m.n:Three [extra]\nnothing\n",
    }.items():
        (tmp_path / f"{name}.dist-info").mkdir()
        (tmp_path / f"{name}.dist-info" / "entry_points.txt").write_bytes(content)
    monkeypatch.setattr(plugins.sys, "path", [str(tmp_path), str(tmp_path / "none")])
    assert plugins.entry_points("lightcl_edge.commands") == {"one": "mod:One", "three": "m.n:Three"}
