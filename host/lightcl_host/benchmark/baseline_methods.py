"""The paper's baselines as benchmark methods: the whole network in PyTorch, on images.

What they remember are images, counted as they would be stored: a byte a pixel and channel, four bytes a label or logit.
Images are decoded once and kept in a file, so that epochs after the first cost neither decoding nor memory; none is
augmented.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lightcl_edge.bundle.bundle import WHOLE_NETWORK, Bundle
from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.benchmark.contract import Facts, Method, Part, Setting, TaskPart
from lightcl_host.benchmark.pixel_file import PixelFile
from lightcl_host.sources.source import SourceOptions
from lightcl_profiler.baselines import BASELINES

if TYPE_CHECKING:
    import torch

    from lightcl_profiler.baselines.contract import Baseline

_EPOCHS, _LEARNING_RATE = 5, 0.01
_LABEL_BYTES, _LOGIT_BYTES = 4, 4
_TEST_BATCH = 64


class BaselineMethod(Method):
    """A baseline of :mod:`lightcl_profiler.baselines`."""

    baseline: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """The paper's formula has the baseline's name."""
        cls.formula = cls.baseline

    def begin(self, setting: Setting) -> None:
        """Make the network with a classifier for all classes."""
        import torch

        from lightcl_profiler.baselines import load_baseline
        from lightcl_profiler.baselines.contract import Settings
        from lightcl_profiler.networks.torch_device import torch_device

        torch.manual_seed(setting.seed)
        if setting.threads is not None:
            torch.set_num_threads(setting.threads)
        self._setting, self._info = setting, setting.bundle.manifest.input
        self._device = torch_device(setting.torch_device, "--torch-device")
        self._graph = graph_file(setting.bundle, setting.source, setting.scratch)
        self._sample_bytes = sample_bytes(self.baseline, self._info, len(setting.classes))
        settings = Settings(
            learning_rate=setting.learning_rate or _LEARNING_RATE,
            buffer_samples=remembered(self.baseline, self._info, len(setting.classes), setting.buffer_bytes),
            epochs=setting.epochs or _EPOCHS,
            seed=setting.seed,
        )
        self._baseline: Baseline = load_baseline(self.baseline)(self._build, settings)
        self._tasks: list[tuple[int, ...]] = []
        self._random = np.random.default_rng(setting.seed)
        self._test: dict[str, PixelFile] = {}

    def _build(self) -> torch.nn.Module:
        from lightcl_profiler.networks.new_classifier import network_from_graph

        head = self._setting.bundle.manifest.head.parameters
        layers = sum(len(parameter.shape) >= 2 for parameter in head)
        return network_from_graph(self._graph, len(self._setting.classes), layers).train().to(self._device)

    def learn(self, task: TaskPart) -> None:
        """Train on a task's images."""
        from lightcl_profiler.baselines.learning import Images, learn_task

        pixels = PixelFile(task.images.dataset, self._info, self._setting.scratch)
        images = Images(task.images.labels, pixels, self._device)
        learn_task(self._baseline, images, len(self._tasks), self._setting.batch_size, self._random)
        pixels.close()
        self._tasks.append(task.classes)

    def scores(self, part: Part) -> FloatArray:
        """Logits; of a method with a column a task, each column's for its own classes."""
        pixels = self._test.get(part.store)
        if pixels is None:
            pixels = self._test[part.store] = PixelFile(part.dataset, self._info, self._setting.scratch)
        found = []
        for start in range(0, len(part), _TEST_BATCH):
            images = pixels(np.arange(start, min(start + _TEST_BATCH, len(part)))).to(self._device)
            found.append(self._logits(images))
        return np.concatenate(found)

    def _logits(self, images: torch.Tensor) -> FloatArray:
        if self._baseline.class_incremental:
            return np.asarray(self._baseline.logits(images).cpu().numpy(), np.float32)
        together = np.full((len(images), len(self._setting.classes)), -np.inf, np.float32)
        for number, classes in enumerate(self._tasks):
            together[:, list(classes)] = self._baseline.logits(images, number).cpu().numpy()[:, list(classes)]
        return together

    def facts(self) -> Facts:
        """What the buffer would need on a disk, and the settings."""
        settings, buffer = self._baseline.settings, getattr(self._baseline, "buffer", None)
        about: dict[str, float | int | str | None] = {
            "epochs": settings.epochs,
            "learning_rate": settings.learning_rate,
            "device": self._device,
            "paper": BASELINES[self.baseline].paper,
        }
        samples = 0 if buffer is None else len(buffer)
        return Facts(samples * self._sample_bytes, {**about, "buffer_samples": samples})


def sample_bytes(baseline: str, info: InputInfo, classes: int) -> int:
    """What an image that is remembered takes on a disk."""
    logits = _LOGIT_BYTES * classes if baseline in ("fdr", "derpp", "sparcl_derpp") else 0
    return info.height * info.width * 3 + _LABEL_BYTES + logits


def remembered(baseline: str, info: InputInfo, classes: int, buffer_bytes: int) -> int:
    """How many images fit a buffer; as many are replayed, or hold patterns, a step."""
    return buffer_bytes // sample_bytes(baseline, info, classes)


def graph_file(bundle: Bundle, source: SourceOptions, folder: Path) -> Path:
    """The whole network with BatchNorm: the bundle's, else exported again into a folder.

    Args:
        bundle: of the network.
        source: the network, where the bundle does not carry it whole.
        folder: to export into.

    Returns:
        An ONNX file.
    """
    if bundle.has(WHOLE_NETWORK):
        return bundle.path(WHOLE_NETWORK)
    path = folder / WHOLE_NETWORK
    if not path.is_file():
        from lightcl_host.sources.source import open_source
        from lightcl_host.sources.whole_network import whole_network

        path.write_bytes(whole_network(open_source(source)).SerializeToString())
    return path


class JointTorch(BaselineMethod):
    """All tasks at once: an upper bound, not continual learning."""

    baseline = "joint"
    title: ClassVar[str] = BASELINES["joint"].title
    all_at_once: ClassVar[bool] = True


class Sgd(BaselineMethod):
    """The lower bound."""

    baseline = "sgd"
    title: ClassVar[str] = BASELINES["sgd"].title


class Ewc(BaselineMethod):
    """Online elastic weight consolidation."""

    baseline = "ewc"
    title: ClassVar[str] = BASELINES["ewc"].title


class Pnn(BaselineMethod):
    """Progressive networks."""

    baseline = "pnn"
    title: ClassVar[str] = BASELINES["pnn"].title


class Fdr(BaselineMethod):
    """Function distance."""

    baseline = "fdr"
    title: ClassVar[str] = BASELINES["fdr"].title


class Er(BaselineMethod):
    """Experience replay."""

    baseline = "er"
    title: ClassVar[str] = BASELINES["er"].title


class Derpp(BaselineMethod):
    """Dark experience replay."""

    baseline = "derpp"
    title: ClassVar[str] = BASELINES["derpp"].title


class SparclEr(BaselineMethod):
    """SparCL on experience replay."""

    baseline = "sparcl_er"
    title: ClassVar[str] = BASELINES["sparcl_er"].title


class SparclDerpp(BaselineMethod):
    """SparCL on dark experience replay."""

    baseline = "sparcl_derpp"
    title: ClassVar[str] = BASELINES["sparcl_derpp"].title


class LightClTorch(BaselineMethod):
    """LightCL as its reference does it."""

    baseline = "lightcl_torch"
    title: ClassVar[str] = BASELINES["lightcl_torch"].title


class LightClSparse(BaselineMethod):
    """LightCL with masked channels."""

    baseline = "lightcl_sparse"
    title: ClassVar[str] = BASELINES["lightcl_sparse"].title
