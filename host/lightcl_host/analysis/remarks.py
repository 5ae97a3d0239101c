"""What a person should know before they follow the choice, in sentences."""

from lightcl_edge.console.text import format_bytes
from lightcl_host.analysis.cut_rule import chance
from lightcl_host.analysis.record import Analysis

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
        _beside_rule_of_thumb(analysis),
        _saturated(analysis),
        _rising(analysis),
        _partly_trained(analysis),
        _estimate(analysis),
    ]
    return [text for text in found if text]


def _beside_rule_of_thumb(analysis: Analysis) -> str:
    """Would the rule of thumb, which needs no analysis, have done as well?"""
    if analysis.chosen is None:
        return ""
    thumb, chosen = analysis.cut(analysis.rule_of_thumb), analysis.cut(analysis.chosen)
    if thumb is chosen:
        return f"The rule of thumb (no analysis) takes {thumb.name} too."
    if thumb.head_accuracy is None or chosen.head_accuracy is None:
        return f"The rule of thumb (no analysis) takes {thumb.name}; its head was not compared with this one."
    gap = chosen.head_accuracy - thumb.head_accuracy
    if gap > chance(chosen.head_accuracy, thumb.head_accuracy, analysis.held_images):
        return f"The rule of thumb (no analysis) takes {thumb.name}, whose head is less accurate by {gap:.1%}."
    return (
        f"The rule of thumb (no analysis) takes {thumb.name}, as good within chance ({thumb.head_accuracy:.1%}) at "
        f"{format_bytes(thumb.predicted_peak_bytes)} and {thumb.relative_time:.0%} of the time."
    )


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
