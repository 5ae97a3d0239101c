"""An analysis for a terminal."""

from lightcl_edge.console.text import format_bytes, table
from lightcl_host.analysis.record import Analysis, CutRecord

_HEADER = ["cut", "stability", "plasticity", "generalizability", "head weights", "feature", "peak"]
_HEADER += ["time, full = 100%", "accuracy"]


def render_text(analysis: Analysis) -> str:
    """The choice, the table of all cuts, and what the rule takes for other boards."""
    parts = [analysis.choice.reason, *(f"- {text}" for text in analysis.choice.remarks)]
    parts += ["", table([_row(analysis, cut) for cut in analysis.cuts], _HEADER)]
    rows = [
        [
            each.device,
            format_bytes(each.usable_bytes),
            each.chosen or "nothing fits",
            format_bytes(each.predicted_peak_bytes),
        ]
        for each in analysis.other_devices
    ]
    parts += ["", table(rows, ["device", "usable memory", "cut", "predicted peak"])]
    return "\n".join(parts)


def with_deviation(mean: float, deviation: float) -> str:
    """``0.912 ± 0.004``, or the mean alone for one repeat."""
    return f"{mean:.3f} ± {deviation:.3f}" if deviation else f"{mean:.3f}"


def _row(analysis: Analysis, cut: CutRecord) -> list[str]:
    mark = "* " if cut.name == analysis.chosen else "  "
    accuracy = "" if not cut.shortlisted else "refused" if cut.head_accuracy is None else f"{cut.head_accuracy:.1%}"
    return [
        mark + cut.name,
        with_deviation(cut.memory_stability, cut.memory_stability_deviation),
        with_deviation(cut.learning_plasticity, cut.learning_plasticity_deviation),
        with_deviation(cut.generalizability, cut.generalizability_deviation),
        f"{cut.head_parameters:,}",
        format_bytes(cut.feature_bytes),
        format_bytes(cut.predicted_peak_bytes) + ("" if cut.fits else " !"),
        f"{cut.relative_time:.1%}",
        accuracy,
    ]
