"""The device's own strategies as benchmark methods: the code of ``lightcl-edge train`` without its state and gate."""

from dataclasses import replace

import numpy as np

from lightcl_edge.bundle.bundle import HEAD_PARAMETERS, TRUNK
from lightcl_edge.bundle.manifest import TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer, samples_that_fit
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import FloatArray, IntArray, TensorFile
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.engines.select import choose_engine, make_engine
from lightcl_edge.learning.loop import TrainingLoop, start_new_rows
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.choice import choose_strategy, recommended_for
from lightcl_edge.learning.strategies.contract import Arrays, Settings
from lightcl_edge.learning.strategies.replay import Replay
from lightcl_host.benchmark.contract import Facts, Method, Part, Setting, TaskPart
from lightcl_host.benchmark.options import BenchmarkOptions

_STREAM_ORDER, _STREAM_BUFFER = 2, 3


class _Stored:
    """Features as the training loop reads them."""

    def __init__(self, features: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        self._features = features

    def read(self, rows: IntArray, /) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return self._features[rows]


class DeviceMethod(Method):
    """A strategy of the device on the benchmark's features."""

    def __init__(self, strategy: str, *, all_at_once: bool = False) -> None:
        self._strategy, self._all_at_once = strategy, all_at_once

    def begin(self, setting: Setting) -> None:
        """Load the exported head; nothing is remembered."""
        manifest, options = setting.bundle.manifest, setting.options
        self._setting, self._codec = setting, FeatureCodec(manifest.feature)
        choice = choose_engine(options.engine, setting.bundle)
        chosen = choose_strategy(self._strategy, manifest, choice.name, None)
        self._settings = _settings(manifest.defaults, chosen.name, options)
        self._engine: Engine = make_engine(choice, setting.bundle, options.threads)
        self._exported = TensorFile(setting.bundle.path(HEAD_PARAMETERS), BundleError)
        self._engine.load(self._exported)
        identity = BufferIdentity(setting.bundle.sha256(TRUNK), manifest.feature)
        self._limit = samples_that_fit(options.buffer_bytes, identity)
        self._buffer = FeatureBuffer.empty(identity)
        self._kept: Arrays = {}
        self._known, self._tasks = 0, 0
        self._scale: float | None = None

    def learn(self, task: TaskPart) -> None:
        setting, settings = self._setting, self._settings
        own = Settings(settings.beta, settings.ratio, settings.buffer_samples)
        strategy = STRATEGIES[settings.strategy](setting.bundle.manifest.head, own)
        if self._all_at_once and isinstance(strategy, Replay):
            strategy.trust = 1.0  # it sees all images at once, so it can't overfit to a few
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
        """Bytes of buffer and statistics, and what it was trained with."""
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


def _settings(defaults: TrainingDefaults, strategy: str, options: BenchmarkOptions) -> TrainingDefaults:
    """The strategy's own numbers, replaced by those that the benchmark was asked for."""
    asked = {"epochs": options.epochs, "learning_rate": options.learning_rate, "batch_size": options.batch_size}
    chosen = {name: value for name, value in asked.items() if value is not None}
    return replace(recommended_for(defaults, strategy), **chosen)  # type: ignore[arg-type]  # names and types are these
