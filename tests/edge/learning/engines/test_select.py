"""Which engine is chosen where a package of the torch engine is missing."""

from __future__ import annotations

import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import NoEngineError
from lightcl_edge.learning.engines import select, trial


@pytest.fixture
def without_onnx(monkeypatch):
    found = select.importlib.util.find_spec
    monkeypatch.setattr(select.importlib.util, "find_spec", lambda name: None if name == "onnx" else found(name))


def test_torch_without_onnx_is_told_what_to_install(bundle, monkeypatch, without_onnx):
    monkeypatch.setattr(select, "torch_may_use_cuda", lambda: True)
    opened = Bundle.open(bundle)
    assert select.choose_engine("auto", opened).name == "ort"
    with pytest.raises(NoEngineError, match=r"needs onnx, which is not installed; pip install 'lightcl-edge\[torch\]'"):
        select.choose_engine("torch", opened)


def test_a_trial_of_torch_without_onnx_says_so(capsys, without_onnx):
    trial.main("torch")
    assert "onnx is not installed; pip install 'lightcl-edge[torch]'" in capsys.readouterr().out
