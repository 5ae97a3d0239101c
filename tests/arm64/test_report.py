"""The report says what failed, and nothing of the machine that made it."""

from __future__ import annotations

import json

from arm64 import report

DOCTOR = {
    "engines": {
        "ort": {"works": True, "reason": "onnxruntime 1.32.0"},
        "torch": {"works": False, "reason": "ModuleNotFoundError: No module named 'torch'"},
    },
    "packages": {"lightcl-edge": "0.1.0", "onnxruntime": "1.32.0", "numpy": "2.4.6"},
    "python": "3.11.2",
}
STEPS = {
    "doctor": DOCTOR,
    "verify int8": {"ok": True},
    "verify fp32": {"ok": True},
    "features": {"file": "features/features.npz"},
    "train fp32": {"engine": "ort", "epochs": 2, "head_sha256": "aa", "seconds": 3.0},
    "kill and resume": {"killed_with": 9, "checkpoint": {"epoch": 0, "step": 1}, "resumed": True, "head_sha256": "aa"},
    "predict int8": {"images": 2, "accuracy": 0.5, "predictions": [{"top": []}]},
    "health check": {"before_learning": 0},
    "instructions": {"--help": 1_234_500_000, "each step of training": 42_000_000},
}
ABOUT = dict.fromkeys(("wheel", "debian", "python", "qemu", "network", "task"), "x") | {
    "lightcl-edge": "1",
    "memory": "includes",
}


def document(found, **changes):
    drift = {"what": "features", "found": found, "allowed": 1e-5, "unit": "relative", "passes": found == 1e-6}
    machine = {"processor": "cortex-a53", "boards": "Pi 3", "image": "TORCH=0", "engine": "ort"}
    machine |= {"steps": report.public({**STEPS, **changes}), "drift": [drift]}
    other = {"processor": "cortex-a76", "boards": "Pi 5", "image": "TORCH=1", "steps": {"doctor": DOCTOR}}
    return {"command": "make x", "total": 2, "about": ABOUT, "reference": {"ort": STEPS}, "machines": [machine, other]}


def test_what_is_published():
    kept = report.public(STEPS)
    assert "predictions" not in kept["predict int8"] and "seconds" not in kept["train fp32"] and not kept["features"]
    assert STEPS["predict int8"]["predictions"]  # the original keeps them


def test_a_report_that_passed(tmp_path):
    good = document(1e-6)
    assert report.passes(good)
    report.write(good, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "everything passed" in text and "too far" not in text
    assert "| features | 1e-06 | 1e-05 | relative |  |" in text
    assert "signal 9 in epoch 1, equal weights" in text and "50% right" in text and "not in this image" in text
    assert "| --help | 1,234 |" in text and "| each step of training | 42 |" in text
    assert json.loads((tmp_path / "report.json").read_text()) == good


def test_a_report_of_a_run_that_was_cut_short():
    cut = {**document(1e-6), "total": 3}
    assert not report.passes(cut)
    assert "passed on 2 of 3 machines, the others did not run yet" in report.render(cut)


def test_a_report_that_failed():
    bad = document(None)
    assert not report.passes(bad)
    text = report.render(bad)
    assert "**something failed**" in text and "| no number | 1e-05 | relative | **too far** |" in text
    other = {**STEPS["kill and resume"], "head_sha256": "bb"}
    assert "other weights" in report.render(document(1e-6, **{"kill and resume": other}))
