"""No file ends in a traceback: whatever libraries raise on it becomes one message with exit code 2 or 3."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from damaged_models import damaged
from onnx import TensorProto, helper
from test_any_exporter import DENSE, KERNEL, POOLED, SIDE, STEM, saved

from lightcl_edge.errors import UsageError
from lightcl_host.cli import main
from lightcl_host.sources.failure_reason import blaming

FEW, MANY = range(24), range(1000, 1500)


def whole_files(folder: Path) -> list[bytes]:
    """Small networks of several kinds: plain, channels last, quantised, with shapes that are computed."""
    end = helper.make_node("MatMul", ["f", "dense"], ["y"])
    last = [helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["first", "kernel"], ["c"], strides=[4, 4]), *POOLED[1:], end]  # fmt: skip
    quantised = [helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["xq"]),
                 helper.make_node("DequantizeLinear", ["xq", "step", "zero"], ["xd"]),
                 helper.make_node("DequantizeLinear", ["stored", "scales"], ["real"], axis=0),
                 helper.make_node("Conv", ["xd", "real"], ["c"], strides=[4, 4]), *POOLED[1:], end]  # fmt: skip
    shaped = [*STEM, helper.make_node("Shape", ["r"], ["s"]), helper.make_node("Gather", ["s", "zero"], ["n"]),
              helper.make_node("Concat", ["n", "rest"], ["target"], axis=0),
              helper.make_node("Reshape", ["r", "target"], ["flat"]),
              helper.make_node("ReduceMean", ["flat"], ["f"], axes=[2], keepdims=0), end,
              helper.make_node("Softmax", ["y"], ["p"])]  # fmt: skip
    scales = np.full(6, 0.02, np.float32)
    stored = (KERNEL * 40).astype(np.int8)
    paths = [
        saved(folder / "plain.onnx", [*POOLED, end], {}),
        saved(folder / "last.onnx", last, {}, ("n", SIDE, SIDE, 3)),
        saved(folder / "quantised.onnx", quantised,
              {"step": np.float32(0.02), "zero": np.uint8(128), "stored": stored, "scales": scales}),
        saved(folder / "shaped.onnx", shaped, {"zero": np.array([0]), "rest": np.array([6, 4])}, outputs=["p"]),
    ]  # fmt: skip
    return [Path(path).read_bytes() for path in paths]


def check(folder: Path, numbers: Sequence[int]) -> tuple[int, int]:
    """How many files were read and how many were refused, each in one line."""
    files, path, found = whole_files(folder), folder / "damaged.onnx", {0: 0, 2: 0, 3: 0}
    for number in numbers:
        path.write_bytes(damaged(files[number % len(files)], number))
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            code = main(["cuts", "--model", str(path), "--quiet"])
        assert code in found, number
        found[code] += 1
        lines = errors.getvalue().splitlines()
        assert len(lines) == (code != 0), number
        assert "Traceback" not in errors.getvalue() and all("onnxruntime_src" not in line for line in lines), number
    return found[0], found[2] + found[3]


def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    read, refused = check(tmp_path, FEW)
    assert read + refused == len(FEW) and refused > 0


@pytest.mark.slow
def test_many_damaged_files(tmp_path: Path) -> None:
    read, refused = check(tmp_path, MANY)
    assert read > 0 and refused > 0


def test_the_undamaged_files_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, content in enumerate(whole_files(tmp_path)):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(content)
        assert main(["cuts", "--model", str(path), "--quiet"]) == 0, capsys.readouterr().err


def test_the_part_in_hand_is_named_and_details_follow_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def library(node: onnx.NodeProto) -> None:
        raise KeyError(node.input[0])

    with pytest.raises(UsageError) as caught, blaming("m.onnx", "cut", "try another opset"):
        library(STEM[0])
    expected = "m.onnx can't be cut at operator Conv (c): no 'x' is there; try another opset"
    assert str(caught.value) == expected
    path = saved(
        tmp_path / "m.onnx", [*POOLED, helper.make_node("MatMul", ["f", "dense"], ["y"])], {"dense": DENSE[:3]}
    )
    assert main(["cuts", "--model", path, "--quiet"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert main(["cuts", "--model", path, "--quiet", "--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_weights_beside_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """External data is read; where it is not there, that is said."""
    path = saved(tmp_path / "m.onnx", [*POOLED, helper.make_node("MatMul", ["f", "dense"], ["y"])], {})
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    assert main(["cuts", "--model", path, "--quiet"]) == 0
    capsys.readouterr()
    (tmp_path / "m.data").unlink()
    assert main(["cuts", "--model", path, "--quiet"]) == 2
    assert "m.data" in capsys.readouterr().err
    assert model.graph.initializer[0].data_type == TensorProto.FLOAT
