"""The report as one HTML file that refers to nothing outside itself."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from lightcl_edge.console import format_bytes
from lightcl_profiler.record import Phase, Report, Run
from lightcl_profiler.render_text import COLUMNS, figure, headline, machine_lines, work_lines
from lightcl_profiler.summary import typical_run
from lightcl_profiler.svg import COLOURS, Bar, Curve, bar_chart, overlay_chart, phase_chart

_WIDE, _NARROW = 960, 360
_TAG = '<span class="tag">measured</span>'
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_HOW = [
    "Each method runs in a process of its own, started fresh: no memory is inherited. All get the same "
    "images, batch size, number of threads, seed and epochs; runs of the methods take turns. lightcl learns each "
    "task in a process of its own, as lightcl-edge train does on the device; its peak is that of the largest.",
    "Peak RSS is the kernel's own high-water mark (VmHWM) of the whole process, libraries included; the "
    "counter is reset at each phase, so that phases have peaks of their own. Imports alone is the same "
    "counter before any data.",
    "PSS (shared pages by their share), anonymous, file-backed and swap are sampled from outside about "
    "every 20 ms; anonymous and file-backed are those at the sample with the highest RSS.",
    "Per image is the wall time after the imports divided by the number of training images, all epochs "
    "included. lightcl keeps a share of the images out of training for its gate; sgd trains on all of them.",
    "With four classes or more the data is learned as two tasks, one after the other, for LightCL holds its "
    "patterns from the second task on.",
]


def _both(draw_wide: str, draw_narrow: str) -> str:
    """A picture for wide and one for narrow screens; the style sheet shows one of them."""
    return f'<div class="wide">{draw_wide}</div><div class="narrow">{draw_narrow}</div>'


def _table(header: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are HTML already; on a phone each row becomes a card."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = []
    for row in rows:
        cells = [f'<td class="name">{row[0]}</td>']
        pairs = zip(header[1:], row[1:], strict=True)
        cells += [f'<td class="figure" data-label="{escape(name)}"><span>{cell}</span></td>' for name, cell in pairs]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="cards"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _key(colour: int, label: str) -> str:
    return f'<span class="key c{colour % COLOURS}"></span>{escape(label)}'


def _peaks(report: Report) -> str:
    bars = [
        Bar(
            each.method,
            int(each.figures["peak_rss_bytes"].median),
            int(each.figures["import_rss_bytes"].median),
        )
        for each in report.summary
    ]
    title = "Peak resident memory of each method, with the share of its imports"
    note = f'<p class="soft">The faded part is what imports alone need, before any data. {_TAG}</p>'
    return _both(bar_chart(bars, _WIDE, title), bar_chart(bars, _NARROW, title)) + note


def _figures(report: Report) -> str:
    """The table of all figures, one method a column on the desktop: figures go down."""
    header = ["figure", *(each.method for each in report.summary)]
    rows = []
    for name, title, show in COLUMNS:
        row = [escape(title)]
        for each in report.summary:
            median, between = figure(each, name, show)
            if median == "unavailable":
                row.append("unavailable")
                continue
            row.append(f"{median}{_TAG}" + (f'<span class="range">{between}</span>' if between else ""))
        rows.append(row)
    rows.append(["runs", *(str(each.runs) for each in report.summary)])
    titles = "".join(f"<li><b>{escape(each.method)}</b>: {escape(each.title)}</li>" for each in report.summary)
    return f"<ul>{titles}</ul>{_table(header, rows)}"


def _curve(run: Run, colour: int) -> Curve:
    points = [(seconds, rss) for seconds, rss, _ in run.timeline]
    marks = [(phase.name, phase.start_seconds) for phase in run.phases]
    return Curve(run.method, colour, points, marks, run.wall_seconds)


def _timelines(report: Report) -> str:
    curves = [_curve(typical_run(report.runs, each.method), i) for i, each in enumerate(report.summary)]
    title = "Resident memory of the methods over time"
    legend = "".join(f'<span class="item">{_key(curve.colour, curve.label)}</span>' for curve in curves)
    parts = [
        f'<p class="legend">{legend}<span class="soft">dotted: a phase starts</span></p>',
        _both(overlay_chart(curves, _WIDE, title), overlay_chart(curves, _NARROW, title)),
    ]
    for curve in curves:
        title = f"Resident memory of {curve.label} over its own time and scale, with its phases"
        parts.append(f"<h3>{_key(curve.colour, curve.label)}, own time and scale</h3>")
        parts.append(_both(phase_chart(curve, _WIDE, title), phase_chart(curve, _NARROW, title)))
    parts.append(f'<p class="soft">RSS, sampled; of each method the run with the median peak. {_TAG}</p>')
    return "".join(parts)


def _phase_row(method: str, phase: Phase) -> list[str]:
    return [
        f"{escape(method)}: {escape(phase.name)}",
        f"{phase.start_seconds:.2f} s",
        f"{phase.seconds:.2f} s",
        format_bytes(phase.peak_rss_bytes) + _TAG,
    ]


def _phases(report: Report) -> str:
    rows = [
        _phase_row(each.method, phase)
        for each in report.summary
        for phase in typical_run(report.runs, each.method).phases
    ]
    return _table(["phase", "starts at", "takes", "peak RSS in it"], rows)


def _runs(report: Report) -> str:
    rows = [
        [
            f"{escape(run.method)}, run {run.run}",
            format_bytes(run.peak_rss_bytes) + _TAG,
            f"{run.wall_seconds:.1f} s",
            "not finite" if run.loss is None else f"{run.loss:.4f}",
            escape("; ".join(run.notes)) or "none",
        ]
        for run in report.runs
    ]
    return _table(["run", "peak RSS", "wall", "last loss", "notes"], rows)


def _pairs(lines: list[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lines)
    return f"<table><tbody>{rows}</tbody></table>"


def _failures(report: Report) -> str:
    return "".join(
        f'<p class="failure"><b>{escape(each.method)}, run {each.run}, did not complete.</b> {escape(each.message)}</p>'
        for each in report.failures
    )


def render_html(report: Report) -> str:
    """The report as a page.

    Args:
        report: what was measured.

    Returns:
        The whole document, for one file.
    """
    style = files("lightcl_profiler").joinpath("report.css").read_text(encoding="utf-8")
    drawn = bool(report.summary)
    sections = [
        ("Peak memory of the whole process", _peaks(report) if drawn else ""),
        ("All figures", _figures(report) if drawn else ""),
        ("Memory over time", _timelines(report) if drawn else ""),
        ("Phases", _phases(report) if drawn else ""),
        ("Runs", _runs(report) if drawn else ""),
        ("What every method was given", _pairs(work_lines(report))),
        ("The machine", _pairs(machine_lines(report.machine))),
        ("The command", f"<pre>{escape(report.command)}</pre>"),
        ("How it was measured", f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in _HOW)}</ul>"),
    ]
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections if content)
    model = escape(report.work.model)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Memory profile of {model}</title>\n<style>\n{style}</style></head>\n<body><main>"
        f'<h1>Memory profile of {model}</h1><p class="lead">{escape(headline(report))}</p>'
        f'<p class="soft">{escape(report.created)}, {escape(report.machine.cpu_model)}</p>'
        f"{_failures(report)}{body}</main></body></html>\n"
    )
