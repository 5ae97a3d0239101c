"""What a person should know before they follow the choice, in sentences."""

from lightcl_edge.console.text import format_bytes
from lightcl_host.analysis.record import Analysis, CutRecord

#: Two heads differ when their accuracies differ by more standard errors of the difference than this.
_STANDARD_ERRORS = 2.0
#: When every cut has a higher plasticity than this, plasticity tells no layers apart.
_SATURATED = 0.98
_RANDOM = (
    "The network's weights are random: its layers generalise to nothing yet, and the figures say nothing about a "
    "trained one."
)


def remarks(analysis: Analysis, *, random_weights: bool) -> list[str]:
    """Sentences about an analysis, the most important first; ``random_weights``: the network was never trained."""
    found = [
        _RANDOM if random_weights else "",
        _better_head(analysis),
        _saturated(analysis),
        _rising(analysis),
        _partly_trained(analysis),
        _estimate(analysis),
    ]
    return [text for text in found if text]


def _better_head(analysis: Analysis) -> str:
    """Is another trained head clearly more accurate, or as accurate for less memory?"""
    if analysis.chosen is None:
        return ""
    chosen = analysis.cut(analysis.chosen)
    tried = [cut for cut in analysis.cuts if cut.head_accuracy is not None and cut.fits and cut.name != chosen.name]
    if chosen.head_accuracy is None or not tried:
        return ""
    mine = chosen.head_accuracy
    best = max(tried, key=lambda cut: (_accuracy(cut), -cut.predicted_peak_bytes))
    gap = _accuracy(best) - mine
    noise = _STANDARD_ERRORS * _error_of_difference(mine, _accuracy(best), analysis)
    if gap > noise:
        return (
            f"The head after {best.name}, really trained, reached {_accuracy(best):.1%} of all classes, {gap:.1%} more "
            f"than after {chosen.name}, and is predicted to need {format_bytes(best.predicted_peak_bytes)}: "
            f"consider --cut {best.name}."
        )
    chance = f"differences below {noise:.1%} are chance on {analysis.held_images} images"
    as_good = [cut for cut in tried if _accuracy(cut) >= mine]
    least = min([chosen, *as_good], key=lambda cut: cut.predicted_peak_bytes)
    if least is not chosen:
        return (
            f"The head after {least.name}, really trained, was at least as accurate ({_accuracy(least):.1%} of all "
            f"classes, {mine:.1%} after {chosen.name}; {chance}) and is predicted to need less, "
            f"{format_bytes(least.predicted_peak_bytes)}: consider --cut {least.name}."
        )
    found = f"{mine:.1%} of all classes; {chance}"
    return f"Of the heads really trained none is clearly better than {chosen.name}'s ({found})."


def _accuracy(cut: CutRecord) -> float:
    return cut.head_accuracy or 0.0


def _error_of_difference(first: float, second: float, analysis: Analysis) -> float:
    """Standard error of the difference of two shares of the held-out images, as if they were independent."""
    variance = first * (1 - first) + second * (1 - second)
    return float((variance / max(1, analysis.held_images)) ** 0.5)


def _saturated(analysis: Analysis) -> str:
    least = min(cut.learning_plasticity for cut in analysis.cuts)
    if least < _SATURATED:
        return ""
    return (
        f"Plasticity is {least:.2f} at the least at any cut: these tasks are so easy for the network that it tells no "
        "layers apart, and generalizability is stability alone. Fewer tasks with more classes each are harder."
    )


def _rising(analysis: Analysis) -> str:
    found = analysis.stability_rank_correlation
    if found is None or found < 0:
        return ""
    return (
        f"Stability does not fall with depth here (rank correlation {found:.2f}), as it does in most trained networks: "
        "look at the curve before you follow the rule."
    )


def _partly_trained(analysis: Analysis) -> str:
    if analysis.trained_from == "image":
        return ""
    return (
        f"Layers before {analysis.trained_from} hold an operator that can't be trained here; they stayed as they are "
        "and are not judged."
    )


def _estimate(analysis: Analysis) -> str:
    profile = analysis.device_profile
    if profile.usable_memory.kind == "measured":
        return ""
    return f"The usable memory of {profile.title} is not measured here ({profile.usable_memory.kind})."
