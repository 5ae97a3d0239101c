"""Predictions for cuts and bundles, and the command that measures them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightcl_edge.bundle.manifest import InputInfo, StepGraph, TrainingDefaults
from lightcl_edge.console.progress import Progress
from lightcl_edge.learning.strategies import STRATEGIES
from lightcl_edge.planning import ort as plan_ort
from lightcl_edge.planning.plan import plan_training
from lightcl_host.benchmark.plan_check import CASES, Case, check_rows
from lightcl_host.cli import main
from lightcl_host.cost.cut_manifest import cut_manifest
from lightcl_host.cost.plan_cut import covering_plan, plan_revision
from lightcl_host.cost.prediction import predict, task_multiply_adds
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from small_bundle import make_bundle
from small_networks import Residual

MIB = 2**20
INPUT = InputInfo(16, 16, "stretch", 1.0, "bilinear", [0.5] * 3, [0.25] * 3, "RGB")


@pytest.fixture(scope="module")
def manifest(residual):
    defaults = replace(TrainingDefaults(), batch_size=8, buffer_samples=3)
    return cut_manifest(residual, choose_by_name(find_cuts(residual), "stage1"), INPUT, defaults=defaults)


def test_counts_of_a_cut_are_those_of_the_network(residual, manifest):
    parameters = sum(parameter.numel() for parameter in Residual().parameters())
    assert manifest.feature.shape == [8, 8, 8]
    assert manifest.cost.trunk_parameter_bytes < 4 * parameters
    assert {step.update for step in manifest.training_step} == {"in_place", "accumulate"}
    narrow = cut_manifest(residual, choose_by_name(find_cuts(residual), "stage1"), INPUT, trunk_dtype="int8")
    assert narrow.cost.trunk_parameter_bytes == manifest.cost.trunk_parameter_bytes // 4


@given(batch=st.integers(1, 256), more=st.integers(1, 64), engine=st.sampled_from(["ort", "torch"]))
def test_a_larger_batch_never_needs_less(manifest, batch, more, engine):
    fixed = replace(manifest, training_step=[])  # the ort engine may take another, smaller kind of graph
    smaller, larger = (predict(fixed, engine, size, 15) for size in (batch, batch + more))
    assert smaller.train_bytes <= larger.train_bytes
    assert smaller.peak_bytes == max(smaller.phases().values()) > smaller.base_bytes


def test_a_batch_beyond_the_graphs_is_accumulated(manifest):
    fitting = predict(manifest, "ort", 8, 3, strategy="lightcl")
    accumulating = min(step.peak_bytes for step in manifest.training_step if step.update == "accumulate")
    parameters = manifest.cost.head_parameter_bytes
    one_row = 4 * 8 * 8 * 8
    assert fitting.train_bytes > 0
    # of steps alone: the closed form before them may need more
    assert plan_ort.step_bytes(manifest, 10, 3) - plan_ort.step_bytes(manifest, 9, 3) == pytest.approx(one_row, abs=1)
    assert plan_training(manifest, "ort", 0, (9, 3)).train_bytes >= 2 * parameters + accumulating


def test_work_of_a_task(manifest):
    cost = manifest.cost
    light, whole = task_multiply_adds(manifest, images=10, epochs=2)
    assert whole == 3 * 20 * (cost.trunk_multiply_adds + cost.head_multiply_adds)
    assert light == round(10 * cost.trunk_multiply_adds + (1 + 3 / 8) * 3 * 20 * cost.head_multiply_adds)


def test_the_command_predicts_for_a_bundle(exported_bundle, capsys):
    capsys.readouterr()  # what the export said
    code = main(["cost", "--bundle", str(exported_bundle), "--engine", "ort", "--batch-size", "4", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    (found,) = document["predictions"]
    assert found["peak_bytes"] == max(found["phases"].values())
    assert set(found["phases"]) == {"install", "extract", "import", "train", "gate", "commit"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--check", "--only", "nothing"], "matches none"),
        (["--paper", "--batch-size", "0"], "1 or more"),
        (["--paper", "--buffer-size", "-1"], "0 or more"),
        ([], "required"),
    ],
)
def test_usage(arguments, says, capsys):
    assert main(["cost", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_the_check_covers_five_networks_and_two_cuts_each():
    cuts = {model: {case.cut for case in CASES if case.model == model} for model in {case.model for case in CASES}}
    assert len(cuts) >= 5
    assert all(len(names) == 2 for names in cuts.values())


@pytest.mark.slow
def test_a_prediction_holds_on_this_machine():
    case = Case("torchvision:mobilenet_v2", 96, "features.13", "fp32")
    rows, _ = check_rows([case], ["ort"], [8, 32], "lightcl", Progress(quiet=True))
    assert {(row.phase, round(row.difference, 3)) for row in rows if abs(row.difference) > 0.1} == set()


def test_every_option_of_the_command_counts(tmp_path, capsys) -> None:
    from lightcl_host.cli import main as host

    bundle = make_bundle(tmp_path / "bundle")

    def peaks(*more: str) -> dict[str, int]:
        assert host(["cost", "--bundle", str(bundle), "--engine", "torch", "--json", *more]) == 0
        return dict(json.loads(capsys.readouterr().out)["predictions"][0]["phases"])

    lightcl = ("--strategy", "lightcl", "--buffer-size")
    assert peaks(*lightcl, "3")["train"] > peaks("--strategy", "slda")["train"]
    assert peaks(*lightcl, "3")["train"] > peaks(*lightcl, "0")["train"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--paper", "--strategy", "slda"], "--strategy goes with --bundle or --check, not with --paper"),
        (["--paper", "--engine", "ort"], "--engine goes with --bundle or --check"),
        (["--paper", "--batch-size", "8"], "--batch-size goes with"),
        (["--check", "--buffer-size", "8"], "--buffer-size goes with --bundle, not with --check"),
        (["--bundle", "b", "--only", "resnet"], "--only goes with --check, not with --bundle"),
    ],
)
def test_no_option_is_ignored(arguments, says, capsys) -> None:
    assert main(["cost", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_check_says_how_and_where_it_was_made(monkeypatch, capsys) -> None:
    monkeypatch.setattr("lightcl_host.benchmark.plan_check.check_rows", lambda *_: ([], []))
    assert main(["cost", "--check", "--engine", "ort", "--only", "resnet18", "--batch-size", "8", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == "lightcl-host cost --check --batch-size=8 --engine=ort --only=resnet18 --json"
    assert document["machine"]["cores"] >= 1 and document["beyond_tolerance"] == 0


def _drawn(manifest, peaks, head, pattern):
    held = manifest.defaults.buffer_samples
    names = [("in_place", 8, held), ("in_place", 8, 0), ("accumulate", 2, held), ("accumulate", 2, 0)]
    graphs = [StepGraph("g", update, new, old, peak) for (update, new, old), peak in zip(names, peaks, strict=True)]
    cost = replace(manifest.cost, head_parameter_bytes=head, head_pattern_bytes=pattern)
    return replace(manifest, cost=cost, training_step=graphs)


@given(
    engine=st.sampled_from(["ort", "torch"]),
    peaks=st.tuples(*[st.integers(0, 30 * MIB)] * 4),
    head=st.integers(0, 20 * MIB),
    pattern=st.integers(0, 2 * MIB),
)
def test_what_an_analysis_predicts_covers_every_strategy(manifest, engine, peaks, head, pattern) -> None:
    drawn = _drawn(manifest, peaks, head, pattern)
    covering = covering_plan(drawn, engine, 0).phases()
    for strategy in STRATEGIES:
        needed = predict(drawn, engine, strategy=strategy).phases()
        assert all(size <= covering[phase] for phase, size in needed.items()), strategy


def test_without_patterns_there_may_be_room_for_a_larger_step(manifest) -> None:
    drawn = _drawn(manifest, (60 * MIB, 7 * MIB, 0, 0), 0, MIB // 8)
    held = manifest.defaults.buffer_samples
    with_patterns, without = (predict(drawn, "ort", buffer_samples=samples).train_bytes for samples in (held, 0))
    assert without > with_patterns
    assert covering_plan(drawn, "ort", 0).train_bytes == without


def test_finished_plans_are_not_taken_up_with_other_coefficients(monkeypatch) -> None:
    before = plan_revision()
    assert before == plan_revision()
    monkeypatch.setattr(plan_ort, "GATE_HEAD_COPIES", plan_ort.GATE_HEAD_COPIES + 0.01)
    assert plan_revision() != before
