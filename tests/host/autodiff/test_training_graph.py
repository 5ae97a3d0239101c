"""The training step as a graph: its form, its safety in place, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from head_export import Tail, export_head
from lightcl_edge.bundle.manifest import HeadInfo, ParameterInfo
from lightcl_edge.errors import BundleError
from lightcl_host.autodiff import training_step as training_graph
from lightcl_host.autodiff.liveness import peak_bytes
from lightcl_host.autodiff.rules import RULES
from lightcl_host.autodiff.sgd_update import Updater, ancestors_of, update_hazards
from lightcl_host.autodiff.training_step import build_step, step_graphs
from lightcl_host.graphs import operators
from step_reference import Head, largest_relative_difference, random_batch, torch_step

SHAPE = (4, 6, 6)


def small_tail() -> Tail:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, stride=2), nn.ReLU())
    return Tail(body, 6, 5)


@pytest.fixture(scope="module")
def exported() -> tuple[onnx.ModelProto, HeadInfo]:
    return export_head(small_tail(), SHAPE)


def test_offered_graphs(exported: tuple[onnx.ModelProto, HeadInfo]) -> None:
    model, info = exported
    offered = step_graphs(model, info, SHAPE, [32], 15)
    graphs = offered.graphs
    found = {(graph.update, graph.samples, graph.buffered_samples) for graph, _ in graphs}
    assert found == {
        ("in_place", 32, 0),
        ("in_place", 32, 15),
        ("accumulate", 8, 0),
        ("accumulate", 8, 4),
        ("accumulate", 2, 0),
        ("accumulate", 2, 1),
        ("forward", 0, 0),
        ("evaluate", 8, 0),
    }
    assert len({graph.path for graph, _ in graphs}) == len(graphs)
    for _, data in graphs:
        step = onnx.load_from_string(data)
        onnx.checker.check_model(step, full_check=True)
        assert not {value.name for value in step.graph.initializer} & {p.name for p in info.parameters}
        assert {node.domain for node in step.graph.node} == {""}
        assert step.ir_version == 10
    assert offered.head.positions_first == ["body.0.weight", "body.2.weight"]
    assert step_graphs(model, info, SHAPE, [32], 15) == offered, "the same head gives the same bytes"


def test_step_inputs(exported: tuple[onnx.ModelProto, HeadInfo]) -> None:
    model, info = exported
    step = build_step(model, info, 8, 3, in_place=True)
    shapes = {v.name: [side.dim_value for side in v.type.tensor_type.shape.dim] for v in step.graph.input}
    assert shapes["features.new"] == [8, *SHAPE]
    assert shapes["features.buffered"] == [3, *SHAPE]
    assert shapes["labels"] == shapes["weights"] == [8]
    assert shapes["logit_offset"] == [8, 5]
    assert shapes["pattern_weight"] == [3]
    for name in info.patterns:
        assert shapes[f"target.{name}"][0] == 3
        assert shapes[f"mask.{name}"] == [shapes[f"target.{name}"][1]]
    for parameter in info.parameters:
        if len(parameter.shape) == 4 and math.prod(parameter.shape[2:]) > 1 and parameter.shape[1] > 1:
            assert shapes[f"{parameter.name}@0"] == parameter.shape[:2]
        else:
            assert shapes[parameter.name] == parameter.shape


def test_every_update_waits_for_the_readers_of_its_parameter(exported: tuple[onnx.ModelProto, HeadInfo]) -> None:
    """The ordering edge is in the data dependencies, whatever order a runtime chooses."""
    model, info = exported
    step = build_step(model, info, 8, 3, in_place=True)
    assert update_hazards(step) == []
    nodes = list(step.graph.node)
    producers = {name: node for node in nodes for name in node.output}
    kernel = "body.2.weight@4"  # the middle position
    before = ancestors_of(nodes, [f"update.0.{kernel}"])
    reading = [node for node in nodes if kernel in node.input and node.output[0] in before]
    assert len(reading) >= 3, "the forward convolution, its input's gradient and the update itself"
    assert "zero" in before
    assert producers[f"update.0.{kernel}"].op_type == "Gemm", "the update is folded into the gradient's product"


def _drop_ordering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Updater, "_ordered_scale", lambda *_: "neg_lr")


def test_a_graph_without_the_ordering_edge_is_refused(
    exported: tuple[onnx.ModelProto, HeadInfo], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, info = exported
    _drop_ordering(monkeypatch)
    with pytest.raises(BundleError, match=r"update\.0\.classifier\.weight may overwrite classifier\.weight before"):
        build_step(model, info, 8, 3, in_place=True)
    assert build_step(model, info, 8, 3, in_place=False), "accumulators are read by nothing else"


def _updates_first(step: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in another valid order: each update as early as its inputs allow."""
    nodes = list(step.graph.node)
    producers = {name: index for index, node in enumerate(nodes) for name in node.output}
    order: dict[int, None] = {}

    def visit(index: int) -> None:
        if index in order:
            return
        for name in nodes[index].input:
            if name in producers:
                visit(producers[name])
        order[index] = None

    for output in step.graph.output:  # the loss, then the classifier's update, then those of earlier layers
        visit(producers[output.name])
    changed = onnx.ModelProto()
    changed.CopyFrom(step)
    del changed.graph.node[:]
    changed.graph.node.extend(nodes[index] for index in order)
    onnx.checker.check_model(changed, full_check=True)
    return changed


def _differences_when_updates_run_first(tmp_path: Path) -> float:
    """Train in place with the step's nodes in the least favourable order, and compare with torch."""
    torch.manual_seed(3)
    head = Head(small_tail(), SHAPE, tmp_path)
    for graph, path in head.steps:
        if graph.update == "in_place":
            path.write_bytes(_updates_first(onnx.load(path)).SerializeToString())
    engine, batch = head.engine("in_place"), random_batch(head, 6, 3, learning_rate=0.1)
    for _ in range(4):
        engine.step(batch)
        torch_step(head, batch)
    return largest_relative_difference(engine.parameters(), head.parameters())


def test_in_place_updates_are_right_in_every_order(tmp_path: Path) -> None:
    assert _differences_when_updates_run_first(tmp_path) < 1e-5


def test_without_the_edge_that_order_reads_updated_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The silent error that the edge prevents: no message, other weights."""
    _drop_ordering(monkeypatch)
    monkeypatch.setattr(training_graph, "update_hazards", lambda _: [])
    assert _differences_when_updates_run_first(tmp_path) > 1e-4


def test_the_peak_is_smaller_for_micro_batches(exported: tuple[onnx.ModelProto, HeadInfo]) -> None:
    model, info = exported
    whole, part = (build_step(model, info, n, m, in_place=False) for n, m in ((16, 4), (4, 1)))
    assert peak_bytes(part) < peak_bytes(whole) / 2
    activation, unfolded = 20 * 8 * 6 * 6 * 4, 20 * (8 * 9) * 2 * 2 * 4 * 2
    assert activation < peak_bytes(whole) < 4 * (activation + unfolded)


def test_head_that_differs_from_its_description(exported: tuple[onnx.ModelProto, HeadInfo]) -> None:
    model, info = exported
    with pytest.raises(BundleError, match=r"'features' of shape \[4, 6, 6\], expected 'features' of shape \[4, 7, 7\]"):
        step_graphs(model, info, (4, 7, 7), [8], 3)
    changed = [*info.parameters[1:], ParameterInfo(info.parameters[0].name, [8, 4, 5, 5])]
    wrong = HeadInfo(info.capacity, info.penultimate_size, info.operators, changed, info.patterns, info.taps)
    with pytest.raises(BundleError, match=r"'body.0.weight' is \[8, 4, 3, 3\], expected shape \[8, 4, 5, 5\]"):
        step_graphs(model, wrong, SHAPE, [8], 3)
    wrong = HeadInfo(
        info.capacity, info.penultimate_size, info.operators, info.parameters, ["absent", "logits"], info.taps
    )
    with pytest.raises(BundleError, match="no node computes 'absent', expected it among the head's outputs"):
        step_graphs(model, wrong, SHAPE, [8], 3)
    wrong = HeadInfo(7, info.penultimate_size, info.operators, info.parameters, info.patterns, info.taps)
    with pytest.raises(BundleError, match=r"logits of shape \(8, 5\), expected a row for each and 7 columns"):
        step_graphs(model, wrong, SHAPE, [8], 3)


def test_parameter_that_does_nothing(exported: tuple[onnx.ModelProto, HeadInfo]) -> None:
    model, info = exported
    idle = onnx.ModelProto()
    idle.CopyFrom(model)
    idle.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "idle"))
    parameters = [*info.parameters, ParameterInfo("idle", [3])]
    described = HeadInfo(info.capacity, info.penultimate_size, info.operators, parameters, info.patterns, info.taps)
    with pytest.raises(BundleError, match="0 operators on the way to logits read 'idle', expected 1"):
        build_step(idle, described, 4, 0, in_place=True)


def test_operator_outside_the_list(exported: tuple[onnx.ModelProto, HeadInfo]) -> None:
    model, info = exported
    other = onnx.ModelProto()
    other.CopyFrom(model)
    next(node for node in other.graph.node if node.op_type == "Relu").op_type = "Sin"
    with pytest.raises(BundleError, match=r"operator Sin \(output '.*'\) can't be trained through"):
        build_step(other, info, 4, 0, in_place=True)


def test_host_and_gradient_rules_list_the_same_operators() -> None:
    assert set(RULES) == operators.TRAINABLE_OPERATORS


def test_forward_graph_has_no_weights(exported: tuple[onnx.ModelProto, HeadInfo]) -> None:
    model, info = exported
    forward = training_graph.build_forward(model, info)
    names = {value.name for value in forward.graph.input}
    assert names == {"features", *(parameter.name for parameter in info.parameters)}
    assert {value.name for value in forward.graph.output} >= {"logits", "penultimate", *info.patterns}
    assert helper.printable_graph(model.graph), "the head itself is unchanged"
    assert len(model.graph.initializer) >= len(info.parameters)
