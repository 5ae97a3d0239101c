"""The ``ort`` engine: whole training steps as ONNX graphs in onnxruntime, without torch.

In place, one run of a graph writes each parameter's update onto the parameter itself: no gradient ever exists.
Accumulating, a batch goes through a smaller graph in micro-batches that add up gradients: activations are few,
but each parameter has an accumulator. ``planning/step_choice.py`` chooses what suits the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightcl_edge.bundle.graph_names import ACCUMULATE, EVALUATE, FORWARD, FORWARD_ROWS, IN_PLACE
from lightcl_edge.bundle.manifest import HeadInfo, StepGraph
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import FloatArray, Parameters, copy_parameters
from lightcl_edge.inference.sessions import import_onnxruntime
from lightcl_edge.learning.engines.contract import Batch, Engine
from lightcl_edge.learning.engines.ort_session import open_session
from lightcl_edge.learning.engines.ort_step import StepRunner
from lightcl_edge.learning.engines.parameter_memory import ParameterMemory
from lightcl_edge.machine.freeing import give_back, return_freed_memory, trim_heap
from lightcl_edge.planning.step_choice import StepChoice, choose_step


class OrtEngine(Engine):
    """Trains a head in onnxruntime.

    Args:
        head: ``head.onnx`` or its bytes; read only when ``steps`` has no ``forward`` graph.
        steps: the bundle's step graphs with their files.
        threads: None for all processors that this process may use.
        update: ``in_place``, ``accumulate`` or ``auto``.
        spare_bytes: memory that a step may take freely because another phase needs as much.
        patterns: whether samples with patterns will be trained on.
        trains: whether there will be steps at all.

    Raises:
        NoEngineError: when onnxruntime can't be imported.
        BundleError: when there is no graph for the kind of update asked for.
    """

    name = "ort"

    def __init__(
        self,
        head: bytes | Path,
        info: HeadInfo,
        feature_shape: Sequence[int],
        steps: Sequence[tuple[StepGraph, Path]],
        threads: int | None = None,
        update: str = "auto",
        spare_bytes: int = 0,
        patterns: bool = True,
        trains: bool = True,
    ) -> None:
        import_onnxruntime()
        return_freed_memory()
        self._head, self._threads = head, threads
        self._feature_shape = tuple(feature_shape)
        self._shapes = {parameter.name: tuple(parameter.shape) for parameter in info.parameters}
        self._graphs = [graph for graph, _ in steps]
        self._paths = {graph.path: path for graph, path in steps}
        self._positions_first = info.positions_first
        self._parameters = ParameterMemory(self._shapes, self._positions_first)
        self._accumulators: ParameterMemory | None = None
        self._runners: dict[str, StepRunner] = {}
        self._forward: _Forward | None = None
        self._patterns = patterns
        self.choice = StepChoice(FORWARD, 0, 0)
        if trains:
            self.choice = choose_step(
                self._graphs, self._parameters.nbytes, update=update, spare_bytes=spare_bytes, patterns=patterns
            )

    def load(self, parameters: Parameters) -> None:
        """Take over a copy of all parameters."""
        self.rest()
        copy_parameters(parameters, self._parameters.views, "parameters")
        give_back()  # what they were read into

    def rest(self) -> None:
        """Close the sessions of steps: their working memory and the accumulators would stay beside what comes now."""
        if self._runners:
            self._runners, self._accumulators = {}, None  # between steps the sums are zero
            give_back()

    def step(self, batch: Batch) -> float:
        """One SGD step."""
        self._check_batch(batch)
        if self._forward is not None:
            self._forward = None
            give_back()
        samples, held = len(batch.features), len(batch.patterns.features) if batch.patterns else 0
        graph = self._fitting(samples, held) if self.choice.update == IN_PLACE else None
        if graph is not None:
            return self._runner(graph).run(batch, slice(0, samples), slice(0, held))
        return self._accumulate(batch, samples, held)

    def _fitting(self, samples: int, held: int) -> StepGraph | None:
        graphs = [
            graph
            for graph in self._graphs
            if graph.update == IN_PLACE and graph.samples >= samples and graph.buffered_samples >= held
        ]
        return min(graphs, key=lambda graph: (graph.samples, graph.buffered_samples), default=None)

    def _accumulate(self, batch: Batch, samples: int, held: int) -> float:
        """The same step in micro-batches: sum up gradients, then update once."""
        graph = self._micro_batch(samples, held)
        self._runners = {path: known for path, known in self._runners.items() if known.graph.update == graph.update}
        if self._accumulators is None:
            self._accumulators = ParameterMemory(self._shapes, self._positions_first)
        runner, loss = self._runner(graph), 0.0
        rounds = -(-samples // graph.samples)
        if held:
            rounds = max(rounds, -(-held // graph.buffered_samples))
        for part in range(rounds):
            new = slice(part * graph.samples, (part + 1) * graph.samples)
            old = slice(part * graph.buffered_samples, (part + 1) * graph.buffered_samples)
            loss += runner.run(batch, new, old)
        with np.errstate(over="ignore", invalid="ignore"):  # a step too large is the gate's to refuse
            self._parameters.add(self._accumulators, -batch.learning_rate)
        return loss

    def _micro_batch(self, samples: int, held: int) -> StepGraph:
        """The accumulating graph that wastes the fewest rows."""
        choice = self.choice
        if choice.update != ACCUMULATE and any(graph.update == ACCUMULATE for graph in self._graphs):
            choice = choose_step(self._graphs, self._parameters.nbytes, update=ACCUMULATE, patterns=self._patterns)
        rows = choice.samples
        graphs = [
            graph
            for graph in self._graphs
            if graph.update == ACCUMULATE and graph.samples == rows and bool(graph.buffered_samples) >= bool(held)
        ]
        if not graphs:
            limit = max((graph.samples for graph in self._graphs if graph.update == IN_PLACE), default=0)
            raise BundleError(
                f"a step of {samples} samples and {held} buffered ones fits no training_step graph, expected "
                f"at most {limit} samples; lower --batch-size or export the bundle for this batch size"
            )

        def padded_rows(graph: StepGraph) -> int:
            rounds = -(-samples // graph.samples)
            if held:
                rounds = max(rounds, -(-held // graph.buffered_samples))
            return rounds * (graph.samples + graph.buffered_samples)

        return min(graphs, key=padded_rows)

    def _runner(self, graph: StepGraph) -> StepRunner:
        if graph.path not in self._runners:
            sums = self._accumulators.pieces if self._accumulators and graph.update == ACCUMULATE else {}
            path = self._paths[graph.path]
            self._runners[graph.path] = StepRunner(graph, path, self._parameters.pieces, sums, self._threads)
        return self._runners[graph.path]

    def _check_batch(self, batch: Batch) -> None:
        parts = [batch.features, *([batch.patterns.features] if batch.patterns else [])]
        for part in parts:
            if part.shape[1:] != self._feature_shape:
                raise BundleError(
                    f"features have the shape {part.shape[1:]}, expected {self._feature_shape}; "
                    "they come from another trunk"
                )

    def logits(self, features: FloatArray) -> FloatArray:
        return self.activations(features, ["logits"])["logits"]

    def activations(self, features: FloatArray, names: Sequence[str]) -> dict[str, FloatArray]:
        """Named tensors of the head."""
        if self._forward is None:
            self.rest()
            self._forward = self._open_forward()
        return self._forward.run(features, list(names))

    def _open_forward(self) -> _Forward:
        """The graph that reads the parameters as they are held, else the one for whole parameters, else the head."""
        wanted = EVALUATE if self._positions_first else FORWARD
        for graph in self._graphs:
            if graph.update == wanted:
                session = open_session(self._paths[graph.path], self._threads, graph.path)
                return _Forward(session, self._parameters.pieces, {}, graph.samples)
        runtime = import_onnxruntime()
        arrays = {name: np.ascontiguousarray(array) for name, array in self._parameters.views.items()}
        values = {name: runtime.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
        return _Forward(open_session(self._head, self._threads, "head.onnx", values), {}, values, 0)

    def parameters(self) -> dict[str, FloatArray]:
        return {name: np.array(array, order="C") for name, array in self._parameters.views.items()}

    def views(self) -> Parameters:
        """The parameters' own memory."""
        return dict(self._parameters.views)

    def close(self) -> None:
        """Give back sessions, parameters and accumulators."""
        self._runners, self._accumulators, self._forward = {}, None, None
        self._parameters = ParameterMemory({}, ())
        trim_heap()


class _Forward:
    """The head's inference graph over the engine's own parameters.

    The session takes those ``weights`` that are its inputs. ``values`` are parameters that replaced initialisers: they
    must live as long as the session. The graph takes ``rows`` at once; 0 means any number.
    """

    def __init__(self, session: Any, weights: Parameters, values: dict[str, Any], rows: int) -> None:
        inputs = {value.name for value in session.get_inputs()}
        self._session, self._values, self._rows = session, values, rows
        self._weights = {name: array for name, array in weights.items() if name in inputs}

    def run(self, features: FloatArray, names: list[str]) -> dict[str, FloatArray]:
        """The named tensors of all rows, computed in parts."""
        parts: dict[str, list[FloatArray]] = {name: [] for name in names}
        for start in range(0, max(1, len(features)), FORWARD_ROWS):
            rows = np.ascontiguousarray(features[start : start + FORWARD_ROWS], np.float32)
            count = len(rows)
            if count < self._rows:
                rows = np.concatenate([rows, np.zeros((self._rows - count, *rows.shape[1:]), np.float32)])
            try:
                values = self._session.run(names, {"features": rows, **self._weights})
            except Exception as error:  # onnxruntime's exceptions share no public base
                raise BundleError(f"head.onnx can't compute {names}: {str(error)[:300]}") from error
            for name, value in zip(names, values, strict=True):
                parts[name].append(value[:count])
        return {name: np.concatenate(arrays) if len(arrays) > 1 else arrays[0] for name, arrays in parts.items()}
