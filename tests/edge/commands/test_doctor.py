"""The doctor survives engines that do not."""

from __future__ import annotations

import json
import signal
from functools import cache

import pytest

from lightcl_edge.commands.doctor import DoctorCommand
from lightcl_edge.learning.engines import trial
from small_bundle import make_bundle

_try_engine_once = cache(trial.try_engine)


@pytest.fixture
def tried_once(monkeypatch):
    """Each engine in one real process for all tests here: torch takes seconds to load."""
    monkeypatch.setattr(trial, "try_engine", _try_engine_once)


def test_it_reports_machine_engines_and_what_a_bundle_needs(edge, bundle, tmp_path, tried_once):
    document = json.loads(edge("doctor", "--bundle", make_bundle(tmp_path / "plain", steps=False), "--json")[0])
    assert document["machine"]["cores"] >= 1 and document["machine"]["page_size_bytes"] % 4096 == 0
    assert document["engines"]["ort"]["works"] is True and document["engines"]["ort"]["plan"] is None
    torch = document["engines"]["torch"]
    assert torch["works"] is True and torch["import_peak_rss_bytes"] > 100 * 2**20
    assert torch["plan"]["peak_bytes"] > document["engines"]["ort"]["import_peak_rss_bytes"]
    document = json.loads(edge("doctor", "--bundle", bundle, "--engine", "ort", "--json")[0])
    plan = document["engines"].pop("ort")["plan"]
    assert plan["last_task_peak_bytes"] >= plan["peak_bytes"] and not document["engines"]
    text = edge("doctor", "--bundle", bundle)[0]
    assert text.startswith("this bundle can be trained here with ort or torch\n")
    assert "works" in text and text.count("this bundle needs about") == text.count("in later tasks") == 2


def test_it_names_providers_and_devices(edge, bundle, tried_once):
    whole = json.loads(edge("doctor", "--bundle", bundle, "--json")[0])
    document = whole["engines"]
    # onnxruntime's wheel also names AzureExecutionProvider, which computes nothing here
    assert "CPUExecutionProvider" in document["ort"]["devices"] and "Azure" not in " ".join(document["ort"]["devices"])
    assert document["ort"]["trunk_provider"]["name"] == "cpu"
    assert document["torch"]["devices"][0].startswith("cpu (this torch sees no CUDA device)")
    assert "this bundle's trunk: on cpu (the default)" in DoctorCommand().render(whole)


def _program(tmp_path, monkeypatch, code):
    """Stand in for the trial's Python with a program that does what a broken engine does."""
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{code}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(trial.sys, "executable", str(fake))
    return trial.try_engine("torch")


def test_an_illegal_instruction_kills_the_trial_only(tmp_path, monkeypatch):
    found = _program(tmp_path, monkeypatch, f"kill -{int(signal.SIGILL)} $$")
    assert not found.works and "SIGILL" in found.reason and "another processor" in found.reason


def test_a_failed_import_and_a_hang(tmp_path, monkeypatch):
    assert "no such" in _program(tmp_path, monkeypatch, "echo no such module >&2; exit 1").reason
    monkeypatch.setattr(trial, "TRIAL_SECONDS", 0.2)
    assert "did not answer" in _program(tmp_path, monkeypatch, "exec sleep 5").reason
