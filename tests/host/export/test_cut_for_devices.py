"""A cut that is exported for a device fits it, whatever the device and the network: by plan, and by name."""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightcl_edge.errors import DoesNotFitError
from lightcl_host.cutting.cuts import Cut
from lightcl_host.export import cut_choice
from lightcl_host.export.cut_choice import AUTOMATIC, pick_cut

MIB = 2**20
SOURCE = SimpleNamespace(name="some network")


@st.composite
def networks(draw: st.DrawFn) -> list[Cut]:
    """Cuts in order: ever fewer weights behind them, some that can't be trained, maps and then vectors."""
    count = draw(st.integers(1, 8))
    weights = sorted((draw(st.integers(10, 10_000)) for _ in range(count)), reverse=True)
    vectors = draw(st.integers(0, count))
    cuts = []
    for at, head in enumerate(weights):
        side = 1 if at >= count - vectors else draw(st.integers(2, 16))
        shape = (draw(st.integers(1, 64)),) if side == 1 else (draw(st.integers(1, 64)), side, side)
        trainable = draw(st.booleans()) or at == count - 1
        cuts.append(Cut(f"cut{at}", f"t{at}", shape, 10_000 - head, head, 5, "" if trainable else "an LSTM"))
    return cuts


def pick(cuts: list[Cut], peaks: list[int], usable: int, wanted: str = AUTOMATIC) -> cut_choice.CutChoice:
    profile = SimpleNamespace(name="board", usable_memory=SimpleNamespace(bytes=usable))
    planned = mock.patch.object(cut_choice, "_planned_peak", lambda source, cut, *_: peaks[int(cut.name[3:])])
    with planned, mock.patch("lightcl_profiler.devices.profile.load_profile", lambda name: profile):
        return pick_cut(SOURCE, cuts, wanted, None, "board")


@given(networks(), st.lists(st.integers(1, 900), min_size=8, max_size=8), st.integers(1, 1000))
def test_what_is_exported_for_a_device_fits_it(cuts: list[Cut], peaks_mib: list[int], usable_mib: int) -> None:
    peaks, usable = [peak * MIB for peak in peaks_mib], usable_mib * MIB
    possible = [cut for cut in cuts if cut.trainable]
    fitting = {cut.name for cut in possible if peaks[int(cut.name[3:])] <= usable}
    if not fitting:
        with pytest.raises(DoesNotFitError, match="no cut of some network fits board"):
            pick(cuts, peaks, usable)
    else:
        found = pick(cuts, peaks, usable)
        assert found.cut.name in fitting
        assert found.figures["predicted_peak_bytes"] == peaks[int(found.cut.name[3:])] <= usable
    for cut in possible:
        if cut.name in fitting:
            assert pick(cuts, peaks, usable, cut.name).cut == cut
        else:
            with pytest.raises(DoesNotFitError, match="name a later cut"):
                pick(cuts, peaks, usable, cut.name)
