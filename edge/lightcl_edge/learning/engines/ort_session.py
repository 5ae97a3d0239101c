"""Opens onnxruntime sessions that hold as little memory as they can."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightcl_edge.errors import BundleError
from lightcl_edge.machine.description import usable_cores
from lightcl_edge.machine.forks import never_destroy_in_children
from lightcl_edge.machine.freeing import give_back


def open_session(
    model: Path | bytes, threads: int | None, name: str, initialisers: Mapping[str, Any] | None = None
) -> Any:
    """Open a graph on the CPU so that nodes run in its order and each tensor is freed after its last use.

    The order holds only if graph optimisation is off as well.

    Args:
        model: a file or its bytes.
        threads: of an operator; None for all usable cores.
        name: for messages.
        initialisers: taken in place of those of the same names, without a copy.

    Raises:
        BundleError: when onnxruntime can't read or run the graph.
    """
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = False
    options.enable_mem_reuse = False  # it keeps freed blocks for later tensors of the same size
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_order = runtime.ExecutionOrder.PRIORITY_BASED
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Weights change under the session: a copy in the kernels' own layout would go stale.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.log_severity_level = 3
    for key, value in (initialisers or {}).items():
        options.add_initializer(key, value)
    source = str(model) if isinstance(model, Path) else model
    try:
        session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime's exceptions share no base class of their own
        raise BundleError(
            f"{name}: onnxruntime {runtime.__version__} can't open the graph: {str(error)[:300]}; "
            "expected a graph of this bundle's export; export it again or update onnxruntime"
        ) from error
    never_destroy_in_children(session)
    give_back()  # opening needs more than running
    return session
