"""Makes the record of an analysis from its measurements and predictions."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightcl_edge.bundle.manifest import CostInfo
from lightcl_host.analysis.cut_rule import Candidate, choose, explain, pareto
from lightcl_host.analysis.record import (
    FORMAT,
    FORMAT_VERSION,
    Analysis,
    Choice,
    CutRecord,
    DeviceChoice,
    Settings,
)
from lightcl_host.analysis.remarks import remarks
from lightcl_host.analysis.summary import cut_figures, rank_correlation
from lightcl_host.analysis.tasks import Sequence
from lightcl_host.cost.plan_cut import CutPlan
from lightcl_host.cutting.cuts import Cut
from lightcl_profiler.devices.profile import THIS_MACHINE, DeviceProfile, load_profile, profile_names

_PREDICTED = ("extract_bytes", "train_bytes", "peak_bytes", "disk_bytes")


@dataclass(frozen=True)
class Measured:
    """The cuts in order, prediction and counts of each, the document of ``measure``, and accuracies of heads."""

    cuts: list[Cut]
    plans: list[tuple[CutPlan, CostInfo]]
    found: dict[str, Any]

    def candidates(self, heads: Mapping[str, Mapping[str, Any]]) -> list[Candidate]:
        """The cuts as the rule sees them, in order, with the documents of ``train_head`` by cut."""
        return [
            Candidate(
                name=cut.name,
                generalizability=cut_figures(self.found["cuts"][cut.name])["generalizability"],
                peak_bytes=plan.peak_bytes,
                head_parameters=cut.head_parameters,
                feature_bytes=cut.feature_bytes,
                relative_time=plan.relative_time,
                accuracy=heads.get(cut.name, {}).get("accuracy"),
            )
            for cut, (plan, _) in zip(self.cuts, self.plans, strict=True)
        ]


def stages(names: list[str]) -> list[str]:
    """The stage of the network that each cut belongs to.

    It is the first part of the cut's name. Where most cuts lie in one container it is the first two parts:
    ``blocks.3.0.bn1`` is in ``blocks.3``.
    """
    first = Counter(name.split(".")[0] for name in names)
    containers = {part for part, count in first.items() if 2 * count > len(names) and len(names) > 1}
    parts = [name.split(".") for name in names]
    return [".".join(part[: 2 if part[0] in containers else 1]) for part in parts]


def assemble(
    measured: Measured,
    heads: Mapping[str, Mapping[str, Any]],
    *,
    profile: DeviceProfile,
    settings: Settings,
    sequence: Sequence,
    facts: Mapping[str, Any],
    random_weights: bool,
) -> Analysis:
    """Make the record from the measurements, the documents of ``train_head`` by cut, and its other ``facts``."""
    usable = profile.usable_memory.bytes
    held = sum(len(task.held) for task in sequence.tasks)
    candidates = measured.candidates(heads)
    chosen, rule = choose(candidates, usable, settings.threshold, held)
    cuts = _records(measured, heads, usable)
    reason = explain(candidates, usable, settings.threshold, held, profile.name)
    analysis = Analysis(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        tasks=_class_names(sequence),
        train_images=sequence.images,
        held_images=held,
        skipped_images=sequence.skipped,
        settings=settings,
        device=profile.name,
        device_profile=profile,
        steps=measured.found["steps"],
        whole_accuracy=measured.found["accuracy"],
        stability_rank_correlation=rank_correlation([cut.memory_stability for cut in cuts]),
        cuts=cuts,
        chosen=chosen.name if chosen else None,
        choice=Choice(chosen.name if chosen else None, rule, reason, []),
        other_devices=_other_devices(candidates, settings.threshold, held),
        **facts,
    )
    analysis.choice.remarks.extend(remarks(analysis, random_weights=random_weights))
    return analysis


def _class_names(sequence: Sequence) -> list[list[str]]:
    return [[sequence.classes[row] for row in np.unique(task.train_labels)] for task in sequence.tasks]


def _records(measured: Measured, heads: Mapping[str, Mapping[str, Any]], usable: int) -> list[CutRecord]:
    peaks = {cut.name: plan.peak_bytes for cut, (plan, _) in zip(measured.cuts, measured.plans, strict=True)}
    tried = {name: float(head["accuracy"]) for name, head in heads.items() if head["accuracy"] is not None}
    best = dict(zip(tried, pareto([(accuracy, peaks[name]) for name, accuracy in tried.items()]), strict=True))
    names = stages([cut.name for cut in measured.cuts])
    records = []
    for depth, (cut, (plan, cost)) in enumerate(zip(measured.cuts, measured.plans, strict=True)):
        head = heads.get(cut.name, {})
        figures: dict[str, Any] = {f"predicted_{name}": getattr(plan, name) for name in _PREDICTED}
        figures |= cut_figures(measured.found["cuts"][cut.name])
        records.append(
            CutRecord(
                name=cut.name,
                stage=names[depth],
                depth=depth,
                shape=list(cut.shape),
                feature_bytes=cut.feature_bytes,
                trunk_parameters=cut.trunk_parameters,
                head_parameters=cut.head_parameters,
                trunk_flops=2 * cost.trunk_multiply_adds,
                head_flops=2 * cost.head_multiply_adds,
                **figures,
                relative_time=plan.relative_time,
                fits=plan.peak_bytes <= usable,
                head_accuracy=head.get("accuracy"),
                head_note=str(head.get("note", "")),
                shortlisted=cut.name in heads,
                pareto=best.get(cut.name, False),
            )
        )
    return records


def _other_devices(candidates: list[Candidate], threshold: float, held_images: int) -> list[DeviceChoice]:
    least = min(each.peak_bytes for each in candidates)
    found = []
    for name in profile_names():
        if name == THIS_MACHINE:
            continue
        usable = load_profile(name).usable_memory.bytes
        chosen, _ = choose(candidates, usable, threshold, held_images)
        found.append(
            DeviceChoice(name, usable, chosen.name if chosen else None, chosen.peak_bytes if chosen else least)
        )
    return found
