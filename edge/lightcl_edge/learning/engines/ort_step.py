"""One step graph bound to the memory of the parameters.

``docs/reference/bundle.md`` describes the graph's inputs and outputs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightcl_edge.bundle.graph_names import parameters_of
from lightcl_edge.bundle.manifest import StepGraph
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.learning.engines.contract import Batch, PatternTerm
from lightcl_edge.learning.engines.ort_session import open_session

_UPDATE = "update."
_ACCUMULATOR = "accumulator."


class StepRunner:
    """Runs one step graph over the pieces of the head's parameters.

    In place, a run changes ``parameters``. Else it adds gradients to ``accumulators``, which hold the same pieces.

    Raises:
        BundleError: when the graph can't be opened or does not belong to these parameters.
    """

    def __init__(
        self,
        graph: StepGraph,
        path: Path,
        parameters: Mapping[str, FloatArray],
        accumulators: Mapping[str, FloatArray],
        threads: int | None,
    ) -> None:
        self.graph = graph
        self._path = path
        self._session = open_session(path, threads, graph.path)
        self._binding = self._session.io_binding()
        self._shapes = {value.name: list(value.shape) for value in self._session.get_inputs()}
        self._loss = np.zeros((), np.float32)
        self._bound: dict[str, np.ndarray[Any, Any]] = {}  # a binding keeps addresses, not the arrays
        self._own: dict[str, np.ndarray[Any, Any]] = {}
        sums = {_ACCUMULATOR + name: array for name, array in accumulators.items()}
        bound = {name: array for name, array in {**parameters, **sums}.items() if name in self._shapes}
        for name, array in bound.items():
            self._bind_input(name, array)
        self._bind_outputs(accumulators or parameters)
        self._fields = {name: shape for name, shape in self._shapes.items() if name not in bound}
        self._check_fields()

    def run(self, batch: Batch, samples: slice, held: slice) -> float:
        """Run the graph over a part of a batch and give that part's share of the loss.

        ``samples`` and ``held`` choose new samples and samples with patterns: at most as many as the graph takes. Rows
        of weight 0 fill the rest.
        """
        self._place_features(batch, samples, held)
        self._place("labels", batch.labels[samples])
        self._place("logit_offset", batch.logit_offset[samples])
        self._place("weights", batch.weights[samples])
        if self.graph.buffered_samples:
            self._place_patterns(batch.patterns, held)
        if "neg_lr" in self._fields:
            self._place("neg_lr", np.array([-batch.learning_rate], np.float32))
            self._place("zero", np.zeros(1, np.float32))
        self._session.run_with_iobinding(self._binding)
        for name in self._fields:
            del self._bound[name]  # the caller's arrays are the caller's to keep or free
        return float(self._loss)

    def _place_features(self, batch: Batch, samples: slice, held: slice) -> None:
        new = batch.features[samples]
        if not self.graph.buffered_samples:
            self._place("features", new)
            return
        self._place("features.new", new)
        self._place("features.buffered", batch.patterns.features[held] if batch.patterns else new[:0])

    def _place_patterns(self, patterns: PatternTerm | None, held: slice) -> None:
        count = 0 if patterns is None else len(patterns.features[held])
        targets = patterns.targets if patterns else {}
        names = [name.removeprefix("target.") for name in self._fields if name.startswith("target.")]
        if not set(targets).issubset(names):
            unknown = sorted(set(targets) - set(names))[0]
            raise BundleError(f"{self.graph.path}: there is no pattern tensor {unknown!r}, expected one of {names}")
        for name in names:
            given = name in targets  # a tensor without targets is free: its mask is 0
            nothing = np.zeros((0, *self._fields[f"target.{name}"][1:]), np.float32)
            self._place(f"target.{name}", targets[name][held] if given else nothing)
            mask = patterns.masks[name] if patterns and given else np.zeros(0, np.float32)
            self._place(f"mask.{name}", mask)
        self._place("pattern_weight", np.ones(count, np.float32))
        self._place("beta", np.array([patterns.beta if patterns else 0.0], np.float32))

    def _place(self, name: str, values: np.ndarray[Any, Any]) -> None:
        """Bind an input: the array itself where it fits, else a copy filled up with zeros."""
        shape = self._fields[name]
        dtype = np.dtype(np.int64 if name == "labels" else np.float32)
        fits = list(values.shape) == shape and values.dtype == dtype and values.flags.c_contiguous
        if not fits:
            if list(values.shape[1:]) != shape[1:] or len(values) > shape[0]:
                raise BundleError(
                    f"{self.graph.path}: a batch gives {name!r} the shape {list(values.shape)}, "
                    f"expected at most {shape}"
                )
            buffer = self._buffer(name, dtype)
            buffer[: len(values)] = values
            buffer[len(values) :] = 0
            values = buffer
        self._bind_input(name, values)

    def _buffer(self, name: str, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        if name not in self._own:
            self._own[name] = np.zeros(self._fields[name], dtype)
        return self._own[name]

    def _bind_input(self, name: str, array: np.ndarray[Any, Any]) -> None:
        if self._shapes.get(name) != list(array.shape):
            found = self._shapes.get(name, "no such input")
            raise BundleError(
                f"{self.graph.path}: input {name!r} is {found}, expected shape {list(array.shape)}; "
                "the graph belongs to another head"
            )
        self._bound[name] = array
        self._binding.bind_input(name, "cpu", 0, array.dtype.type, list(array.shape), array.ctypes.data)

    def _bind_outputs(self, targets: Mapping[str, FloatArray]) -> None:
        """Bind each update onto the memory that it renews."""
        updated = set[str]()
        for value in self._session.get_outputs():
            array = self._loss
            if value.name.startswith(_UPDATE):
                parameter = value.name.removeprefix(_UPDATE).partition(".")[2]
                if parameter not in targets or targets[parameter].size != int(np.prod(value.shape)):
                    raise BundleError(f"{self.graph.path}: output {value.name!r} fits no parameter of the head")
                updated.add(parameter)
                array = targets[parameter]
            self._binding.bind_output(value.name, "cpu", 0, np.float32, list(value.shape), array.ctypes.data)

        # a kernel position that only ever meets padding has no input and no update
        missing = {name for name in targets if name in self._shapes} - updated
        missing |= parameters_of(targets) - parameters_of(updated)
        if missing:
            raise BundleError(f"{self.graph.path}: no output updates {min(missing)!r}, expected one a parameter")

    def _check_fields(self) -> None:
        """Refuse a graph whose record in the manifest is not its own."""
        samples, held = self.graph.samples, self.graph.buffered_samples
        features = {"features.new": samples, "features.buffered": held} if held else {"features": samples}
        expected = {**features, "labels": samples, "logit_offset": samples}
        for name, count in expected.items():
            found = self._fields.get(name, [0])[0]
            if found != count:
                raise BundleError(f"{self.graph.path}: input {name!r} takes {found} rows, expected {count}")
