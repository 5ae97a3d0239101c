"""The paper's baselines as benchmark methods: the whole network in PyTorch, on images.

They remember images. Each counts as it would be stored: a byte a pixel and channel, four bytes a label or logit. Images
are decoded once and kept in a file, so that later epochs cost neither decoding nor memory. No image is augmented.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightcl_edge.bundle.bundle import WHOLE_NETWORK, Bundle
from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.benchmark.contract import Facts, Method, Part, Setting, TaskPart
from lightcl_host.benchmark.pixel_file import PixelFile
from lightcl_host.sources.options import SourceOptions
from lightcl_profiler.baselines import BASELINES

if TYPE_CHECKING:
    import torch

    from lightcl_profiler.baselines.contract import Baseline
    from lightcl_profiler.networks.graph_network import GraphNetwork

_EPOCHS, _LEARNING_RATE = 5, 0.01
_LABEL_BYTES, _LOGIT_BYTES = 4, 4
_TEST_BATCH = 64


class BaselineMethod(Method):
    """A baseline of :mod:`lightcl_profiler.baselines`, by its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def begin(self, setting: Setting) -> None:
        """Make the network with a classifier for all classes."""
        import torch

        from lightcl_profiler.baselines import load_baseline
        from lightcl_profiler.baselines.contract import Settings
        from lightcl_profiler.networks.torch_device import torch_device

        options, info = setting.options, setting.bundle.manifest.input
        torch.manual_seed(setting.seed)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        self._setting, self._info = setting, info
        self._device = torch_device(options.torch_device, "--torch-device")
        self._graph = graph_file(setting.bundle, options.source, setting.scratch)
        settings = Settings(
            learning_rate=options.learning_rate or _LEARNING_RATE,
            buffer_samples=remembered(self._name, info, len(setting.classes), options.buffer_bytes),
            epochs=options.epochs or _EPOCHS,
            seed=setting.seed,
        )
        self._baseline: Baseline = load_baseline(self._name)(self._build, settings)
        self._tasks: list[tuple[int, ...]] = []
        self._random = np.random.default_rng(setting.seed)
        self._test: dict[str, PixelFile] = {}

    def _build(self) -> torch.nn.Module:
        network = build_network(self._graph, self._setting.bundle, len(self._setting.classes))
        return network.train().to(self._device)

    def learn(self, task: TaskPart) -> None:
        """Train on a task's images."""
        from lightcl_profiler.baselines.learning import Images, learn_task

        pixels = PixelFile(task.images.dataset, self._info, self._setting.scratch)
        images = Images(task.images.labels, pixels, self._device)
        learn_task(self._baseline, images, len(self._tasks), self._setting.options.batch_size, self._random)
        pixels.close()
        self._tasks.append(task.classes)

    def scores(self, part: Part) -> FloatArray:
        """Logits. A method with a column a task gives each column's logits for its own classes."""
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
        """What the remembered images would need on a disk, and the settings."""
        settings, buffer = self._baseline.settings, getattr(self._baseline, "buffer", None)
        about: dict[str, float | int | str | None] = {
            "epochs": settings.epochs,
            "learning_rate": settings.learning_rate,
            "device": self._device,
            "paper": BASELINES[self._name].paper,
        }
        samples = 0 if buffer is None else len(buffer)
        needed = samples * _sample_bytes(self._name, self._info, len(self._setting.classes))
        return Facts(needed, {**about, "buffer_samples": samples})


def _sample_bytes(baseline: str, info: InputInfo, classes: int) -> int:
    logits = _LOGIT_BYTES * classes if baseline in ("fdr", "derpp", "sparcl_derpp") else 0
    return info.height * info.width * 3 + _LABEL_BYTES + logits


def remembered(baseline: str, info: InputInfo, classes: int, buffer_bytes: int) -> int:
    """How many images fit the buffer. A step replays as many, or holds patterns of as many."""
    return buffer_bytes // _sample_bytes(baseline, info, classes)


def build_network(graph: Path, bundle: Bundle, classes: int) -> GraphNetwork:
    """The whole network of a :func:`graph_file` with a new classifier, cut where the bundle is."""
    from lightcl_profiler.networks.new_classifier import network_from_graph

    head_layers = sum(len(parameter.shape) >= 2 for parameter in bundle.manifest.head.parameters)
    return network_from_graph(graph, classes, head_layers)


def graph_file(bundle: Bundle, source: SourceOptions, folder: Path) -> Path:
    """An ONNX file of the whole network with BatchNorm: the bundle's, else exported from the source into ``folder``."""
    if bundle.has(WHOLE_NETWORK):
        return bundle.path(WHOLE_NETWORK)
    path = folder / WHOLE_NETWORK
    if not path.is_file():
        from lightcl_host.sources.source import open_source
        from lightcl_host.sources.whole_network import whole_network

        path.write_bytes(whole_network(open_source(source)).SerializeToString())
    return path
