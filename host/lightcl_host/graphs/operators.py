"""Sets of ONNX operators: those a head may hold, activations, views and others."""

#: Operators with weights that are trained, as their inputs from 1 on.
WEIGHTED_OPERATORS = frozenset({"Conv", "Gemm", "MatMul"})
#: Operators whose output is a view of their input: they need no memory of their own.
VIEW_OPERATORS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
#: ``Mul(x, gate(x))`` with one of these is SiLU or hard-swish as exporters write it.
GATE_OPERATORS = frozenset({"Sigmoid", "HardSigmoid"})
#: Activations whose output LightCL holds as a feature pattern.
PATTERN_OPERATORS = frozenset({"Relu", "Clip", "HardSwish"})

_ARITHMETIC = frozenset({"Add", "Mul", "Sub"})
_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean"})
_ARRANGEMENTS = frozenset({"Concat", "Pad", "Slice", "Split", "Transpose"})
_SMOOTH_ACTIVATIONS = frozenset({"Elu", "Gelu", "LeakyRelu", "Mish", "PRelu", "Softplus", "Tanh"})
_TRAINABLE_ACTIVATIONS = GATE_OPERATORS | PATTERN_OPERATORS

#: Operators that can be differentiated. A head with any other is refused at export.
TRAINABLE_OPERATORS = (
    WEIGHTED_OPERATORS | VIEW_OPERATORS | _ARITHMETIC | _POOLS | _ARRANGEMENTS | _TRAINABLE_ACTIVATIONS
)
#: Cheap activations: a cut right before one is never better than the cut right after it.
ACTIVATION_OPERATORS = _TRAINABLE_ACTIVATIONS | _SMOOTH_ACTIVATIONS | {"Mul"}
