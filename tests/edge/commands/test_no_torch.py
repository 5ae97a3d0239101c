"""The device predicts without torch or onnx, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from small_bundle import make_folder


@pytest.fixture
def poison(tmp_path):
    """An environment in which importing torch or onnx fails."""
    for module in ("torch", "onnx"):
        (tmp_path / "poison" / module).mkdir(parents=True)
        (tmp_path / "poison" / module / "__init__.py").write_text("raise ImportError('must not be imported')\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path / "poison")}


def run(*arguments, env=None):
    command = [sys.executable, "-m", "lightcl_edge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def json_documents(text):
    """The documents that stand one after the other in a text."""
    found, at = [], 0
    while at < len(text.rstrip()):
        document, at = json.JSONDecoder().raw_decode(text, at)
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def test_learning_and_predicting_import_neither_torch_nor_onnx(bundle, tmp_path, poison):
    state, data = tmp_path / "s", make_folder(tmp_path / "d", ["red", "green"])
    commands = [
        ("train", "--bundle", bundle, "--state", state, "--data", data, "--json"),
        ("predict", "--state", state, data / "red" / "0.png", "--json"),
        ("evaluate", "--state", state, "--data", data, "--json"),
        ("verify", bundle, "--json"),
        ("export", "--state", state, "--out", tmp_path / "learned.onnx", "--json"),
        ("status", "--state", state, "--json"),
    ]
    words = [[str(word) for word in command] for command in commands]
    program = f"from lightcl_edge.cli import main\nfor words in {words}: assert main(words) == 0, words"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=poison, check=False)
    assert done.returncode == 0, done.stderr
    trained, predicted, *_ = json_documents(done.stdout)
    assert trained["engine"] == "ort"
    assert predicted["predictions"][0]["top"][0]["class"] == "red"


def test_training_with_a_torch_that_does_not_load_says_so(bundle, tmp_path, poison):
    data = make_folder(tmp_path / "d", ["red", "green"])
    arguments = ("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--engine", "torch")
    done = run(*arguments, env=poison)
    assert done.returncode == 8 and "torch or onnx can't be imported" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "statement", ["import lightcl_edge.cli", "from lightcl_edge.cli import main; main(['--version'])"]
)
def test_starting_imports_nothing_heavy(statement):
    heavy = ("torch", "onnx", "onnxruntime", "numpy", "PIL")
    code = (
        f"import sys\ntry:\n    {statement}\nexcept SystemExit: pass\nprint([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("module", ["lightcl_host.cli", "lightcl_edge.cli"])
def test_what_needs_a_missing_package_says_which(bundle, tmp_path, poison, module):
    for name in ("torch", "onnx"):
        (tmp_path / "poison" / name / "__init__.py").write_text(
            f"raise ModuleNotFoundError('No module named {name}', name='{name}')\n"
        )
    data = make_folder(tmp_path / "d", ["red", "green"])
    cases = {
        "lightcl_host.cli": (2, "which is not installed; pip install", ["cuts", "--model", "resnet18_cifar"]),
        "lightcl_edge.cli": (
            8,
            "needs torch",
            ["profile", "--bundle", bundle, "--data", data, "--methods", "sgd", "--out"],
        ),
    }
    code, says, arguments = cases[module]
    program = f"import sys; from {module} import main; sys.exit(main())"
    command = [sys.executable, "-c", program, *map(str, arguments), *([str(tmp_path / "o")] if code == 8 else [])]
    done = subprocess.run(command, capture_output=True, text=True, env=poison, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert says in done.stderr
