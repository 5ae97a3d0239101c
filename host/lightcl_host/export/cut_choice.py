"""Choose the cut of a bundle: by name, by an analysis for a device, or by a rule of thumb."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightcl_edge.console.text import format_bytes
from lightcl_edge.errors import DoesNotFitError, UsageError
from lightcl_host.cutting.cuts import Cut, choose_by_name
from lightcl_host.cutting.rule_of_thumb import RULE, choose_automatically
from lightcl_host.trunks.dtype_choice import FP32

if TYPE_CHECKING:
    from lightcl_host.analysis.record import Analysis
    from lightcl_host.sources.source import Source
    from lightcl_profiler.devices.profile import DeviceProfile

AUTOMATIC = "auto"
#: Images of the task that memory is predicted for where there is no analysis.
_PLANNED_IMAGES = 1000


@dataclass(frozen=True)
class CutChoice:
    cut: Cut
    chosen_by: str  # the reason, for a person
    # that the choice was made from, for the manifest; empty where nothing was measured or predicted
    figures: dict[str, Any] = field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """The optional key ``choice`` of the manifest's provenance."""
        return {"choice": self.figures} if self.figures else {}


def check_cut(wanted: str, analysis: Path | None) -> None:
    """Refuse a cut's name together with the folder of an analysis, which names a cut too."""
    if wanted != AUTOMATIC and analysis is not None:
        raise UsageError(f"--cut {wanted} with --analysis: give one of both, or --cut auto")


def pick_cut(
    source: Source,
    cuts: Sequence[Cut],
    wanted: str,
    analysis: Path | None,
    device: str | None,
    trunk_dtype: str = FP32,
) -> CutChoice:
    """Choose a cut, by its name or for ``auto``.

    ``device`` is the name of a device profile; None means no device, or with an analysis the device of the analysis.
    Where there is no analysis, memory is predicted for a trunk of ``trunk_dtype``, of which ``fp32`` needs most.

    Raises:
        UsageError: when the options do not go together, or the analysis is of another network.
        DoesNotFitError: when no cut fits the device.
    """
    check_cut(wanted, analysis)
    if wanted != AUTOMATIC:
        cut = choose_by_name(list(cuts), wanted)
        return CutChoice(cut, "its name", {} if device is None else _named_for(source, cut, device, trunk_dtype))
    if analysis is not None:
        return _by_analysis(source, list(cuts), analysis, device)
    if device is not None:
        return _by_plan(source, list(cuts), device, trunk_dtype)
    return CutChoice(choose_automatically(list(cuts)), RULE)


def _by_analysis(source: Source, cuts: list[Cut], folder: Path, device: str | None) -> CutChoice:
    from lightcl_host.analysis.cut_rule import choose, explain
    from lightcl_host.analysis.record import read_analysis
    from lightcl_profiler.devices.profile import load_profile

    found = read_analysis(folder)
    _check_network(source, found, folder)
    profile = found.device_profile if device in (None, found.device) else load_profile(str(device))
    candidates = found.candidates()
    usable, threshold = profile.usable_memory.bytes, found.settings.threshold
    chosen, rule = choose(candidates, usable, threshold, found.held_images)
    reason = explain(candidates, usable, threshold, found.held_images, profile.name)
    if chosen is None:
        raise DoesNotFitError(reason)
    record = found.cut(chosen.name)
    figures = {
        "rule": rule,
        "reason": reason,
        "device": profile.name,
        "usable_bytes": usable,
        "threshold": threshold,
        "memory_stability": record.memory_stability,
        "learning_plasticity": record.learning_plasticity,
        "generalizability": record.generalizability,
        "predicted_peak_bytes": record.predicted_peak_bytes,
        "relative_time": record.relative_time,
        "data": found.data,
        "seed": found.seed,
    }
    if record.head_accuracy is not None:
        figures["head_accuracy"] = record.head_accuracy
    return CutChoice(choose_by_name(cuts, chosen.name), f"the analysis: {reason}", figures)


def _check_network(source: Source, analysis: Analysis, folder: Path) -> None:
    graph = hashlib.sha256(source.graph.SerializeToString(deterministic=True)).hexdigest()
    if graph != analysis.graph_sha256:
        size = "x".join(str(side) for side in analysis.input_size)
        raise UsageError(
            f"{folder} is an analysis of {analysis.model}, weights {analysis.weights}, at {size} pixels; found another "
            f"network ({source.name}, weights {source.weights}); analyse it first, or give the same options"
        )


def _named_for(source: Source, cut: Cut, device: str, trunk_dtype: str) -> dict[str, Any]:
    """Figures of a cut that a person named for a device; DoesNotFitError where it does not fit."""
    from lightcl_profiler.devices.profile import load_profile

    profile = load_profile(device)
    usable, peak = profile.usable_memory.bytes, _planned_peak(source, cut, profile, trunk_dtype)
    if peak > usable:
        raise DoesNotFitError(
            f"after cut {cut.name} {format_bytes(peak)} are predicted, usable on {profile.name} are "
            f"{format_bytes(usable)}; name a later cut, or leave --device out to export it all the same"
        )
    return {"rule": "name", "device": profile.name, "usable_bytes": usable, "predicted_peak_bytes": peak}


def _by_plan(source: Source, cuts: list[Cut], device: str, trunk_dtype: str) -> CutChoice:
    """The rule of thumb among the cuts that are predicted to fit, where nothing was measured."""
    from lightcl_profiler.devices.profile import load_profile

    profile = load_profile(device)
    usable = profile.usable_memory.bytes
    choose_automatically(cuts)  # raises with the obstacle where no cut can be trained
    left, least = list(cuts), None
    while any(cut.trainable for cut in left):
        cut = choose_automatically(left)
        peak = _planned_peak(source, cut, profile, trunk_dtype)
        if peak <= usable:
            figures = {"rule": "fits", "device": profile.name, "usable_bytes": usable, "predicted_peak_bytes": peak}
            why = f"{RULE}; predicted to need {format_bytes(peak)} of {format_bytes(usable)} on {profile.name}"
            return CutChoice(cut, why, figures | {"reason": why})
        least = peak if least is None else min(least, peak)
        left.remove(cut)
    raise DoesNotFitError(
        f"no cut of {source.name} fits {profile.name}: the least that is predicted is {format_bytes(least or 0)}, "
        f"usable are {format_bytes(usable)}; choose a smaller --image-size or a smaller network"
    )


def _planned_peak(source: Source, cut: Cut, profile: DeviceProfile, trunk_dtype: str) -> int:
    from lightcl_host.cost.plan_cut import plan_cut

    engine = "ort" if profile.engines.ort else "torch"
    return plan_cut(source, cut, engine, _PLANNED_IMAGES, trunk_dtype)[0].peak_bytes


def providers_of(device: str | None) -> list[str]:
    """The execution providers, in order, that a device profile names for its trunk; none without a device."""
    from lightcl_profiler.devices.profile import THIS_MACHINE, load_profile, profile_names

    if device is None or device == THIS_MACHINE or not (device in profile_names() or device.endswith(".toml")):
        return []
    return load_profile(device).accelerators.providers
