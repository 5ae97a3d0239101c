"""A strategy on an engine, driven without a state."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.manifest import TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.buffer_filling import fill
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
from lightcl_edge.data.feature_store import Samples
from lightcl_edge.data.sums import Sums
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.inference.learned_classifier import LearnedClassifier
from lightcl_edge.learning.engines.select import choose_engine, make_engine
from lightcl_edge.learning.lesson import Known, Lesson
from lightcl_edge.learning.loop import TrainingLoop
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.learning.strategies.contract import Settings
from lightcl_edge.learning.strategies.strategy_state import joined, part_of
from lightcl_edge.learning.taps import with_samples
from small_bundle import CAPACITY, CHANNELS, FEATURE

SETTINGS = Settings(beta=1e-3, ratio=0.25, pattern_samples=3)
CODEC = FeatureCodec(FEATURE)
IDENTITY = BufferIdentity("ab" * 32, FEATURE)
LIMIT = 24


class Learner:
    """A strategy on an engine with its memory, as ``train`` and the benchmark drive it."""

    def __init__(self, folder, strategy, engine, settings=SETTINGS):
        bundle = Bundle.open(folder)
        self.head, exported = bundle.manifest.head, bundle.head_parameters()
        self.name, self.settings, self.rate, self.head_share = strategy, settings, 0.02, None
        self.engine = make_engine(choose_engine(engine, bundle), bundle, 1)
        self.engine.load(exported)
        self.kept, self.sums, self.note = {}, Sums(self.head.tap_size), lambda _: None
        nothing = LearnedClassifier.of_head(0, self.sums.size)
        self.known = Known(0, nothing, exported, exported, 0, FeatureBuffer.empty(IDENTITY))

    def images(self, labels, seed):
        """Stored features that tell their class."""
        rng = np.random.default_rng(seed)
        real = np.abs(rng.normal(size=(len(labels), CHANNELS, 4, 4)))
        real[np.arange(len(labels)), np.asarray(labels) * 2] += 4.0
        return CODEC.encode(real.astype(np.float32))

    def lesson(self, labels, seed=0):
        """The lesson of a task, with its samples taken into the sums; and the task's stored features."""
        labels = np.asarray(labels)
        stored = self.images(labels, [seed, len(labels)])
        read = SimpleNamespace(read=stored.__getitem__)
        samples = Samples(read, CODEC, labels, np.arange(len(labels)))
        names = [f"c{row}" for row in range(max(self.known.classes, int(labels.max()) + 1))]
        strategy = STRATEGIES[self.name](self.head, self.settings)
        strategy.head_share = strategy.head_share if self.head_share is None else self.head_share
        strategy.restore(part_of(self.kept, strategy.name))
        self.engine.load(self.known.exported)
        self.sums = with_samples(self.sums, self.engine, samples, names)
        return Lesson(self.engine, strategy, self.head, names, self.known, samples, self.sums), stored

    def learn(self, labels, seed=0, epochs=2, checkpoints=None):
        """One task; gives what became of its steps."""
        lesson, stored = self.lesson(labels, seed)
        original, known_before = stored.copy(), self.known.buffer.features.copy()
        order = lambda epoch: np.random.default_rng([seed, 5, epoch])  # noqa: E731
        form = lesson.closed_form(lesson.pooled(), np.zeros((0, self.sums.size), np.float32), np.zeros(0, np.int64))
        task, scale = lesson.start(form, 8, order(0))
        settings = TrainingDefaults(epochs=epochs, batch_size=8, learning_rate=self.rate)
        progress = Progress(quiet=True)
        progress.note = self.note
        loop = TrainingLoop(self.engine, lesson.strategy, settings, order, checkpoints, progress)
        classifier, outcome = lesson.learn(task, loop)
        assert (stored == original).all() and (self.known.buffer.features == known_before).all(), "inputs were changed"
        rng = np.random.default_rng([seed, 6])
        buffer = fill(self.known.buffer, stored.__getitem__, np.arange(len(labels)), np.asarray(labels), LIMIT, rng)
        self.kept = joined(self.kept, lesson.strategy)
        learned, exported = self.engine.parameters(), self.known.exported
        number = self.known.tasks + 1
        self.known = Known(len(lesson.classes), classifier, learned, exported, 0, buffer, scale, number)
        return outcome

    def task(self, number, seed=0, epochs=2):
        """One task of two classes."""
        return self.learn([number % CAPACITY, (number + 1) % CAPACITY] * 6, seed * 100 + number, epochs)

    def logits(self, features):
        self.engine.load(self.known.exported)
        taps = self.engine.activations(features, ["taps"])["taps"]
        self.engine.load(self.known.parameters)
        return self.known.classifier.logits(taps, self.engine.logits(features))

    def accuracy(self, rows, seed=99):
        labels = np.repeat(rows, 8)
        return (self.logits(CODEC.decode(self.images(labels, seed))).argmax(axis=1) == labels).mean()

    def memory_bytes(self):
        sums = [array.nbytes for known in self.sums.classes.values() for array in known.read().tensors().values()]
        return self.known.buffer.bytes + sum(array.nbytes for array in self.kept.values()) + sum(sums)
