"""Sets of ONNX operators: those a head may hold, activations, views and others."""

#: Operators with weights that are trained, as their inputs from 1 on.
WEIGHTED_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
#: Operators that normalise and then scale and shift by trained vectors, their inputs from 1 on.
NORMALIZING_OPERATORS = frozenset(
    {"GroupNormalization", "InstanceNormalization", "LayerNormalization", "RMSNormalization"}
)
#: Operators whose output is a view of their input: they need no memory of their own.
VIEW_OPERATORS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
#: ``Mul(x, gate(x))`` with one of these is SiLU or hard-swish as exporters write it.
GATE_OPERATORS = frozenset({"Sigmoid", "HardSigmoid"})
#: Activations whose output LightCL holds as a feature pattern.
PATTERN_OPERATORS = frozenset({"Relu", "Clip", "HardSwish"})

#: Operators whose result does not change with small changes of their inputs: no gradient passes them.
STEP_OPERATORS = frozenset(
    {"And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or", "Shape", "Size"}
)

_ARITHMETIC = frozenset(
    {"Abs", "Add", "Div", "Erf", "Exp", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Sqrt", "Sub", "Where"}
)
_REDUCTIONS = frozenset({"ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare"})
_SOFTMAXES = frozenset({"LogSoftmax", "Softmax"})
_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "Resize"})
_ARRANGEMENTS = frozenset(
    {"Concat", "DepthToSpace", "Expand", "Gather", "Pad", "Slice", "SpaceToDepth", "Split", "Tile", "Transpose"}
)
_SMOOTH_ACTIVATIONS = frozenset({"Elu", "Gelu", "LeakyRelu", "Mish", "PRelu", "Softplus", "Tanh"})
_TRAINABLE_ACTIVATIONS = GATE_OPERATORS | PATTERN_OPERATORS | _SMOOTH_ACTIVATIONS

#: Operators that can be differentiated. A head with any other is refused at export.
TRAINABLE_OPERATORS = frozenset().union(
    WEIGHTED_OPERATORS,
    VIEW_OPERATORS,
    STEP_OPERATORS,
    _ARITHMETIC,
    _REDUCTIONS,
    _SOFTMAXES,
    _POOLS,
    NORMALIZING_OPERATORS,
    _ARRANGEMENTS,
    _TRAINABLE_ACTIVATIONS,
)
#: Cheap activations: a cut right before one is never better than the cut right after it.
ACTIVATION_OPERATORS = _TRAINABLE_ACTIVATIONS | {"Mul"}
