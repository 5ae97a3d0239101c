"""What is installed can't be talked into running somebody's code: no pickle, no eval, no code from files."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "edge/lightcl_edge/serve"
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
METHODS = {"spec_from_file_location", "SourceFileLoader", "exec_module"}


def findings(name, source):
    """What a module does that it must not."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            options = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            plain = isinstance(node.func, ast.Name)
            torch_load = not plain and called == "load" and getattr(node.func.value, "id", "") == "torch"
            wrong = (plain and called in CALLS) or called in METHODS or options.get("allow_pickle") is True
            wrong = wrong or options.get("shell") is True or (torch_load and options.get("weights_only") is not True)
            if wrong:
                found.append(f"{name}:{node.lineno} calls {called}")
        found += [f"{name} imports {each}" for each in names if each.split(".")[0] in MODULES]
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without a network."""
    pytest.importorskip("setuptools")
    out = tmp_path_factory.mktemp("wheel")
    for part in ("pyproject.toml", "README.md", "LICENSE", "edge", "host", "models", "profiles"):
        (out / part).symlink_to(ROOT / part)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-q",
        "-w",
        out,
        out,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_nothing_in_the_wheel_loads_code_or_pickles(wheel):
    found, modules = [], 0
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            assert Path(name).suffix not in (".pkl", ".pickle", ".pt", ".pth", ".so", ".pyc"), name
            if name.endswith(".py"):
                modules += 1
                found += findings(name, packed.read(name).decode())
    assert modules > 100 and found == []


def test_the_wheel_holds_the_four_packages_only(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    folders = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert folders == {"lightcl_edge", "lightcl_host", "lightcl_models", "lightcl_profiler"}
    templates = {"lightcl_profiler/reports/templates/frame.html", "lightcl_profiler/reports/templates/report.css"}
    assert templates | {"lightcl_host/analysis/templates/analysis.html"} <= set(names)
    page = {
        each.relative_to(ROOT / "edge").as_posix()
        for part in ("static", "templates")
        for each in PAGE.glob(f"{part}/*")
    }
    assert len(page) > 10 and page <= set(names)


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from pickle import loads", "eval('1')", "np.load(f, allow_pickle=True)", "torch.load(f)",
     "subprocess.run(x, shell=True)", "importlib.util.spec_from_file_location('a', p)", "import joblib.numpy_pickle"],
)  # fmt: skip
def test_the_search_finds(source):
    assert findings("m", source)


def test_the_wheel_needs_only_what_a_device_needs(wheel):
    with zipfile.ZipFile(wheel) as packed:
        name = next(each for each in packed.namelist() if each.endswith(".dist-info/METADATA"))
        lines = packed.read(name).decode().splitlines()
    needed = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    base = {line.split(">")[0].split("=")[0].lower() for line in needed if "extra ==" not in line}
    assert base == {"argcomplete", "jinja2", "numpy", "onnxruntime", "psutil", "pillow", "safetensors"}
