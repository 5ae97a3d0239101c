"""The files of a generation as targets of the fuzzer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from fuzzed_reader import Target, TensorTarget


def generation_targets(folder: Path, bundle_path: Path) -> dict[str, Target]:
    """The files of a generation; what a reader accepts must then be fit for use."""
    from lightcl_edge.bundle.bundle import TRUNK, Bundle
    from lightcl_edge.data.buffer_filling import fill
    from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
    from lightcl_edge.data.held_out_samples import Holdout
    from lightcl_edge.data.sums import Sums
    from lightcl_edge.files.durable import calls_through
    from lightcl_edge.inference.generation_classifier import classifier_of
    from lightcl_edge.learning.closed_form.analysis import analysis_rows
    from lightcl_edge.learning.closed_form.classifier import ClosedForm
    from lightcl_edge.learning.closed_form.left_out import learned_samples
    from lightcl_edge.learning.forgetting import without_class
    from lightcl_edge.learning.strategies import STRATEGIES
    from lightcl_edge.learning.strategies.contract import Settings
    from lightcl_edge.learning.strategies.strategy_state import part_of
    from lightcl_edge.state.generation import Generation, Meta
    from lightcl_edge.state.generation_files import read_generation, read_meta, write_generation
    from power_cut import Unsynced

    bundle, rng = Bundle.open(bundle_path), np.random.default_rng(0)
    head, shape = bundle.manifest.head, tuple(bundle.manifest.feature.shape)
    identity = BufferIdentity(bundle.sha256(TRUNK), bundle.manifest.feature)
    features, labels = rng.integers(0, 256, (8, *shape)).astype(np.uint8), np.arange(8) % 2
    offered = lambda buffer, kind: fill(  # noqa: E731
        buffer, features.__getitem__, np.arange(8), labels, 6, np.random.default_rng(1), kind
    )
    kept: dict[str, np.ndarray] = {"lightcl:relu": rng.random(head.penultimate_size) > 0.5}
    kept["replay:logits"] = np.arange(head.capacity) < 2
    memory = offered(FeatureBuffer.empty(identity), "reservoir").tensors()
    taps = rng.normal(size=(4, head.tap_size)).astype(np.float16)
    held_out = Holdout(features[:4], labels[:4], taps, np.arange(4, dtype=np.uint64))
    held = held_out.tensors()
    place = folder / "generation"
    sums = Sums(head.tap_size)
    for name, count in (("a", 3), ("b", head.tap_size + 1)):
        sums = sums.add(name, rng.normal(size=(count, head.tap_size)).astype(np.float32))
    meta = Meta(1, 0.0, "x", ["a", "b"], strategy="slda")
    form = ClosedForm.of(sums.pooled(["a", "b"]), analysis_rows, *learned_samples(sums, ["a", "b"], 0))
    classifier = form.classifier(1.0, 0.0).tensors()
    write_generation(place, Generation(meta, bundle.head_parameters(), kept, held, sums, memory, classifier))
    record = json.loads((place / "meta.json").read_text())
    good = {name: (place / name).read_bytes() for name in record["files"]}

    def use(path: Path) -> None:
        for name, unchanged in good.items():
            data = path.read_bytes() if Path(name).name == path.name else unchanged
            (place / name).write_bytes(data)
            record["files"][name] = hashlib.sha256(data).hexdigest()
        (place / "meta.json").write_text(json.dumps(record))
        found = read_generation(place, read_meta(place, 1), bundle)
        assert np.isfinite(found.sums.merge(sums).pooled(found.meta.classes).scatter).all()
        with calls_through(Unsynced()):
            for row in ("a", "b"):
                write_generation(folder / "without", without_class(found, row, bundle)[0])
        holdout = Holdout.from_tensors(found.holdout, shape, head.tap_size)
        holdout.extended(held_out)
        for kind in ("reservoir", "herding"):
            offered(FeatureBuffer.from_tensors(found.buffer, identity), kind)
        for name, kind in STRATEGIES.items():
            kind(head, Settings(0.1, 0.1, 4)).restore(part_of(found.strategy_state, name))
        classifier_of(found).probabilities(taps.astype(np.float32), np.zeros((4, head.capacity), np.float32))
        assert all(np.isfinite(array).all() for array in found.parameters.values())

    return {f"generation's {name}": TensorTarget(data, use, Path(name).name) for name, data in good.items()}
