"""Memory and operations of every method as the paper calculates them, for the benchmark's own network and work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightcl_edge.bundle.bundle import WHOLE_NETWORK, Bundle
from lightcl_edge.errors import LightclError
from lightcl_edge.learning.strategies.choice import recommended_for
from lightcl_host.benchmark.baseline_methods import build_network, graph_file, remembered
from lightcl_host.benchmark.methods import METHODS
from lightcl_host.benchmark.options import BenchmarkOptions

if TYPE_CHECKING:
    from lightcl_profiler.paper.memory import NetworkCount


def count_bundle(options: BenchmarkOptions, bundle: Bundle, classes: int) -> NetworkCount | str:
    """Count the whole network with a classifier for so many classes; or say why there are no counts.

    A network that the user's bundle does not carry whole is not built again only to be counted.
    """
    trains_whole = any(not METHODS[name].on_device for name in options.methods)
    if not (bundle.has(WHOLE_NETWORK) or options.bundle is None or trains_whole):
        return "the bundle does not carry the whole network; export it --with-baselines"
    import torch

    from lightcl_profiler.paper.counting import count_network

    info = bundle.manifest.input
    try:
        network = build_network(graph_file(bundle, options.source, options.out), bundle, classes)
        return count_network(network, torch.zeros(1, 3, info.height, info.width))
    except LightclError as error:
        return str(error)


def calculate(
    options: BenchmarkOptions, bundle: Bundle, net: NetworkCount | str, record: dict[str, Any]
) -> dict[str, int | None]:
    """``calculated_memory_bytes`` and ``calculated_operations`` of a method, from the record of one of its runs.

    ``net`` is from :func:`count_bundle`. A figure is None where the paper's way gives none.
    """
    from lightcl_profiler.paper.memory import calculated_bytes
    from lightcl_profiler.paper.operations import Learning, calculated_operations

    if isinstance(net, str):
        return {"calculated_memory_bytes": None, "calculated_operations": None}
    settings, learner = record["settings"], METHODS[record["method"]].learner
    strategy = settings.get("strategy")
    if strategy is None:
        formula, kept = learner, 0
        held = remembered(learner, bundle.manifest.input, len(record["per_class"]), options.buffer_bytes)
    else:
        formula, kept = f"device:{strategy}", settings.get("buffer_samples", 0)
        held = recommended_for(bundle.manifest.defaults, strategy).buffer_samples
    work = Learning(tuple(record["task_images"]), settings.get("epochs") or 1, options.batch_size, held, kept)
    return {
        "calculated_memory_bytes": calculated_bytes(formula, net, options.batch_size, held, options.data.tasks),
        "calculated_operations": calculated_operations(formula, net, work),
    }
