"""An analysis as one HTML file that refers to nothing outside itself."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.resources import files

from lightcl_edge.console.text import count, format_bytes
from lightcl_host.analysis.charts import MEASURES, accuracy_chart, depth_chart
from lightcl_host.analysis.record import Analysis, CutRecord
from lightcl_host.analysis.render_text import with_deviation

_WIDE, _NARROW = 960, 360
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
tr.chosen td { background: var(--panel); }
.lead b { white-space: nowrap; }
table.cards td.name { overflow-wrap: normal; }
@media (min-width: 641px) { .scroll { overflow-x: auto; } .scroll table { font-size: .82rem; }
  .scroll th, .scroll td { padding-right: 8px; overflow-wrap: normal; } }
"""


def _both(draw: Callable[[int], str]) -> str:
    """A picture for wide and one for narrow screens; the style sheet shows one of them."""
    return f'<div class="wide">{draw(_WIDE)}</div><div class="narrow">{draw(_NARROW)}</div>'


def _legend() -> str:
    items = "".join(
        f'<span class="item"><span class="key c{colour}"></span>{title}</span>' for _, title, colour in MEASURES
    )
    return f'<p class="legend">{items}</p>'


def _depth(analysis: Analysis) -> str:
    correlation = analysis.stability_rank_correlation
    ranks = "" if correlation is None else f" Rank correlation of stability with depth: {correlation:.3f}."
    repeats = analysis.settings.repeats
    bars = f"Bars: standard deviation over {repeats} repeats." if repeats > 1 else "One repeat: no deviation is known."
    note = f"Every cut that can be trained, from the image to the classes. {bars}{ranks}"
    return _legend() + _both(lambda width: depth_chart(analysis, width)) + f'<p class="soft">{note}</p>'


def _accuracy(analysis: Analysis) -> str:
    if not any(cut.head_accuracy is not None for cut in analysis.cuts):
        return ""
    front = sum(cut.pareto for cut in analysis.cuts)
    line = "The line is the Pareto front: nothing is better for less memory."
    if front == 1:
        line = "One head alone is on the Pareto front: no other is better or needs less memory."
    note = (
        "Each point is a head that was really trained, task after task, with the device's own code and the defaults of "
        f"a bundle ({analysis.settings.head_epochs} epochs); accuracy is on {analysis.held_images} images that were "
        f"never trained on, among all classes. {line}"
    )
    kinds = ((3, "chosen"), (1, "on the Pareto front"), (6, "another is better for less"))
    items = "".join(f'<span class="item"><span class="key c{colour}"></span>{name}</span>' for colour, name in kinds)
    legend = f'<p class="legend">{items}</p>'
    return legend + _both(lambda width: accuracy_chart(analysis, width)) + f'<p class="soft">{note}</p>'


def _trained(cut: CutRecord) -> str:
    if not cut.shortlisted:
        return "not tried"
    return "refused by the gate" if cut.head_accuracy is None else f"{cut.head_accuracy:.1%}"


_COLUMNS: list[tuple[str, Callable[[CutRecord], str]]] = [
    ("stability", lambda cut: with_deviation(cut.memory_stability, cut.memory_stability_deviation)),
    ("plasticity", lambda cut: with_deviation(cut.learning_plasticity, cut.learning_plasticity_deviation)),
    ("generalizability", lambda cut: with_deviation(cut.generalizability, cut.generalizability_deviation)),
    ("probe before / after", lambda cut: f"{cut.probe_accuracy_before:.1%} / {cut.probe_accuracy_after:.1%}"),
    ("weights trunk / head", lambda cut: f"{cut.trunk_parameters:,} / {cut.head_parameters:,}"),
    ("MFLOPs trunk / head", lambda cut: f"{cut.trunk_flops / 1e6:.0f} / {cut.head_flops / 1e6:.0f}"),
    ("feature", lambda cut: format_bytes(cut.feature_bytes)),
    ("predicted peak", lambda cut: format_bytes(cut.predicted_peak_bytes) + ("" if cut.fits else ", too much")),
    ("time, full fine-tuning = 100%", lambda cut: f"{cut.relative_time:.1%}"),
    ("disk", lambda cut: format_bytes(cut.predicted_disk_bytes)),
    ("trained head", _trained),
]


def _table(analysis: Analysis) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("cut", *(name for name, _ in _COLUMNS)))
    rows = []
    for cut in analysis.cuts:
        mark = '<span class="tag">chosen</span>' if cut.name == analysis.chosen else ""
        cells = [f'<td class="name">{escape(cut.name)}{mark}</td>']
        cells += [
            f'<td class="figure" data-label="{escape(name)}"><span>{escape(show(cut))}</span></td>'
            for name, show in _COLUMNS
        ]
        kind = ' class="chosen"' if cut.name == analysis.chosen else ""
        rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
    table = f'<table class="cards"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    note = (
        f"Predicted: peak of the whole process for one task with a trunk of type {analysis.settings.trunk_dtype}, "
        "time as multiply-adds over those of training the whole network for as many epochs, disk for one "
        "task's features, checkpoint and generation."
    )
    return f'<div class="scroll">{table}</div><p class="soft">{note}</p>'


def _devices(analysis: Analysis) -> str:
    rows = "".join(
        f"<tr><td>{escape(each.device)}</td><td>{format_bytes(each.usable_bytes)}</td>"
        f"<td>{escape(each.chosen or 'nothing fits')}</td><td>{format_bytes(each.predicted_peak_bytes)}</td></tr>"
        for each in analysis.other_devices
    )
    head = "<tr><th>device</th><th>usable memory</th><th>cut</th><th>predicted peak</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _pairs(lines: list[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lines)
    return f"<table><tbody>{rows}</tbody></table>"


def _facts(analysis: Analysis) -> str:
    settings = analysis.settings
    tasks = "; ".join(f"task {at}: {', '.join(names)}" for at, names in enumerate(analysis.tasks, 1))
    learned = ", ".join(f"{share:.1%}" for share in analysis.whole_accuracy)
    return _pairs(
        [
            ("network", f"{analysis.model}, weights {analysis.weights}, {analysis.input_size[0]} pixels"),
            ("images", f"{analysis.train_images} to train on and {analysis.held_images} held out, of {analysis.data}"),
            ("tasks", tasks),
            (
                "fine-tuning",
                f"{settings.steps} steps of {settings.batch_size} images a task, plain SGD, learning rate "
                f"{settings.learning_rate:g}; accuracy on each task after it: {learned}",
            ),
            ("stability", f"linear CKA, unbiased, in batches of up to {settings.similarity_batch} held-out images"),
            (
                "plasticity",
                f"ridge {settings.ridge:g} on standardised features, maps averaged to {settings.probe_cells} x "
                f"{settings.probe_cells} cells at most; fitted on training images, judged on held-out ones",
            ),
            ("predictions", f"engine {settings.engine}"),
            ("seed", f"{analysis.seed}, {count(settings.threads, 'thread')}"),
            ("packages", ", ".join(f"{name} {number}" for name, number in analysis.packages.items())),
        ]
    )


def _profile(analysis: Analysis) -> str:
    device = analysis.device_profile
    memory = device.usable_memory
    return _pairs(
        [
            ("device", f"{device.title} ({device.name})"),
            ("usable memory", f"{format_bytes(memory.bytes)}, {memory.kind}: {memory.source}"),
            ("memory in all", f"{format_bytes(device.physical_memory.bytes)}: {device.physical_memory.source}"),
            ("processor", f"{count(device.cores.count, 'core')}, {device.instruction_set.name}"),
            ("page size", f"{format_bytes(device.page_size.bytes)}: {device.page_size.source}"),
            ("accelerators", f"{', '.join(device.accelerators.names) or 'none'}: {device.accelerators.source}"),
            ("engines", f"{device.engines.note} ({device.engines.source})"),
        ]
    )


def render_html(analysis: Analysis) -> str:
    """The analysis as a page.

    Args:
        analysis: what was found.

    Returns:
        The whole document, for one file.
    """
    style = files("lightcl_profiler").joinpath("report.css").read_text(encoding="utf-8") + _STYLE
    found = "".join(f"<li>{escape(text)}</li>" for text in analysis.choice.remarks)
    sections = [
        ("How well each layer generalises", _depth(analysis)),
        ("Heads really trained", _accuracy(analysis)),
        ("All cuts", _table(analysis)),
        ("The same rule for other boards", _devices(analysis)),
        ("The device", _profile(analysis)),
        ("How it was measured", _facts(analysis)),
        ("The command", f"<pre>{escape(analysis.command)}</pre>"),
    ]
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections if content)
    title = f"Where to cut {escape(analysis.model)} for {escape(analysis.device)}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>\n<style>\n{style}</style></head>\n<body><main><h1>{title}</h1>"
        f'<p class="lead">{escape(analysis.choice.reason)}</p><ul>{found}</ul>{body}</main></body></html>\n'
    )
