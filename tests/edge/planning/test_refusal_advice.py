"""The message of exit code 5 and the owner's page name the same direction of the cut."""

from __future__ import annotations

from pathlib import Path

from lightcl_edge.planning.refusal import _DOES, _HELPS

PAGE = Path(__file__).parents[3] / "docs" / "owners" / "out-of-memory.md"


def test_an_earlier_cut_where_the_trunk_is_large_and_a_later_one_where_the_head_is():
    directions = {phase: ("earlier cut" in _HELPS[phase], "later cut" in _HELPS[phase]) for phase in _DOES}
    trunk = {phase for phase, found in directions.items() if found == (True, False)}
    head = {phase for phase, found in directions.items() if found == (False, True)}
    assert trunk == {"install", "extract"} and head == set(_DOES) - trunk
    text = " ".join(PAGE.read_text().split())
    assert "A **later** cut leaves less to train; an **earlier** one leaves less to turn into features." in text
