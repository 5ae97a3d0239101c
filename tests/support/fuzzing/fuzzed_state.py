"""Readers of what lies on the device's disk as targets of the fuzzer; those of a generation's tensors stand apart."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from fuzzed_reader import Target
from lightcl_edge.errors import StateError


def state_targets() -> dict[str, Target]:
    """Pointer, records and notes of a state."""
    from lightcl_edge.data.feature_store import FeatureStore
    from lightcl_edge.learning.checkpoint import Checkpoints
    from lightcl_edge.state.generation import Meta
    from lightcl_edge.state.generation_files import read_meta
    from lightcl_edge.state.pointer import read_pointer
    from lightcl_edge.state.sums_files import sums_file
    from lightcl_edge.state.trust import read_trust
    from lightcl_edge.state.written_bytes import read_written

    record = Meta(1, 1.0, "x", ["a", "b"], strategy="lightcl", holdout_accuracy=0.5, sources=["x"])
    meta = asdict(replace(record, images_by_class=[0, 3], files={"a": "b", sums_file("b"): "c"}))
    note = {"key": "k", "file": "checkpoint-1-2.safetensors", "sha256": "x", "trained_seconds": 1.0, "written": 1,
            "position": {"epoch": 1, "step": 2, "loss_sum": 0.5}}  # fmt: skip
    store = {
        "key": "k",
        "count": 2,
        "skipped": ["a"],
        "sha256": {"features.u8": "a", "labels.i64": "b", "marks.u64": "c"},
    }
    written = {"total_bytes": 5, "task_bytes": 1, "last_task_bytes": 4}
    text = lambda value: [json.dumps(value).encode()]  # noqa: E731
    trust = {"key": "k", "release": 1, "identity": "i"}
    documents = {
        "generation record": (text(meta), lambda p: read_meta(p.parent, 1), (StateError,), "meta.json"),
        "checkpoint": (text(note), lambda p: Checkpoints(p.parent, "k").load(), (), "checkpoint.json"),
        "feature store": (text(store), lambda p: FeatureStore.open(p.parent, (2,), "k"), (), "store.json"),
        "byte count": (text(written), lambda p: read_written(p.parent), (), "written.json"),
        "trust": (text(trust), lambda p: read_trust(p.parent), (StateError,), "trust.json"),
    }
    found = {name: Target(*parts, document=True) for name, parts in documents.items()}
    return {"pointer": Target([b"3 5\n"], lambda p: read_pointer(p.parent), (), "CURRENT"), **found}
