"""Which step graphs are trained with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightcl_edge.bundle.manifest import StepGraph
from lightcl_edge.errors import BundleError
from lightcl_edge.planning.step_choice import StepChoice, choose_step, offered_choices


def graph(update: str, samples: int, peak_bytes: int) -> StepGraph:
    return StepGraph(f"training_step/{update}_{samples}.onnx", update, samples, 0, peak_bytes)


GRAPHS = [graph("in_place", 32, 900), graph("accumulate", 8, 300), graph("accumulate", 2, 90), graph("forward", 0, 0)]


@pytest.mark.parametrize(
    ("parameter_bytes", "spare_bytes", "expected"),
    [
        (10, 0, StepChoice("accumulate", 2, 154)),
        (10, 489, StepChoice("accumulate", 2, 154)),
        (10, 490, StepChoice("accumulate", 8, 490)),
        (10, 1440, StepChoice("in_place", 0, 1440)),
        (5000, 0, StepChoice("in_place", 0, 1440)),
    ],
)
def test_the_fastest_that_costs_nothing_else_the_smallest(
    parameter_bytes: int, spare_bytes: int, expected: StepChoice
) -> None:
    assert choose_step(GRAPHS, parameter_bytes, spare_bytes=spare_bytes) == expected


WAYS = st.tuples(st.sampled_from(["in_place", "accumulate"]), st.integers(1, 64), st.integers(0, 10**6))


@given(
    st.lists(WAYS, min_size=1),
    st.integers(0, 10**6),
    st.integers(-(10**6), 10**7),
)
def test_never_more_than_spare_where_less_would_do(
    drawn: list[tuple[str, int, int]], parameter_bytes: int, spare_bytes: int
) -> None:
    graphs = [graph(*values) for values in drawn]
    least = min(way.needed_bytes for way in offered_choices(graphs, parameter_bytes))
    chosen = choose_step(graphs, parameter_bytes, spare_bytes=spare_bytes)
    assert chosen.needed_bytes <= max(spare_bytes, least)


def test_graphs_with_patterns_count_where_patterns_are_held() -> None:
    with_patterns = [replace(each, buffered_samples=2, peak_bytes=2 * each.peak_bytes) for each in GRAPHS[:3]]
    every = [*GRAPHS, *with_patterns]
    assert choose_step(every, 10, patterns=False) == choose_step(GRAPHS, 10)
    assert choose_step(every, 10).needed_bytes == choose_step(with_patterns, 10, patterns=False).needed_bytes == 298


def test_a_kind_that_has_graphs_with_patterns_only_is_offered_all_the_same() -> None:
    mixed = [GRAPHS[0], replace(GRAPHS[2], buffered_samples=2)]
    assert choose_step(mixed, 10, update="accumulate", patterns=False).samples == 2


def test_insisting_on_a_kind() -> None:
    assert choose_step(GRAPHS, 10, update="in_place").update == "in_place"
    with pytest.raises(BundleError, match=r"training_step graphs are \['accumulate'\], expected in_place"):
        choose_step(GRAPHS[1:], 10, update="in_place")
