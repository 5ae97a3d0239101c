"""The rule that chooses a cut: never one that does not fit, whatever the device and the network are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightcl_host.analysis.cut_rule import (
    ACCURATE,
    FITS,
    GENERALIZES,
    NOTHING_FITS,
    Candidate,
    as_good_as_the_best,
    chance,
    choose,
    explain,
    generalizing,
    pareto,
    shortlist,
    worth_measuring,
)

MIB = 2**20


def candidate(
    name: str, general: float, peak_mib: int, head: int = 0, feature: int = 100, time: float = 0.3
) -> Candidate:
    return Candidate(name, general, peak_mib * MIB, head, feature, time)


@st.composite
def networks(draw: st.DrawFn) -> list[Candidate]:
    count = draw(st.integers(1, 12))
    heads = sorted((draw(st.integers(0, 6)) for _ in range(count)), reverse=True)
    return [
        Candidate(
            f"cut{at}",
            draw(st.floats(0, 1)),
            draw(st.integers(1, 2000)) * MIB,
            heads[at],
            draw(st.integers(1, 1000)),
            draw(st.floats(0.01, 1)),
            draw(st.none() | st.floats(0, 1)),
        )
        for at in range(count)
    ]


@given(networks(), st.integers(0, 2500), st.floats(0, 1), st.integers(0, 6))
def test_what_is_picked_fits(cuts: list[Candidate], usable_mib: int, threshold: float, count: int) -> None:
    usable = usable_mib * MIB
    chosen, rule = choose(cuts, usable, threshold, 100)
    fitting = [each for each in cuts if each.peak_bytes <= usable]
    assert (chosen is None) == (not fitting) == (rule == NOTHING_FITS)
    for name in shortlist(cuts, [chosen] if chosen else [], usable, count):
        assert next(each for each in cuts if each.name == name).peak_bytes <= usable
    assert len(shortlist(cuts, [chosen] if chosen else [], usable, count)) <= count
    assert (chosen.name if chosen else "No cut fits") in explain(cuts, usable, threshold, 100, "board")
    if chosen is None:
        return
    assert chosen.peak_bytes <= usable
    general = [each for each in generalizing(cuts, threshold) if each in fitting]
    if rule == GENERALIZES:
        assert chosen == general[-1]
    elif rule == ACCURATE:
        assert chosen in as_good_as_the_best(fitting, 100) and chosen.accuracy is not None
    else:
        assert not general and chosen.generalizability == max(each.generalizability for each in fitting)


@given(networks(), st.integers(0, 2500), st.floats(0, 1))
def test_a_larger_device_never_leaves_less_choice(cuts: list[Candidate], usable_mib: int, threshold: float) -> None:
    small, _ = choose(cuts, usable_mib * MIB, threshold, 100)
    large, rule = choose(cuts, (usable_mib + 500) * MIB, threshold, 100)
    assert small is None or large is not None
    if small is not None and rule == FITS:
        assert large is not None and large.generalizability >= small.generalizability


def test_the_deepest_that_generalises_and_fits() -> None:
    cuts = [candidate("a", 1.0, 400, 9), candidate("b", 0.97, 300, 8), candidate("c", 0.96, 500, 7)]
    cuts += [candidate("d", 0.90, 100, 6), candidate("e", 0.99, 50, 5)]
    assert choose(cuts, 600 * MIB, 0.95, 100)[0] == cuts[2]
    assert choose(cuts, 450 * MIB, 0.95, 100) == (cuts[1], GENERALIZES)  # c does not fit
    assert choose(cuts, 200 * MIB, 0.95, 100) == (cuts[4], FITS)  # e comes after a cut that does not generalise
    assert choose(cuts, 20 * MIB, 0.95, 100) == (None, NOTHING_FITS)
    assert "the deepest of them that fits" in explain(cuts, 450 * MIB, 0.95, 100, "board")
    assert "at the next cut, d, it falls to 0.900" in explain(cuts, 600 * MIB, 0.95, 100, "board")
    assert "none of the 3 cuts" in explain(cuts, 200 * MIB, 0.95, 100, "board")
    assert "from the first cut on" in explain(cuts, 600 * MIB, 1.1, 100, "board")


def test_of_heads_as_good_the_cheapest() -> None:
    cuts = [replace(candidate("a", 1.0, 400, 9, time=0.5), accuracy=0.80)]
    cuts += [replace(candidate("b", 0.9, 300, 8, time=0.2), accuracy=0.75)]
    cuts += [replace(candidate("c", 0.9, 100, 7, time=0.1), accuracy=0.50), candidate("d", 1.0, 50, 6, time=0.1)]
    assert chance(0.80, 0.75, 400) == pytest.approx(2 * (0.3475 / 400) ** 0.5)
    assert choose(cuts, 600 * MIB, 0.95, 400) == (cuts[1], ACCURATE)  # 5 points are chance on 400 images
    assert choose(cuts, 600 * MIB, 0.95, 4000) == (cuts[0], ACCURATE)  # and none on 4000
    assert choose(cuts, 350 * MIB, 0.95, 4000) == (cuts[1], ACCURATE)  # a does not fit
    assert choose(cuts, 90 * MIB, 0.95, 4000) == (cuts[3], FITS)  # no head that fits was trained
    assert "of 3 heads really trained it costs least" in explain(cuts, 600 * MIB, 0.95, 400, "board")
    assert "it is the most accurate (80.0%" in explain(cuts, 600 * MIB, 0.95, 4000, "board")


def test_what_is_worth_measuring() -> None:
    @dataclass
    class Place:
        name: str
        feature_bytes: int
        head_parameters: int

    places = [Place("early", 100, 9), Place("expanded", 600, 8), Place("block", 150, 7)]
    places += [Place("map", 90, 5), Place("pool", 10, 5), Place("flat", 10, 5)]
    assert [each.name for each in worth_measuring(places)] == ["early", "block", "pool"]  # type: ignore[arg-type]


def test_the_shortlist_leaves_out_what_is_not_worth_a_trial() -> None:
    cuts = [
        candidate("early", 1.0, 10, 9, time=0.9),  # as slow as the whole network
        candidate("good", 0.9, 10, 7),
        candidate("large", 0.9, 999, 6),
        candidate("late", 0.8, 10, 5),
    ]
    assert shortlist(cuts, [cuts[1]], 100 * MIB, 4) == ["good", "late"]
    assert shortlist(cuts, [], 100 * MIB, 1) == ["late"]
    assert shortlist(cuts, [cuts[1], cuts[2]], 100 * MIB, 1) == ["good"]
    assert shortlist(cuts, [cuts[3]], 100 * MIB, 0) == []


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(0.9, 100), (0.8, 50), (0.7, 80)], [True, True, False]),
        ([(0.9, 100), (0.9, 90)], [False, True]),
        ([(0.5, 10), (0.5, 10)], [True, True]),
        ([], []),
    ],
)
def test_pareto_front(points: list[tuple[float, int]], front: list[bool]) -> None:
    assert pareto(points) == front


def test_what_is_below_the_threshold_is_shown_so() -> None:
    cuts = [candidate("a", 0.96, 100), candidate("b", 0.94972, 50)]
    assert "falls to 0.9497." in explain(cuts, 600 * MIB, 0.95, 100, "board")
    assert "generalises best (0.9497)" in explain(cuts[1:], 600 * MIB, 0.95, 100, "board")
