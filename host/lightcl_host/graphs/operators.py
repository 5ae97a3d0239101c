"""Sets of ONNX operators: those a head may hold, activations, views and others."""

from __future__ import annotations

#: Operators that can be differentiated. A head with any other is refused at export.
TRAINABLE_OPERATORS = frozenset(
    {
        "Add",
        "AveragePool",
        "Clip",
        "Concat",
        "Conv",
        "Dropout",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "MatMul",
        "MaxPool",
        "Mul",
        "Pad",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Slice",
        "Split",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    }
)

#: Cheap activations: a cut right before one is never better than the cut right after it.
ACTIVATION_OPERATORS = frozenset(
    {
        "Clip",
        "Elu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "Mul",
        "PRelu",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Tanh",
    }
)

#: Activations whose output LightCL holds as a feature pattern.
PATTERN_OPERATORS = frozenset({"Relu", "Clip", "HardSwish"})
#: ``Mul(x, gate(x))`` with one of these is SiLU or hard-swish as exporters write it.
GATE_OPERATORS = frozenset({"Sigmoid", "HardSigmoid"})

#: Operators with weights that are trained, as their inputs from 1 on.
WEIGHTED_OPERATORS = frozenset({"Conv", "Gemm", "MatMul"})

#: Operators whose output is a view of their input: they need no memory of their own.
VIEW_OPERATORS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
