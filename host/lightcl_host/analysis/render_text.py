"""An analysis for a terminal."""

import textwrap

from lightcl_edge.console.text import format_bytes, table
from lightcl_host.analysis.record import Analysis, CutRecord

_HEADER = ["cut", "stability", "plasticity", "general.", "feature", "peak", "time", "accuracy"]
#: Characters of a line.
WIDTH = 100
_LONGEST_NAME = 24
#: Cuts that are shown beside those with a trained head.
_OTHERS = 6


def render_text(analysis: Analysis) -> str:
    """The choice, the cuts that matter, what the rule takes for other boards, and what to do next."""
    parts = [analysis.choice.reason, *(f"- {text}" for text in analysis.choice.remarks)]
    shown = _that_matter(analysis)
    parts += ["", table([_row(analysis, cut) for cut in shown], _HEADER)]
    parts += [f"{len(shown)} of {len(analysis.cuts)} cuts; time: of training the whole network; ! does not fit"]
    rows = [
        [
            each.device,
            format_bytes(each.usable_bytes),
            _short(each.chosen or "nothing fits"),
            format_bytes(each.predicted_peak_bytes),
        ]
        for each in analysis.other_devices
    ]
    parts += ["", table(rows, ["device", "usable memory", "cut", "predicted peak"]), "", _advice(analysis)]
    return "\n".join(_wrapped(part) for part in parts)


def _wrapped(text: str) -> str:
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent="  " if line.startswith("- ") else "", break_on_hyphens=False)
        if len(line) > WIDTH
        else line
        for line in text.split("\n")
    )


def _that_matter(analysis: Analysis) -> list[CutRecord]:
    """The chosen cut, those with a trained head, the first, the last, and others spread over the depth."""
    others = {round(at * (len(analysis.cuts) - 1) / (_OTHERS - 1)) for at in range(_OTHERS)}
    named = (analysis.chosen, analysis.rule_of_thumb)
    return [cut for cut in analysis.cuts if cut.shortlisted or cut.name in named or cut.depth in others]


def _advice(analysis: Analysis) -> str:
    if analysis.chosen is None:
        return "Next: try a smaller --image-size or a smaller network."
    if not any(cut.shortlisted for cut in analysis.cuts):
        return "Next: run it without --quick and with --shortlist 3 to compare trained heads before you follow it."
    return "Next: lightcl-host export with --analysis and the folder given as --out makes the bundle with this cut."


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else "..." + name[3 - _LONGEST_NAME :]


def with_deviation(mean: float, deviation: float) -> str:
    """``0.912 ± 0.004``, or the figure alone where it has no error."""
    return f"{mean:.3f} ± {deviation:.3f}" if deviation else f"{mean:.3f}"


def _row(analysis: Analysis, cut: CutRecord) -> list[str]:
    mark = "* " if cut.name == analysis.chosen else "  "
    accuracy = "" if not cut.shortlisted else "refused" if cut.head_accuracy is None else f"{cut.head_accuracy:.1%}"
    return [
        mark + _short(cut.name),
        with_deviation(cut.memory_stability, cut.memory_stability_deviation),
        f"{cut.learning_plasticity:.3f}",
        f"{cut.generalizability:.3f}",
        format_bytes(cut.feature_bytes),
        format_bytes(cut.predicted_peak_bytes) + ("" if cut.fits else " !"),
        f"{cut.relative_time:.0%}",
        accuracy,
    ]
