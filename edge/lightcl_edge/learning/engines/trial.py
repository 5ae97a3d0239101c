"""Try an engine in a process of its own: ``python -m lightcl_edge.learning.engines.trial ort|torch``.

A wheel that was built for another processor dies of an illegal instruction. Then the trial dies, not the caller. It
prints one JSON document: whether a small computation came out right, and the peak memory of importing the engine.
"""

import importlib.util
import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field

from lightcl_edge.machine.process_memory import peak_rss_bytes

TRIAL_SECONDS = 120.0
#: An ONNX model (opset 20) with one node, Relu from ``x`` to ``y``, both float32 of shape (2,).
_RELU_MODEL = bytes.fromhex(
    "080a3a330a0c0a0178120179220452656c7512016d5a0f0a0178120a0a08080112040a020802620f0a0179120a0a08080112040a02080242040a001014"
)


@dataclass(frozen=True)
class Trial:
    """Whether an engine works here."""

    works: bool  # loaded and computed
    reason: str  # its version, or why it does not work
    import_peak_rss_bytes: int | None  # of a process that only loaded it; None when it did not load
    devices: list[str] = field(default_factory=list)  # what it says it can compute on


def try_engine(name: str) -> Trial:
    """Start a trial process and say how it ended."""
    command = [sys.executable, "-m", "lightcl_edge.learning.engines.trial", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Trial(False, f"did not answer within {TRIAL_SECONDS:.0f} seconds", None)
    if done.returncode < 0:
        name_of_signal = signal.Signals(-done.returncode).name
        meaning = {"SIGILL": "illegal instruction: built for another processor", "SIGKILL": "killed, out of memory?"}
        return Trial(False, f"died of {name_of_signal} ({meaning.get(name_of_signal, 'crashed')})", None)
    try:
        document = json.loads(done.stdout)
        devices = [str(each) for each in document["devices"]]
        return Trial(bool(document["works"]), str(document["reason"]), document["import_peak_rss_bytes"], devices)
    except (ValueError, KeyError, TypeError):
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return Trial(False, last[0][:300], None)


def _run_ort() -> tuple[str, int, list[str]]:
    import numpy as np
    import onnxruntime

    loaded = peak_rss_bytes()
    session = onnxruntime.InferenceSession(_RELU_MODEL, providers=["CPUExecutionProvider"])
    result = session.run(None, {"x": np.array([-1.0, 2.0], np.float32)})[0].tolist()
    if result != [0.0, 2.0]:
        raise ArithmeticError(f"Relu of (-1, 2) gave {result}, expected (0, 2)")
    from lightcl_edge.inference.providers import CLASSES

    known = [each for each in onnxruntime.get_available_providers() if each in CLASSES.values()]
    return f"onnxruntime {onnxruntime.__version__}", loaded, known


def _run_torch() -> tuple[str, int, list[str]]:
    import torch

    loaded = peak_rss_bytes()
    weight = torch.full((1, 1, 3, 3), 0.5, requires_grad=True)
    torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), weight).sum().backward()  # type: ignore[no-untyped-call]
    if weight.grad is None or weight.grad.sum().item() != 36.0:
        raise ArithmeticError(f"a convolution's gradient gave {weight.grad}, expected 4 everywhere")
    if importlib.util.find_spec("onnx") is None:
        raise ImportError("torch alone is not enough, onnx is not installed; pip install 'lightcl-edge[torch]'")
    from lightcl_edge.learning.engines.torch_engine import choose_device

    device, why = choose_device()
    return f"torch {torch.__version__}", loaded, [f"{device} ({why})"]


def main(name: str) -> None:
    """Run one trial in this process and print its document."""
    try:
        reason, loaded, devices = {"ort": _run_ort, "torch": _run_torch}[name]()
        document = {"works": True, "reason": reason, "import_peak_rss_bytes": loaded, "devices": devices}
    except (ImportError, OSError, ArithmeticError, RuntimeError) as error:
        document = {"works": False, "reason": f"{type(error).__name__}: {error}", "import_peak_rss_bytes": None}
        document["devices"] = []
    print(json.dumps(document))


if __name__ == "__main__":
    main(sys.argv[1])
