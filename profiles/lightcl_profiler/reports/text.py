"""The report for a terminal."""

from collections.abc import Callable

from lightcl_edge.console.text import count, format_bytes, table
from lightcl_edge.machine.description import Machine
from lightcl_profiler.records.record import MethodSummary, Report
from lightcl_profiler.records.summary import COLUMNS, typical_run

_SIDE_BY_SIDE = 4
_MAIN = {"peak_rss_bytes", "import_rss_bytes", "pss_peak_bytes", "cgroup_peak_bytes", "wall_seconds", "cpu_seconds"}


def figure(summary: MethodSummary, name: str, show: Callable[[float], str]) -> tuple[str, str]:
    """The median as text, or ``unavailable``; and ``least to most`` when runs differ, else an empty text."""
    found = summary.figures.get(name)
    if found is None:
        return "unavailable", ""
    least, most = show(found.minimum), show(found.maximum)
    return show(found.median), "" if least == most else f"{least} to {most}"


def headline(report: Report) -> str:
    """One sentence: the least and the most memory, and how many times one is the other."""
    peaks = sorted((each.figures["peak_rss_bytes"].median, each.method) for each in report.summary)
    if not peaks:
        return "No method completed."
    (low, best), (high, worst) = peaks[0], peaks[-1]
    if best == worst:
        return f"{best} peaked at {format_bytes(low)}."
    share = f"{high / low:.1f} times" if low else "more than"
    return f"{best} peaked at {format_bytes(low)}, {worst} at {format_bytes(high)}: {share} as much."


def machine_lines(machine: Machine) -> list[tuple[str, str]]:
    """The machine as names and values."""
    limit = machine.cgroup
    if machine.cgroup != "unavailable":
        bound = machine.cgroup_limit_bytes
        limit = f"{machine.cgroup}, {'no limit' if bound is None else format_bytes(bound)}"
    lines = [
        ("processor", f"{machine.cpu_model} ({machine.architecture}), {machine.cores} usable cores"),
        ("memory", f"{format_bytes(machine.ram_bytes)}, pages of {format_bytes(machine.page_size_bytes)}"),
        ("memory control group", limit),
        ("kernel", machine.kernel),
        ("Python", machine.python),
        ("packages", ", ".join(f"{name} {version}" for name, version in machine.packages.items())),
    ]
    return [("board", machine.board), *lines] if machine.board else lines


def work_lines(report: Report) -> list[tuple[str, str]]:
    """What every method was given, as names and values."""
    work = report.work
    tasks = "; ".join(f"task {i}: {', '.join(names)}" for i, names in enumerate(work.tasks, 1))
    images = f"{work.images} of {work.data}" + (f", {work.skipped_images} unreadable" if work.skipped_images else "")
    return [
        ("bundle", f"{work.bundle}: {work.model} cut at {work.cut}, {work.trunk_dtype} trunk"),
        ("images", images),
        ("tasks", tasks),
        ("training", f"{count(work.epochs, 'epoch')}, batch {work.batch_size}, learning rate {work.learning_rate:g}"),
        ("same for all", f"{work.threads} threads, seed {work.seed}"),
        ("engine asked for", work.engine),
    ]


def _with_range(summary: MethodSummary, name: str, show: Callable[[float], str]) -> str:
    median, between = figure(summary, name, show)
    return f"{median} ({between})" if between else median


def _figures(report: Report) -> str:
    """A few methods stand side by side, more of them one below the other with the main figures."""
    summary = report.summary
    if len(summary) <= _SIDE_BY_SIDE:
        rows = [[title, *(_with_range(each, name, show) for each in summary)] for name, title, show in COLUMNS]
        return table(rows, ["measured", *(each.method for each in summary)])
    columns = [column for column in COLUMNS if column[0] in _MAIN]
    rows = [[each.method, *(figure(each, name, show)[0] for name, _, show in columns)] for each in summary]
    return table(rows, ["measured", *(title for _, title, _ in columns)])


def render_text(report: Report) -> str:
    """The report as text: the figures, each method's phases, the machine."""
    parts = [headline(report), "", _figures(report)]
    limits = [
        [each.method, each.reason or format_bytes(each.smallest_bytes or 0), str(len(each.trials))]
        for each in report.limits
    ]
    parts += ["", table(limits, ["method", "smallest memory limit", "trials"])] if limits else []
    phases = [
        [each.method, phase.name, f"{phase.seconds:.2f} s", format_bytes(phase.peak_rss_bytes)]
        for each in report.summary
        for phase in typical_run(report.runs, each.method).phases
    ]
    parts += ["", table(phases, ["method", "phase", "time", "peak RSS in it"]), ""]
    parts += [f"FAILED {each.method}, run {each.run}: {each.message}" for each in report.failures]
    parts += [f"{name}: {value}" for name, value in [*work_lines(report), *machine_lines(report.machine)]]
    return "\n".join(parts)
