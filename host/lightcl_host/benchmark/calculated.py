"""Memory and operations of every method as the paper calculates them, on the benchmark's own network and work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightcl_edge.bundle.bundle import WHOLE_NETWORK, Bundle
from lightcl_edge.errors import LightclError
from lightcl_edge.learning.strategies.choice import recommended_for
from lightcl_host.benchmark.baseline_methods import graph_file, remembered
from lightcl_host.benchmark.methods import make_method
from lightcl_host.benchmark.options import BenchmarkOptions

if TYPE_CHECKING:
    from lightcl_profiler.paper.memory import NetworkCount


def count_bundle(options: BenchmarkOptions, bundle: Bundle, classes: int) -> NetworkCount | str:
    """Count the whole network with a classifier for the benchmark's classes.

    Args:
        options: name the network.
        bundle: where it is cut.
        classes: of the data.

    Returns:
        The counts, or why there are none: a bundle that was brought along without its whole network is not rebuilt only
        to be counted.
    """
    trains_whole = any(not make_method(name).uses_features for name in options.methods)
    if not (bundle.has(WHOLE_NETWORK) or options.bundle is None or trains_whole):
        return "the bundle does not carry the whole network; export it --with-baselines"
    import torch

    from lightcl_profiler.networks.new_classifier import network_from_graph
    from lightcl_profiler.paper.counting import count_network

    info = bundle.manifest.input
    layers = sum(len(parameter.shape) >= 2 for parameter in bundle.manifest.head.parameters)
    try:
        network = network_from_graph(graph_file(bundle, options.source, options.out), classes, layers)
        return count_network(network, torch.zeros(1, 3, info.height, info.width))
    except LightclError as error:
        return str(error)


def calculate(
    options: BenchmarkOptions, bundle: Bundle, net: NetworkCount | str, record: dict[str, Any]
) -> dict[str, int | None]:
    """The paper's figures for a method.

    Args:
        options: of the benchmark.
        bundle: the network's.
        net: of :func:`count_bundle`.
        record: of one run of the method.

    Returns:
        ``calculated_memory_bytes`` and ``calculated_operations``; None where the paper's way gives none.
    """
    from lightcl_profiler.paper.memory import calculated_bytes
    from lightcl_profiler.paper.operations import Learning, calculated_operations

    name, settings = record["method"], record["settings"]
    strategy = settings.get("strategy")
    formula = make_method(name).formula if strategy is None else f"device:{strategy}"
    if formula is None or isinstance(net, str):
        return {"calculated_memory_bytes": None, "calculated_operations": None}
    if strategy is None:
        held = remembered(formula, bundle.manifest.input, len(record["per_class"]), options.buffer_bytes)
    else:
        held = recommended_for(bundle.manifest.defaults, strategy).buffer_samples
    kept = settings.get("buffer_samples", 0) if strategy is not None else 0
    work = Learning(_task_images(record), settings.get("epochs") or 1, options.batch_size, held, kept)
    memory = calculated_bytes(formula, net, options.batch_size, held, options.data.tasks)
    return {"calculated_memory_bytes": memory, "calculated_operations": calculated_operations(formula, net, work)}


def _task_images(record: dict[str, Any]) -> tuple[int, ...]:
    """Training images of each task; records of earlier versions have their sum alone."""
    if "task_images" in record:
        return tuple(record["task_images"])
    parts = len(record["class_incremental_matrix"])
    return tuple(round(record["training_images"] / parts) for _ in range(parts))
