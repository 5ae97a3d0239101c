"""An analysis as one HTML file that refers to nothing outside itself."""

from collections.abc import Callable
from functools import partial

from lightcl_edge.console.text import count, format_bytes
from lightcl_host.analysis.charts import HEADS, MEASURES, accuracy_chart, depth_chart
from lightcl_host.analysis.record import Analysis, CutRecord
from lightcl_host.analysis.render_text import with_deviation
from lightcl_profiler.reports.page import Table, columns, render

#: Between two figures; a line may end after it, not before.
_OR = "\u00a0/ "


def _trained(cut: CutRecord) -> str:
    if not cut.shortlisted:
        return "not tried"
    return "refused by the gate" if cut.head_accuracy is None else f"{cut.head_accuracy:.1%}"


_COLUMNS: dict[str, Callable[[CutRecord], str]] = {
    "cut": lambda cut: cut.name,
    "stability": lambda cut: with_deviation(cut.memory_stability, cut.memory_stability_deviation),
    "plasticity": lambda cut: with_deviation(cut.learning_plasticity, cut.learning_plasticity_deviation),
    "generalizability": lambda cut: with_deviation(cut.generalizability, cut.generalizability_deviation),
    "probe before / after": lambda cut: f"{cut.probe_accuracy_before:.1%}{_OR}{cut.probe_accuracy_after:.1%}",
    "weights trunk / head": lambda cut: f"{cut.trunk_parameters:,}{_OR}{cut.head_parameters:,}",
    "MFLOPs trunk / head": lambda cut: f"{cut.trunk_flops / 1e6:.0f}{_OR}{cut.head_flops / 1e6:.0f}",
    "feature": lambda cut: format_bytes(cut.feature_bytes),
    "predicted peak": lambda cut: format_bytes(cut.predicted_peak_bytes) + ("" if cut.fits else ", too much"),
    "time, full fine-tuning = 100%": lambda cut: f"{cut.relative_time:.1%}",
    "disk": lambda cut: format_bytes(cut.predicted_disk_bytes),
    "trained head": _trained,
}


def _facts(analysis: Analysis) -> list[tuple[str, str]]:
    settings = analysis.settings
    tasks = "; ".join(f"task {at}: {', '.join(names)}" for at, names in enumerate(analysis.tasks, 1))
    learned = ", ".join(f"{share:.1%}" for share in analysis.whole_accuracy)
    return [
        ("network", f"{analysis.model}, weights {analysis.weights}, {analysis.input_size[0]} pixels"),
        ("images", f"{analysis.train_images} to train on and {analysis.held_images} held out, of {analysis.data}"),
        ("tasks", tasks),
        (
            "fine-tuning",
            f"{', '.join(map(str, analysis.steps))} steps of {settings.batch_size} images, plain SGD, learning rate "
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


def _device(analysis: Analysis) -> list[tuple[str, str]]:
    device = analysis.device_profile
    memory = device.usable_memory
    return [
        ("device", f"{device.title} ({device.name})"),
        ("usable memory", f"{format_bytes(memory.bytes)}, {memory.kind}: {memory.source}"),
        ("memory in all", f"{format_bytes(device.physical_memory.bytes)}: {device.physical_memory.source}"),
        ("processor", f"{count(device.cores.count, 'core')}, {device.instruction_set.name}"),
        ("page size", f"{format_bytes(device.page_size.bytes)}: {device.page_size.source}"),
        ("accelerators", f"{', '.join(device.accelerators.names) or 'none'}: {device.accelerators.source}"),
        ("engines", f"{device.engines.note} ({device.engines.source})"),
    ]


def render_html(analysis: Analysis) -> str:
    """The whole page."""
    return render(
        "analysis.html",
        "lightcl_host.analysis",
        title=f"Where to cut {analysis.model} for {analysis.device}",
        lead=analysis.choice.reason,
        analysis=analysis,
        trained=any(cut.head_accuracy is not None for cut in analysis.cuts),
        front=sum(cut.pareto for cut in analysis.cuts),
        measures=[(colour, title) for _, title, colour in MEASURES],
        depth=partial(depth_chart, analysis),
        heads=HEADS,
        accuracy=partial(accuracy_chart, analysis),
        cuts=Table(columns("", *_COLUMNS), [[show(cut) for show in _COLUMNS.values()] for cut in analysis.cuts]),
        device=_device(analysis),
        facts=_facts(analysis),
    )
