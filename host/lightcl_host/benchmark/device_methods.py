"""The device's own strategies as benchmark methods: the code of ``lightcl-edge train`` without its state and gate."""

from dataclasses import replace

import numpy as np

from lightcl_edge.bundle.bundle import HEAD_PARAMETERS, TRUNK
from lightcl_edge.bundle.graph_names import LOGITS, TAPS
from lightcl_edge.bundle.manifest import TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer, samples_that_fit
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.data.sums import Sums
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import DoubleArray, FloatArray, IntArray, Parameters, TensorFile
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.learning.engines.contract import Engine
from lightcl_edge.learning.engines.select import choose_engine, make_engine
from lightcl_edge.learning.lesson import Known, Lesson
from lightcl_edge.learning.loop import TrainingLoop
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.choice import choose_strategy, recommended_for
from lightcl_edge.learning.strategies.contract import Arrays, Settings
from lightcl_edge.learning.taps import with_samples
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
        self._seen: dict[tuple[str, int], FloatArray] = {}  # taps of images, by store and position

    def begin(self, setting: Setting) -> None:
        """Nothing is known yet."""
        manifest, options = setting.bundle.manifest, setting.options
        self._setting, self._codec = setting, FeatureCodec(manifest.feature)
        choice = choose_engine(options.engine, setting.bundle)
        chosen = choose_strategy(self._strategy)
        self._settings = _settings(manifest.defaults, chosen.name, options)
        self._engine: Engine = make_engine(choice, setting.bundle, options.threads)
        exported = TensorFile(setting.bundle.path(HEAD_PARAMETERS), BundleError)
        identity = BufferIdentity(setting.bundle.sha256(TRUNK), manifest.feature)
        self._limit = samples_that_fit(options.buffer_bytes, identity)
        self._kept: Arrays = {}
        self._sums = Sums(manifest.head.tap_size)
        nothing = LearnedClassifier.of_head(0, self._sums.size)
        self._known = Known(0, nothing, exported, exported, 0, FeatureBuffer.empty(identity))

    def learn(self, task: TaskPart) -> None:
        """Without images that are held out: the temperature is the one to expect."""
        settings, known, head = self._settings, self._known, self._setting.bundle.manifest.head
        own = Settings(settings.beta, settings.ratio, settings.buffer_samples)
        strategy = STRATEGIES[settings.strategy](head, own)
        if self._all_at_once and strategy.head_share:
            strategy.head_share = 1.0  # it sees all images at once, so it can't overfit to a few
        strategy.restore(self._kept)
        stored, labels = _Stored(self._setting.features.of(task.images)), task.images.labels
        rows = np.arange(len(labels))
        samples = Samples(stored, self._codec, labels, rows)
        names = [str(row) for row in range(max(known.classes, int(labels.max()) + 1))]
        self._engine.load(known.exported)
        self._sums = with_samples(self._sums, self._engine, samples, names)
        lesson = Lesson(self._engine, strategy, head, names, known, samples, self._sums)
        form = lesson.closed_form(lesson.pooled(), np.empty((0, self._sums.size), np.float32), np.empty(0, np.int64))
        started, scale = lesson.start(form, settings.batch_size, self._order(0))
        loop = TrainingLoop(self._engine, strategy, settings, self._order, None, Progress(quiet=True))
        classifier, _ = lesson.learn(started, loop)
        buffer = fill(known.buffer, stored.read, rows, labels, self._limit, self._rng(_STREAM_BUFFER))
        self._kept = strategy.tensors()
        learned = self._engine.parameters() if strategy.trains_head else known.exported
        self._known = Known(len(names), classifier, learned, known.exported, 0, buffer, scale, known.tasks + 1)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._setting.seed, self._known.tasks, *stream])

    def _order(self, epoch: int) -> np.random.Generator:
        return self._rng(_STREAM_ORDER, epoch)

    def scores(self, part: Part) -> FloatArray:
        """Logits over the temperature; 0 for classes that are not seen yet."""
        classifier = self._known.classifier
        head = self._outputs(part, LOGITS, self._known.parameters) if classifier.needs_head else None
        logits = classifier.logits(self._taps(part), head) / classifier.temperature
        scores = np.zeros((len(part), len(self._setting.classes)), np.float32)
        scores[:, : logits.shape[1]] = logits
        return scores

    def novelty(self, part: Part) -> DoubleArray | None:
        """The device's novelty score."""
        return self._known.classifier.novelty(self._taps(part))

    def _taps(self, part: Part) -> FloatArray:
        """Taps of the head as exported, shape ``(n, tap_size)``: the same after each task, so computed once."""
        places = [(part.store, position) for position in part.positions.tolist()]
        missing = np.array([at for at, place in enumerate(places) if place not in self._seen], np.int64)
        if len(missing):
            lacking = replace(part, labels=part.labels[missing], positions=part.positions[missing])
            found = self._outputs(lacking, TAPS, self._known.exported)
            self._seen.update(zip([places[at] for at in missing], found, strict=True))
        return np.stack([self._seen[place] for place in places])

    def _outputs(self, part: Part, name: str, parameters: Parameters) -> FloatArray:
        """An output of the head with these parameters."""
        self._engine.load(parameters)
        stored, size = self._setting.features.of(part), 64
        batches = [self._codec.decode(stored[at : at + size]) for at in range(0, len(stored), size)]
        return np.concatenate([self._engine.activations(batch, [name])[name] for batch in batches])

    def facts(self) -> Facts:
        """Bytes of buffer and sums, and what it was trained with."""
        known = [sums.read().tensors() for sums in self._sums.classes.values()]
        sums_bytes = sum(array.nbytes for tensors in known for array in tensors.values())
        about: dict[str, float | int | str | None] = {
            "strategy": self._settings.strategy,
            "buffer_samples": len(self._known.buffer),
            "buffer_bytes": self._known.buffer.bytes,
            "sums_bytes": sums_bytes,
        }
        if STRATEGIES[self._settings.strategy].trains_head:
            about |= {"epochs": self._settings.epochs, "learning_rate": self._settings.learning_rate}
        return Facts(self._known.buffer.bytes + sums_bytes, about)

    def close(self) -> None:
        """Give back the engine's sessions."""
        self._engine.close()


def _settings(defaults: TrainingDefaults, strategy: str, options: BenchmarkOptions) -> TrainingDefaults:
    """The strategy's own numbers, replaced by those that the benchmark was asked for."""
    asked = {"epochs": options.epochs, "learning_rate": options.learning_rate, "batch_size": options.batch_size}
    chosen = {name: value for name, value in asked.items() if value is not None}
    return replace(recommended_for(defaults, strategy), **chosen)  # type: ignore[arg-type]  # names and types are these
