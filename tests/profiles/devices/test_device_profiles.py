"""Device profiles: those that come with the package, this machine, and a user's own."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from lightcl_edge.errors import UsageError
from lightcl_profiler.devices.profile import load_profile, measure_this_machine, parse_profile, profile_names

BOARDS = ["jetson-nano", "jetson-orin-nano", "rpi-zero-2w", "rpi3", "rpi4-2gb", "rpi5-4gb"]
FOLDER = Path(__file__).parents[3] / "profiles" / "devices"


def test_all_boards_are_there_and_every_figure_has_a_source() -> None:
    assert profile_names() == [*BOARDS, "this-machine"]
    for name in BOARDS:
        profile = load_profile(name)
        assert profile.name == name and profile.engines.ort
        assert 0 < profile.usable_memory.bytes < profile.physical_memory.bytes
        for part in asdict(profile).values():
            assert not isinstance(part, dict) or part["source"]


def test_they_lie_where_the_design_says() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(profile_names())


def test_they_are_package_data() -> None:
    """A wheel holds what setuptools' pattern matches inside the package."""
    import re

    text = (FOLDER.parents[1] / "pyproject.toml").read_text()
    assert re.search(r'^"\*" = \[.*"devices/\*\.toml".*\]$', text, re.M)
    assert (FOLDER.resolve().parent).name == "lightcl_profiler"


def test_a_page_of_the_raspberry_pi_5_has_16_kib() -> None:
    assert load_profile("rpi5-4gb").page_size.bytes == 16384


def test_this_machine_is_measured() -> None:
    import os

    profile = load_profile("this-machine")
    assert profile.usable_memory.kind == "measured" and profile.page_size.bytes == os.sysconf("SC_PAGE_SIZE")
    assert 0 < profile.usable_memory.bytes <= profile.physical_memory.bytes
    assert profile.cores.count == len(os.sched_getaffinity(0))
    assert measure_this_machine().name == load_profile(str(FOLDER / "this-machine.toml")).name


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((FOLDER / "rpi3.toml").read_text().replace('"rpi3"', '"mine"'))
    assert load_profile(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("count = 4", 'count = "four"', "cores.count is 'four', expected a value of type int"),
        ("ort = true", "ort = 1", "engines.ort is 1, expected true or false"),
        ("[cores]", "[kernels]", "lacks 'cores'"),
        ("bytes = 775946240", "bytes = 0", "usable_memory.bytes is 0, expected 1 to"),
        ('kind = "estimate"', 'kind = "guess"', "usable_memory.kind is 'guess'"),
        ("ort = true\ntorch = true", "ort = false\ntorch = false", "no engine runs there"),
        ("[cores]", "[cores", "is not TOML"),
    ],
)
def test_a_wrong_profile_is_named(old: str, new: str, message: str) -> None:
    content = (FOLDER / "rpi3.toml").read_text()
    assert old in content
    with pytest.raises(UsageError, match="device profile mine") as caught:
        parse_profile(content.replace(old, new, 1), "mine")
    assert message in str(caught.value)


def test_an_unknown_name_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean rpi4-2gb"):
        load_profile("rpi4")
    with pytest.raises(UsageError, match="no device profile at"):
        load_profile(str(tmp_path / "none.toml"))
