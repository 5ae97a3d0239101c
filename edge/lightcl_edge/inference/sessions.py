"""ONNX Runtime sessions set up for little memory, and what can go wrong in making one."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import BundleError, NoEngineError, UsageError
from lightcl_edge.inference.providers import CPU, ProviderChoice, open_with
from lightcl_edge.machine.description import usable_cores
from lightcl_edge.machine.forks import never_destroy_in_children
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.machine.memory_limits import kernel_text

#: x86 processors without VNNI add products of bytes in 16 bits, which saturate. An 8-bit trunk would give other
#: features there. With this option onnxruntime takes other kernels.
EXACT_INTEGERS = "session.x64quantprecision"
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})


@lru_cache(maxsize=1)
def integer_options() -> dict[str, str]:
    """Options of a session for exact sums of bytes here: none where there is VNNI, which they would slow down."""
    flags = re.search(r"^flags\s*:(.*)$", kernel_text("/proc/cpuinfo"), re.M)
    return {} if flags and _VNNI.intersection(flags[1].split()) else {EXACT_INTEGERS: "1"}


def import_onnxruntime() -> Any:
    """The onnxruntime module. Raises NoEngineError when it is not installed or does not load here."""
    known = "onnxruntime" in sys.modules
    try:
        import onnxruntime
    except ImportError as error:
        raise NoEngineError(f"onnxruntime can't be imported ({error}); pip install onnxruntime") from error
    if not known:
        give_back()  # importing reads more of the libraries than a session needs
    return onnxruntime


def inference_session(
    path: Path,
    threads: int | None,
    *,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
    fast: bool = False,
    providers: tuple[Sequence[str], str] = ((CPU,), "the default"),
    dtype: str = "fp32",
) -> InferenceSession:
    """A session that holds little memory, or one that runs many equal batches fast.

    Args:
        threads: for one operator; None for all processors this process may use.
        weights: take these in place of the initialisers of the same names, without a copy.
        fast: optimise fully, and let onnxruntime keep its working memory between runs (arena). It then never gives
            back the memory of the largest batch. For equal batches that is less than what the C library's heaps waste:
            extraction with EfficientNet-Lite0 at 128 pixels, batch 8, peaks at 124 MiB with the arena, 340 MiB without.
        providers: as :func:`lightcl_edge.inference.providers.wanted` gives them.
        dtype: of the graph's weights; it decides what a provider can do.

    Raises:
        BundleError: when onnxruntime does not accept the file.
    """
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.enable_cpu_mem_arena = fast
    options.enable_mem_pattern = False
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads wait for work within a run without giving up their processor, which is faster, and not after it.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for option, setting in integer_options().items():
        options.add_session_config_entry(option, setting)
    values = {name: runtime.OrtValue.ortvalue_from_numpy(array) for name, array in (weights or {}).items()}
    if not fast or values:
        # The highest level copies convolution weights into another layout. It takes them from the file, not from what
        # replaces them: predictions would silently use the exported weights (onnxruntime 1.32).
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    for name, value in values.items():
        options.add_initializer(name, value)
    available = runtime.get_available_providers()
    try:
        session, choice = open_with(
            *providers, dtype, available, lambda names: runtime.InferenceSession(str(path), options, providers=names)
        )
    except Exception as error:  # onnxruntime's exception classes share no public base
        raise BundleError(f"{path.name} is not accepted by onnxruntime {runtime.__version__}: {error}") from error
    give_back()  # opening needs more than running
    return InferenceSession(session, values, choice)


class InferenceSession:
    """An onnxruntime session together with the weights it must keep alive."""

    def __init__(self, session: Any, values: Mapping[str, Any], provider: ProviderChoice) -> None:
        self._session, self._values, self.provider = session, values, provider
        self._process = os.getpid()
        never_destroy_in_children(session)

    def run(self, outputs: list[str], inputs: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.float32]]:
        """The named outputs for the named inputs. Raises BundleError when shapes or types do not fit the graph."""
        if os.getpid() != self._process:
            raise UsageError("this session was opened before the process forked; open another in the child")
        try:
            return list(self._session.run(outputs, dict(inputs)))
        except Exception as error:  # no public base here either
            raise BundleError(f"onnxruntime can't run the graph: {error}") from error
