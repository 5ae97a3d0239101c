"""The tiny bundle with training-step graphs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.writing import write_bundle
from lightcl_host.autodiff.training_step import step_graphs
from small_bundle import make_bundle


def make_step_bundle(folder: Path, batch_size: int = 8, buffered_samples: int = 3) -> Path:
    """Write the tiny bundle with the graphs of the ort engine; ``folder`` takes it and its plain form."""
    plain = Bundle.open(make_bundle(folder / "plain", steps=False))
    manifest = plain.manifest
    head = onnx.load(plain.path("head.onnx"))
    steps = step_graphs(head, manifest.head, manifest.feature.shape, [batch_size], buffered_samples)
    files = {entry.path: plain.path(entry.path).read_bytes() for entry in manifest.files}
    files |= steps.files
    out = folder / "steps"
    write_bundle(out, dataclasses.replace(manifest, head=steps.head, training_step=steps.records), files)
    return out
