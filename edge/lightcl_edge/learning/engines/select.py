"""Which engine runs here, and why."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightcl_edge.bundle.bundle import HEAD, Bundle
from lightcl_edge.bundle.graph_names import EVALUATE, FORWARD
from lightcl_edge.errors import NoEngineError
from lightcl_edge.learning.engines.contract import Engine

ENGINES = ("auto", "ort", "torch")
#: What the ``torch`` engine imports besides the device's own packages: the extra ``torch``.
TORCH_PACKAGES = ("torch", "onnx")
#: What NVIDIA's drivers make: on a desktop, on a Jetson with JetPack 5 and 6.
GPU_DEVICES = (Path("/dev/nvidia0"), Path("/dev/nvhost-gpu"), Path("/dev/nvgpu"))


@dataclass(frozen=True)
class EngineChoice:
    """An engine's name and the reason it was chosen."""

    name: str
    reason: str


def choose_engine(asked: str, bundle: Bundle) -> EngineChoice:
    """Choose an engine without importing anything heavy.

    Raises:
        NoEngineError: when what was asked for can't run here.
    """
    lacking = next((name for name in TORCH_PACKAGES if importlib.util.find_spec(name) is None), None)
    has_steps = bool(bundle.manifest.training_step)
    if asked == "auto" and not lacking and torch_may_use_cuda():
        return EngineChoice("torch", "this board has a GPU and torch was built for it")
    if asked == "ort" or (asked == "auto" and has_steps):
        if not has_steps:
            raise NoEngineError("the bundle has no training_step graphs, which the ort engine needs; export it again")
        reason = "asked for" if asked == "ort" else "needs least memory, and the bundle carries its graphs"
        return EngineChoice("ort", reason)
    if not lacking:
        return EngineChoice("torch", "asked for" if asked == "torch" else "the bundle has no training_step graphs")
    raise NoEngineError(
        f"the torch engine needs {lacking}, which is not installed; pip install 'lightcl-edge[torch]', "
        "or use --engine ort with a bundle that has training_step graphs"
    )


def torch_may_use_cuda(devices: Sequence[Path] = GPU_DEVICES) -> bool:
    """Whether there is a GPU of NVIDIA and the installed torch has kernels for it, found without importing torch.

    It is True even when the driver is too old for this torch: the engine then uses the CPU and says so.
    """
    found = importlib.util.find_spec("torch")
    folders = [] if found is None else found.submodule_search_locations or []
    return any(device.exists() for device in devices) and any(
        (Path(folder) / "lib" / "libtorch_cuda.so").exists() for folder in folders
    )


def make_engine(
    choice: EngineChoice,
    bundle: Bundle,
    threads: int | None,
    spare_bytes: int = 0,
    patterns: bool = True,
    trains: bool = True,
) -> Engine:
    """Import and build the chosen engine; see ``OrtEngine`` for the arguments.

    One that does not train needs no graphs of steps: then their files are not read.

    Raises:
        NoEngineError: when it does not load on this machine.
        BundleError: when the head can't be trained by it.
    """
    info = bundle.manifest.head
    if choice.name == "ort":
        from lightcl_edge.learning.engines.ort_engine import OrtEngine

        shape = bundle.manifest.feature.shape
        steps = bundle.step_graphs(steps=trains)
        runs_head = any(graph.update in (FORWARD, EVALUATE) for graph, _ in steps)
        head = b"" if runs_head else bundle.path(HEAD)
        return OrtEngine(head, info, shape, steps, threads, spare_bytes=spare_bytes, patterns=patterns, trains=trains)
    try:
        from lightcl_edge.learning.engines.torch_engine import TorchEngine
    except (ImportError, OSError) as error:
        raise NoEngineError(f"torch or onnx can't be imported here ({error}); use --engine ort") from error
    return TorchEngine(bundle.path(HEAD), info, threads)
