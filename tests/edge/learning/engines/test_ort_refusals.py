"""What the ort engine refuses: other parameters, other graphs, other features, no onnxruntime."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightcl_edge.errors import BundleError
from lightcl_edge.learning.engines.ort_engine import OrtEngine
from step_reference import Head, random_batch

SHAPE = (4, 8, 8)


def test_wrong_parameters(head: Head) -> None:
    engine, given = head.engine(), head.parameters()
    missing = {name: value for name, value in given.items() if name != "classifier.bias"}
    with pytest.raises(
        BundleError, match=r"parameters: tensors \['classifier\.bias'\] are only in the file or only in the manifest"
    ):
        engine.load(missing)
    given["classifier.bias"] = np.zeros(3, np.float32)
    with pytest.raises(BundleError, match=r"classifier\.bias is float32 \(3,\), expected float32 \(6,\)"):
        engine.load(given)


def test_features_of_another_trunk(head: Head) -> None:
    batch = random_batch(head, 2, 0)
    with pytest.raises(BundleError, match=r"features have the shape \(4, 8, 4\), expected \(4, 8, 8\)"):
        head.engine().step(replace(batch, features=batch.features[..., :4]))


def test_graphs_that_are_missing_or_damaged(head: Head, tmp_path: Path) -> None:
    model = head.model.SerializeToString()
    with pytest.raises(BundleError, match="training_step graphs are none, expected auto; export the bundle again"):
        OrtEngine(model, head.info, SHAPE, [], 1)
    in_place = [step for step in head.steps if step[0].update == "in_place"]
    with pytest.raises(BundleError, match=r"training_step graphs are \['in_place'\], expected accumulate"):
        OrtEngine(model, head.info, SHAPE, in_place, 1, "accumulate")
    engine = OrtEngine(model, head.info, SHAPE, in_place, 1)
    engine.load(head.parameters())
    with pytest.raises(BundleError, match=r"a step of 7 samples and 0 buffered ones fits no .* at most 6 samples"):
        engine.step(random_batch(head, 7, 0))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    engine = OrtEngine(model, head.info, SHAPE, [(in_place[0][0], broken)], 1, "in_place")
    with pytest.raises(BundleError, match=r"can't open the graph: .* export it again or update onnxruntime"):
        engine.step(random_batch(head, 2, 0))


def test_graph_of_another_head(head: Head) -> None:
    graph, path = next(step for step in head.steps if step[0] == replace(step[0], update="in_place"))
    other = replace(graph, samples=graph.samples + 1)
    engine = OrtEngine(b"", head.info, SHAPE, [(other, path)], 1, "in_place")
    with pytest.raises(BundleError, match=r"input '.*' takes \d+ rows, expected \d+"):
        engine.step(random_batch(head, 2, 0))


def test_a_layout_that_is_not_that_of_the_graphs(head: Head) -> None:
    assert head.info.positions_first, "the graphs of this head take kernels by position"
    whole = replace(head.info, positions_first=[])
    engine = OrtEngine(b"", whole, SHAPE, head.steps, 1, "in_place")
    with pytest.raises(BundleError, match=r"output 'update\.\d+\..*@\d' fits no parameter of the head"):
        engine.step(random_batch(head, 2, 0))


def test_without_onnxruntime(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not for this processor')")
    code = "from lightcl_edge.learning.engines.ort_engine import OrtEngine; OrtEngine(b'', None, (1,), [])"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert "NoEngineError: onnxruntime can't be imported (not for this processor)" in done.stderr
