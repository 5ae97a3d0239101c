"""What computes the trunk: TensorRT, CUDA or the processor, the first of the wanted ones that really works here.

Wanted is what ``--provider`` says, else what the bundle's host wrote down for its device, else CUDA where this
onnxruntime has it. A provider that is missing, does not load or does not accept the graph is passed over, and the
reason kept; the processor comes last and always works. The head learns on the processor, or in torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightcl_edge.bundle.manifest import PROVIDERS, Manifest

TENSORRT, CUDA, CPU = PROVIDERS
#: Nobody's wish in particular: that an onnxruntime for processors has no CUDA is then no news.
DEFAULT = "the default"
#: onnxruntime's names.
CLASSES = {TENSORRT: "TensorrtExecutionProvider", CUDA: "CUDAExecutionProvider", CPU: "CPUExecutionProvider"}
#: TensorRT may try kernels that need this much working memory.
TENSORRT_WORKSPACE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class ProviderChoice:
    """What computes the trunk, and why."""

    name: str
    reason: str


def wanted(asked: str | None, manifest: Manifest) -> tuple[list[str], str]:
    """Providers in the order in which they are tried.

    Args:
        asked: of the command line; None for the bundle's.
    """
    if asked is not None:
        return list(dict.fromkeys([asked, CPU])), "asked for"
    if manifest.providers:
        return list(dict.fromkeys([*manifest.providers, CPU])), "of the bundle's device"
    return [CUDA, CPU], DEFAULT


def passed_over(name: str, dtype: str, available: Sequence[str]) -> str | None:
    """Why a provider need not be tried.

    Returns:
        The reason; None when it is worth a try.
    """
    if CLASSES[name] not in available:
        return f"{name} is not in this onnxruntime"
    if name == CUDA and dtype == "int8":
        return "cuda has no 8-bit convolutions"
    return None


def options_of(name: str, dtype: str) -> dict[str, str]:
    """Options under which a provider takes no more memory than it needs."""
    if name == CUDA:
        # On a Jetson its memory is everybody's: grow by what is asked for (not by powers of two), choose kernels
        # without trying them all, and no reduced precision behind the golden images' back.
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
    order: Sequence[str], whose: str, dtype: str, available: Sequence[str], make: Callable[[list[Any]], Any]
) -> tuple[Any, ProviderChoice]:
    """Open a session with the first provider that works."""
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
                    return session, ProviderChoice(name, "; ".join([whose, *skipped]))
                why = f"{name} does not load here"
        if whose != DEFAULT or CLASSES[name] in available:
            skipped.append(why)
    return make([CLASSES[CPU]]), ProviderChoice(CPU, "; ".join([*(skipped or [whose]), *_on_a_processor(dtype)]))


def _on_a_processor(dtype: str) -> list[str]:
    return ["it computes the half-precision trunk in float32"] if dtype == "fp16" else []


def foresee(asked: str | None, manifest: Manifest, available: Sequence[str]) -> ProviderChoice:
    """What would be tried first here, without opening anything."""
    order, whose = wanted(asked, manifest)
    skipped = [(name, passed_over(name, manifest.model.trunk_dtype, available)) for name in order]
    first = next(name for name, why in skipped if why is None or name == CPU)
    told = [name for name in order if whose != DEFAULT or CLASSES[name] in available]
    reasons = [why for name, why in skipped if why is not None and name != CPU and name in told]
    told_first = reasons if first == CPU and reasons else [whose, *reasons]
    more = _on_a_processor(manifest.model.trunk_dtype) if first == CPU else []
    return ProviderChoice(first, "; ".join([*told_first, *more]))
