"""Whole exports through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from safetensors.numpy import load_file

from lightcl_edge.bundle.bundle import Bundle
from lightcl_host.cli import main
from lightcl_host.commands.export import render_export


@pytest.fixture
def model(network_file: Path) -> Path:
    return network_file


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    for name in ("left", "right"):
        (folder / name).mkdir()
        for index in range(6):
            pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    (folder / "right" / "broken.png").write_text("not an image")
    return folder


def export(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict, str]:
    code = main(["export", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def test_a_bundle_of_a_foreign_model(
    capsys: pytest.CaptureFixture[str], model: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    code, document, errors = export(
        capsys, "--model", model, "--calibration", data, "--out", out, "--min-agreement", 0, "--with-baselines"
    )
    assert code == 0, errors
    assert document["trunk_dtype"] == "int8" and document["float_max_relative_difference"] < 1e-4
    assert document["calibration"] == {"origin": str(data), "images": 12, "skipped": 1}
    assert document["trunk_checked_with"] == {"images": 12, "also_calibrated_with": True}
    assert f"checked with 12 images of {data}, the same that calibrated it)" in render_export(document)
    bundle = Bundle.open(out)
    assert bundle.manifest.model.cut == document["cut"] and bundle.manifest.classes == []
    for name in ("trunk.onnx", "head.onnx", "model.onnx"):
        onnx.checker.check_model(onnx.load(bundle.path(name)), full_check=True)
    head = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(out / "head.onnx").graph.initializer
    }
    for name, values in bundle.head_parameters().items():
        np.testing.assert_array_equal(values, head[name])
    operators = {node.op_type for node in onnx.load(out / "model.onnx").graph.node}
    assert "BatchNormalization" in operators and "Constant" not in operators


def test_exports_repeat_bit_for_bit(
    capsys: pytest.CaptureFixture[str], model: Path, data: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        assert export(capsys, "--model", model, "--calibration", data, "--out", tmp_path / name)[0] == 0
    one = tmp_path / "one"
    files = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert "golden.safetensors" in files and "training_step/forward.onnx" in files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_golden_values_come_from_the_exported_files(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle.lclb"
    words = ["--model", model, "--out", out, "--trunk-dtype", "fp32", "--cut", "stage1", "--max-taps", 2048]
    code, document, said = export(capsys, *words)
    assert "--max-taps changes nothing" in said  # without labelled images nothing is chosen
    assert code == 0 and document["trunk_dtype"] == "fp32" and document["trunk_judged_by"] is None
    assert "photographs" in document["calibration"]["origin"]
    bundle = Bundle.open(out)
    golden = load_file(bundle.path("golden.safetensors"))
    assert golden["images"].shape == (4, 16, 16, 3) and golden["images"].dtype == np.uint8
    assert golden["features"].shape == (4, 8, 8, 8) and golden["logits"].shape == (4, 64)


def test_one_statement_about_the_images_that_checked(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
) -> None:
    code, document, _ = export(
        capsys, "--model", model, "--out", tmp_path / "b", "--min-agreement", 1, "--cut", "stage1"
    )
    assert code == 0
    text = render_export(document)
    origin = "crops of scikit-learn's sample photographs"
    assert f"(checked with 128 images of {origin}; 128 others calibrated it)" in text
    if document["note"]:
        assert "of the 128 images it was checked with" in text
    assert "nearest neighbour kept on" in text and " ms an image here, float32 " in text
    half = document | {"trunk_dtype": "fp16"}
    assert f"(checked with 128 images of {origin})" in render_export(half)


def test_own_classes_are_kept_when_named(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\nd\ne\n")
    arguments = ["--model", model, "--out", tmp_path / "b", "--trunk-dtype", "fp32", "--force", "--keep-classes", names]
    assert export(capsys, *arguments)[1]["classes"] == ["a", "b", "c", "d", "e"]
    for text, message in [("a\nb\n", "names 2 classes, expected 5"), ("a\na\nb\nc\nd\n", "names 'a' more than once")]:
        names.write_text(text)
        code, document, errors = export(capsys, *arguments)
        assert code == 4 and message in document["error"]["message"] and message in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cut", "stage9"], "did you mean"),
        (["--trunk-dtype", "int4"], "--trunk-dtype int4; expected auto, int8, fp32"),
        (["--min-agreement", "2"], "expected a share of 0 to 1"),
        (["--max-loss", "-1"], "expected 0 to 100 points"),
        (["--max-classes", "0"], "expected 1 to 4096"),
        (["--max-taps", "0"], "expected 1024 (the default) or more"),
        (["--mean", "0.5"], "--mean 0.5; expected three numbers"),
        (["--std", "1,0,1"], "expected numbers above 0"),
        (["--image-size", "0"], "expected 1 to 4096 pixels"),
        (["--seed", "-1"], "expected 0 or more"),
    ],
)
def test_wrong_arguments_are_usage_errors(
    capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, document, errors = export(capsys, "--model", model, "--out", tmp_path / "b", *arguments)
    assert code == 2 and message in document["error"]["message"] and message in errors
    assert not (tmp_path / "b").exists()


def test_cuts_and_prepare(capsys: pytest.CaptureFixture[str], model: Path, data: Path, tmp_path: Path) -> None:
    assert main(["cuts", "--json", "--model", str(model)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["automatic"] in [row["name"] for row in document["cuts"]]
    assert {"name", "shape", "feature_bytes", "trunk_parameters", "head_parameters", "trainable", "reason"} <= set(
        document["cuts"][0]
    )
    assert main(["cuts", "--quiet", "--model", str(model)]) == 0
    assert "(*): the deepest trainable cut" in capsys.readouterr().out
    assert main(["prepare", "--quiet", "--model", str(model), "--data", str(data), "--out", str(tmp_path / "b")]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{tmp_path / 'b'} is ready to be copied to the board: ")
    assert "learning on the board takes about " in text and "\nhow good    " in text
    assert not any(word in text.replace(str(tmp_path), "") for word in ("cut", "taps", "dB", "trunk"))


def test_prepare_in_words_and_with_details(capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path) -> None:
    """Of a device, of pictures that say nothing of accuracy; what was chosen stands behind --verbose."""
    np.savez(tmp_path / "few.npz", x=np.zeros((4, 32, 32, 3), np.uint8), y=np.arange(4) % 2)
    words = ["prepare", "--quiet", "--model", model, "--data", tmp_path / "few.npz", "--out", tmp_path / "b"]
    assert main([str(word) for word in [*words, "--device", "rpi-zero-2w", "--verbose"]]) == 0
    text = capsys.readouterr().out
    assert "that are free on rpi-zero-2w" in text and "not measured: that takes two folders of 8" in text
    assert "\ncut         " in text and "trunk.onnx" in text


def test_help_needs_no_heavy_imports() -> None:
    import subprocess
    import sys

    code = "import sys; from lightcl_host.cli import main\n"
    code += "try: main(['export', '--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'onnx', 'timm', 'onnxruntime'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "example:" in found.stdout and found.stdout.strip().endswith("[]")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "torchvision:mobilenet_v3_small",
        "timm:mobilenetv2_100",
        "torchvision:shufflenet_v2_x0_5",
        "torchvision:regnet_y_400mf",
    ],
)
def test_published_networks_export(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    arguments = ["--model", name, "--weights", "none", "--image-size", 96, "--out", tmp_path / "b"]
    code, document, _ = export(capsys, *arguments)
    assert code == 0 and document["float_max_relative_difference"] <= 1e-4
    assert Bundle.open(tmp_path / "b").manifest.input.height == 96
