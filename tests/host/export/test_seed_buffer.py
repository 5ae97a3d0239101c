"""A bundle that knows base classes, without their images."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import BUFFER, Bundle
from lightcl_host.cli import main
from small_bundle import make_folder


@pytest.fixture
def export(network_file, tmp_path, capsys):
    """Exports with a seeded buffer; gives exit code, document and bundle."""

    def run(*more, out="bundle"):
        data = tmp_path / "base"
        if not data.exists():
            make_folder(data, ["red", "green"], count=30)
            (data / "red" / "broken.png").write_text("not an image")
        arguments = [
            "--model",
            network_file,
            "--trunk-dtype",
            "fp32",
            "--seed-buffer",
            data,
            "--out",
            tmp_path / out,
            *more,
        ]
        code = main(["export", "--json", *map(str, arguments)])
        return code, json.loads(capsys.readouterr().out), tmp_path / out

    return run


def test_the_device_knows_base_classes_and_keeps_them(export, edge, tmp_path):
    code, document, out = export()
    assert code == 0 and document["classes"] == ["green", "red"]
    bundle = Bundle.open(out)
    assert bundle.has(BUFFER) and bundle.manifest.classes == ["green", "red"]
    state, more = tmp_path / "state", make_folder(tmp_path / "more", ["blue", "grey"], count=30, seed=2)
    trained = json.loads(edge("train", "--bundle", out, "--state", state, "--data", more, "--json")[0])
    assert trained["classes"] == ["green", "red", "blue", "grey"] and trained["strategy"] == "slda"
    status = json.loads(edge("status", "--state", state, "--json")[0])
    assert status["buffer"]["samples"] == 60 + trained["images"] - status["held_out"]["samples"]
    test = make_folder(tmp_path / "test", ["red", "green", "blue", "grey"], count=10, seed=9)
    found = json.loads(edge("evaluate", "--state", state, "--data", test, "--json")[0])
    assert found["per_class"]["red"]["accuracy"] > 0.6 and found["per_class"]["green"]["accuracy"] > 0.6
    assert found["accuracy"] > 0.7


def test_size_fairness_and_repetition(export):
    _, _, out = export("--seed-buffer-size", "9")
    tensors = {}
    from lightcl_edge.errors import StateError
    from lightcl_edge.files.tensors import read_tensors

    tensors = read_tensors(Bundle.open(out).path(BUFFER), StateError)
    assert sorted(np.bincount(tensors["labels"].astype(int)).tolist()) == [4, 5]
    assert tensors["seen"].tolist() == [30, 31] and (tensors["ranks"] < 1).all()
    assert bytes(tensors["trunk"].astype(np.uint8)).hex() == Bundle.open(out).sha256("trunk.onnx")
    _, _, again = export("--seed-buffer-size", "9", out="again")
    assert (again / "manifest.json").read_bytes() == (out / "manifest.json").read_bytes()


def test_classes_that_a_kept_network_lacks_are_refused(export, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class {index}" for index in range(5)) + "\n")
    code, document, _ = export("--keep-classes", names)
    assert code == 2 and "only the network's own" in document["error"]["message"]
