"""The device's own strategies as benchmark methods: the code of ``lightcl-edge train`` without its state and gate.

``joint`` is the device's default strategy given all tasks at once: the same head, the same recipe, no forgetting to be
had. It is the upper bound that the others are measured against.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from lightcl_edge.bundle.bundle import HEAD_PARAMETERS, TRUNK
from lightcl_edge.bundle.manifest import TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer, samples_that_fit
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import FloatArray, IntArray, TensorFile
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.engines.select import choose_engine, make_engine
from lightcl_edge.learning.loop import Samples, TrainingLoop, start_new_rows
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.choice import choose_strategy, recommended_for
from lightcl_edge.learning.strategies.contract import Arrays, Settings
from lightcl_edge.learning.strategies.replay import Replay
from lightcl_host.benchmark.contract import Facts, Method, Part, Setting, TaskPart

_STREAM_ORDER, _STREAM_BUFFER = 2, 3


class _Stored:
    """A part's features as the trainer reads them."""

    def __init__(self, features: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        self._features = features

    def read(self, rows: IntArray, /) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return self._features[rows]


class DeviceMethod(Method):
    """A strategy of the device on the benchmark's features."""

    strategy: ClassVar[str]
    uses_features: ClassVar[bool] = True

    def begin(self, setting: Setting) -> None:
        """Load the exported head; nothing is remembered."""
        manifest = setting.bundle.manifest
        self._setting, self._codec = setting, FeatureCodec(manifest.feature)
        choice = choose_engine(setting.engine, setting.bundle)
        chosen = choose_strategy(self.strategy, manifest, choice.name, None)
        self._settings = _settings(manifest.defaults, chosen.name, setting)
        self._engine: Engine = make_engine(choice, setting.bundle, setting.threads)
        self._exported = TensorFile(setting.bundle.path(HEAD_PARAMETERS), BundleError)
        self._engine.load(self._exported)
        identity = BufferIdentity(setting.bundle.sha256(TRUNK), manifest.feature)
        self._limit = samples_that_fit(setting.buffer_bytes, identity)
        self._buffer = FeatureBuffer.empty(identity)
        self._kept: Arrays = {}
        self._known, self._tasks = 0, 0
        self._scale: float | None = None

    def learn(self, task: TaskPart) -> None:
        """Learn one task as the device would."""
        setting, settings = self._setting, self._settings
        own = Settings(settings.beta, settings.ratio, settings.buffer_samples)
        strategy = STRATEGIES[settings.strategy](setting.bundle.manifest.head, own)
        if self.all_at_once and isinstance(strategy, Replay):
            strategy.trust = 1.0  # with all images there is nothing to learn by heart: the bound is not held back
        strategy.restore(self._kept)
        stored, labels = _Stored(setting.features.of(task.images)), task.images.labels
        rows = np.arange(len(labels))
        samples = Samples(stored, self._codec, labels, rows)
        known = max(self._known, int(labels.max()) + 1)
        self._scale = start_new_rows(self._engine, samples, range(self._known, known), self._scale)
        loop = TrainingLoop(
            self._engine,
            strategy,
            settings,
            samples,
            self._buffer,
            self._exported,
            self._order,
            None,
            Progress(quiet=True),
        )
        loop.run(self._tasks, known)
        rng = self._rng(_STREAM_BUFFER)
        self._buffer = fill(self._buffer, stored.read, rows, labels, self._limit, rng)
        self._kept, self._known, self._tasks = strategy.tensors(), known, self._tasks + 1

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._setting.seed, self._tasks, *stream])

    def _order(self, epoch: int) -> np.random.Generator:
        return self._rng(_STREAM_ORDER, epoch)

    def scores(self, part: Part) -> FloatArray:
        """Logits of the head."""
        stored, size = self._setting.features.of(part), 64
        logits = [self._engine.logits(self._codec.decode(stored[at : at + size])) for at in range(0, len(stored), size)]
        return np.concatenate(logits)[:, : len(self._setting.classes)]

    def facts(self) -> Facts:
        """Bytes of buffer and statistics, and the numbers it was trained with."""
        statistics = sum(array.nbytes for array in self._kept.values())
        about: dict[str, float | int | str | None] = {
            "strategy": self._settings.strategy,
            "buffer_samples": len(self._buffer),
            "buffer_bytes": self._buffer.bytes,
            "statistics_bytes": statistics,
        }
        if STRATEGIES[self._settings.strategy].trains_head:
            about |= {"epochs": self._settings.epochs, "learning_rate": self._settings.learning_rate}
        return Facts(self._buffer.bytes + statistics, about)

    def close(self) -> None:
        """Give back the engine's sessions."""
        self._engine.close()


def _settings(defaults: TrainingDefaults, strategy: str, setting: Setting) -> TrainingDefaults:
    """The strategy's own numbers with what the benchmark was asked for."""
    asked = {"epochs": setting.epochs, "learning_rate": setting.learning_rate, "batch_size": setting.batch_size}
    chosen = {name: value for name, value in asked.items() if value is not None}
    return replace(recommended_for(defaults, strategy), **chosen)  # type: ignore[arg-type]  # names and types are these


class Auto(DeviceMethod):
    """What a device does unless told otherwise."""

    title: ClassVar[str] = "the strategy that `auto` picks"
    strategy = "auto"


class ReplayMethod(DeviceMethod):
    """Latent replay from a closed-form start."""

    title: ClassVar[str] = "latent replay started from discriminant analysis (Pellegrini et al. 2020)"
    strategy = "replay"


class LightCL(DeviceMethod):
    """LightCL as published, on a frozen trunk."""

    title: ClassVar[str] = "LightCL (Wang et al. 2025)"
    strategy = "lightcl"


class Slda(DeviceMethod):
    """Streaming linear discriminant analysis."""

    title: ClassVar[str] = "streaming linear discriminant analysis (Hayes and Kanan 2020), no gradient"
    strategy = "slda"


class Ncm(DeviceMethod):
    """Nearest class mean."""

    title: ClassVar[str] = "nearest class mean (Mensink et al. 2013), no gradient"
    strategy = "ncm"


class Finetune(DeviceMethod):
    """The new task alone."""

    title: ClassVar[str] = "plain training of the head on the new task alone"
    strategy = "finetune"


class Joint(DeviceMethod):
    """All tasks at once: an upper bound, not continual learning."""

    title: ClassVar[str] = "upper bound: the same head trained on all tasks at once, from the same start"
    strategy = "replay"
    all_at_once = True
