"""What computes the trunk: TensorRT, CUDA or the processor, the first wanted one that works here.

``--provider`` says what is wanted. Without it the bundle says what its device has. If the bundle says nothing, CUDA is
tried if this onnxruntime has it. A provider that is missing, does not load or does not accept the graph is passed over,
and the reason is noted. The processor comes last and always works. The head learns on the processor, or in torch.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lightcl_edge.bundle.manifest import PROVIDERS, Manifest

TENSORRT, CUDA, CPU = PROVIDERS
#: Neither user nor bundle asked. Then nobody needs to be told that this onnxruntime has no CUDA.
DEFAULT = "the default"
#: Names that onnxruntime uses.
CLASSES = {TENSORRT: "TensorrtExecutionProvider", CUDA: "CUDAExecutionProvider", CPU: "CPUExecutionProvider"}
#: TensorRT may try kernels that need this much working memory.
TENSORRT_WORKSPACE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class ProviderChoice:
    """What computes the trunk, and why."""

    name: str  # tensorrt, cuda or cpu
    reason: str  # for a person; says what was passed over


def wanted(asked: str | None, manifest: Manifest) -> tuple[list[str], str]:
    """Providers in the order in which they are tried, the processor last, and who wants them.

    ``asked`` is what the command line wants; None for what the bundle wants.
    """
    if asked is not None:
        return list(dict.fromkeys([asked, CPU])), "asked for"
    if manifest.providers:
        return list(dict.fromkeys([*manifest.providers, CPU])), "of the bundle's device"
    return [CUDA, CPU], DEFAULT


def passed_over(name: str, dtype: str, available: Sequence[str]) -> str | None:
    """Why a provider is not tried; None when it is. ``available`` is what onnxruntime was built with."""
    if CLASSES[name] not in available:
        return f"{name} is not in this onnxruntime"
    if name == CUDA and dtype == "int8":
        return "cuda has no 8-bit convolutions"
    return None


def options_of(name: str, dtype: str) -> dict[str, str]:
    """Options under which a provider takes no more memory than it needs."""
    if name == CUDA:
        # A Jetson's GPU shares the memory of the board: grow by what is asked for (not by powers of two), and choose
        # kernels without trying them all. No reduced precision: the golden check expects float32.
        return {
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            "cudnn_conv_use_max_workspace": "0",
            "use_tf32": "0",
        }
    if name == TENSORRT:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightcl-edge" / "tensorrt"
        return {
            "trt_engine_cache_enable": "1",  # building an engine takes minutes
            "trt_engine_cache_path": str(cache),
            "trt_max_workspace_size": str(TENSORRT_WORKSPACE_BYTES),
            "trt_fp16_enable": "1" if dtype == "fp16" else "0",
            "trt_int8_enable": "1" if dtype == "int8" else "0",
        }
    return {}


def open_with(
    order: Sequence[str], wish: str, dtype: str, available: Sequence[str], make: Callable[[list[Any]], Any]
) -> tuple[Any, ProviderChoice]:
    """Open a session with the first provider that works.

    Args:
        order: names, the processor last.
        wish: who wants them; part of the reason.
        make: makes a session from onnxruntime's argument ``providers``. Its error with the processor is not caught.
    """
    skipped: list[str] = []
    for name in order:
        if name == CPU:
            break
        why = passed_over(name, dtype, available)
        if why is None:
            try:
                session = make([(CLASSES[name], options_of(name, dtype)), CLASSES[CPU]])
            except Exception as error:  # onnxruntime's exceptions share no base class
                why = f"{name} does not accept the trunk ({str(error).splitlines()[0][:120]})"
            else:
                # onnxruntime goes on without a provider whose libraries do not load, and only logs it
                if CLASSES[name] in session.get_providers():
                    return session, ProviderChoice(name, "; ".join([wish, *skipped]))
                why = f"{name} does not load here"
        if wish != DEFAULT or CLASSES[name] in available:
            skipped.append(why)
    return make([CLASSES[CPU]]), ProviderChoice(CPU, "; ".join([*(skipped or [wish]), *_on_a_processor(dtype)]))


def _on_a_processor(dtype: str) -> list[str]:
    return ["it computes the half-precision trunk in float32"] if dtype == "fp16" else []


def foresee(asked: str | None, manifest: Manifest, available: Sequence[str]) -> ProviderChoice:
    """What would be tried first here; nothing is opened."""

    def pretend(providers: list[Any]) -> Any:
        return SimpleNamespace(get_providers=lambda: [each if isinstance(each, str) else each[0] for each in providers])

    return open_with(*wanted(asked, manifest), manifest.model.trunk_dtype, available, pretend)[1]
