"""A typed, read-only view of a .tflite file.

Reads the flatbuffer (schema v3, tensorflow/compiler/mlir/lite/schema/schema.fbs) once and checks all indices, so
that the stages behind it need not. Of several subgraphs the first is the model; the others may only be those that
CALL_ONCE names, which give resource variables (convert/variables.py) their first values.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from convert import variables
from convert.errors import UsageError

Array = npt.NDArray[Any]

# Types that may stand in a graph; the names are TensorType's.
_DTYPES: Mapping[str, str] = {
    "FLOAT32": "<f4",
    "INT32": "<i4",
    "UINT8": "|u1",
    "INT64": "<i8",
    "BOOL": "|b1",
    "INT16": "<i2",
    "INT8": "|i1",
    "UINT32": "<u4",
    "RESOURCE": "<i4",  # the number of a resource variable; Tensor.is_resource tells it from INT32
    "INT4": "|i1",  # weights two a byte, unpacked here; Tensor.packed_bits tells them from INT8
}

# Far more than any microcontroller runs. Nothing may take time or memory out of proportion to the file, and a damaged
# one can name the same bytes over and over.
_MAX_SUBGRAPHS = 16
_MAX_TENSORS = 1 << 14
_MAX_OPERATORS = 1 << 12
_MAX_RANK = 8
_MAX_NAME = 200  # characters kept of a tensor's name


def _names(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if not name.startswith("_")}


_TYPE_NAMES = _names(schema.TensorType)
_OP_NAMES = _names(schema.BuiltinOperator)
_OPTION_TYPES = _names(schema.BuiltinOptions)
_OPTION_NAMES = {name.lower(): name for name in _OPTION_TYPES.values()}
_OPTIONS_OF: Mapping[str, str] = {  # where the names differ
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), "Pool2DOptions"),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), "MaximumMinimumOptions"),
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY"), "ReducerOptions"),
    "L2_NORMALIZATION": "L2NormOptions",
}


@dataclass(frozen=True)
class Quantization:
    """Affine quantisation: real = scale * (q - zero_point), one pair a tensor or a slice along `axis`."""

    scales: Array  # float32, (1,) or (channels,)
    zero_points: Array  # int64, like scales
    axis: int | None  # None: per tensor

    @property
    def scale(self) -> float:
        """The scale of a per-tensor quantisation."""
        return float(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point of a per-tensor quantisation."""
        return int(self.zero_points[0])


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph; `data` is None unless it is constant."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantization: Quantization | None
    data: Array | None
    is_variable: bool
    is_resource: bool = False  # stands for a resource variable; its own bytes mean nothing
    initial: Array | None = None  # a resource variable's first value, where it is not one byte throughout
    packed_bits: int | None = None  # bits that each element of a constant takes in the file, where fewer than its dtype

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.elements * self.dtype.itemsize

    @property
    def reset_byte(self) -> int:
        """What every byte of a variable is at the start (0 to 255): TFLite Micro takes an int8 zero point."""
        q = self.quantization
        return int(q.zero_points[0]) & 255 if q is not None and self.dtype == np.int8 else 0


class Options(dict[str, Any]):
    """An operator's options; one that the file lacks is the file's fault."""

    def __init__(self, operator: str, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._operator = operator

    def __missing__(self, key: str) -> Any:
        raise UsageError(
            f"damaged TFLite model: {self._operator} lacks the option {key}; convert it again with a current TensorFlow"
        )


@dataclass(frozen=True)
class Operator:
    """An operator in execution order; an input of -1 is an optional one left out."""

    index: int
    name: str  # BuiltinOperator's name, or the custom operator's own
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]  # the builtin options' fields, by the schema's camelCase names


@dataclass(frozen=True)
class Graph:
    """A model: tensors by index, operators in execution order, inputs and outputs as tensor indices.

    A resource variable is a tensor too, behind those of the file; `resources` says for each tensor of type RESOURCE
    which one it stands for.
    """

    data: bytes
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    resources: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def has_state(self) -> bool:
        """Whether an inference depends on those before it."""
        return any(t.is_variable for t in self.tensors)

    @cached_property
    def sha256(self) -> str:
        """Hash of the file."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def op_names(self) -> tuple[str, ...]:
        """The distinct operators, sorted, with those of initialisations."""
        names = {op.name for op in self.operators}
        return tuple(sorted(names | (set(variables.INITIALISATION) if "CALL_ONCE" in names else set())))

    @cached_property
    def parameters(self) -> int:
        """Number of constant elements that operators use as weights and biases."""
        return sum(t.elements for t in self.weights)

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """Constant tensors of convolution, dense and recurrent layers (weights and biases), in index order."""
        used = {i for op in self.operators if op.name in _MAC_OPS for i in op.inputs if i >= 0}
        return tuple(t for t in self.tensors if t.index in used and t.data is not None)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of convolution, dense and recurrent layers for one inference."""
        return sum(self.macs_of(op) for op in self.operators)

    def macs_of(self, op: Operator) -> int:
        """Multiply-accumulates of one operator; 0 unless it is a convolution, dense or recurrent layer."""
        count = _MAC_OPS.get(op.name)
        if count is None:
            return 0
        if not op.outputs or op.outputs[0] < 0:
            return 0
        return count([self.tensors[i] if i >= 0 else None for i in op.inputs], self.tensors[op.outputs[0]])

    @cached_property
    def lifetimes(self) -> Mapping[int, tuple[int, int]]:
        """First and last operator (inclusive) during which each non-constant tensor must be kept.

        Inputs live from operator 0, outputs to the last one, variables throughout.
        """
        last = len(self.operators) - 1
        first_use: dict[int, int] = dict.fromkeys(self.inputs, 0)
        last_use: dict[int, int] = dict.fromkeys(self.inputs, 0)
        for op in self.operators:
            for i in op.outputs:
                if i < 0:
                    continue
                first_use.setdefault(i, op.index)
                last_use[i] = max(last_use.get(i, 0), op.index)
            for i in op.inputs:
                if i in first_use:
                    last_use[i] = op.index
        for i in self.outputs:
            if i in first_use:
                last_use[i] = last
        for t in self.tensors:
            if t.is_variable:
                first_use[t.index], last_use[t.index] = 0, last
        return {i: (first_use[i], last_use[i]) for i in sorted(first_use) if not self.tensors[i].is_resource}


# Operands in the operator's order, None where one is left out; checked by _check_references as far as it says.
_Operands = list[Tensor | None]


def _shape(operands: _Operands, index: int, rank: int) -> tuple[int, ...]:
    """An operand's shape; zeros for one that is left out or has another rank, which nothing runs."""
    t = operands[index] if index < len(operands) else None
    return t.shape if t is not None and len(t.shape) == rank else (0,) * rank


def _conv_macs(operands: _Operands, out: Tensor) -> int:
    # CONV_2D weights are (out, height, width, in); the innermost dimension counts once an output.
    return out.elements * math.prod(_shape(operands, 1, 4)[1:])


def _depthwise_macs(operands: _Operands, out: Tensor) -> int:
    # DEPTHWISE_CONV_2D weights are (1, height, width, out).
    return out.elements * math.prod(_shape(operands, 1, 4)[1:3])


def _dense_macs(operands: _Operands, out: Tensor) -> int:
    return out.elements * _shape(operands, 1, 2)[1]


def _transpose_macs(operands: _Operands, _: Tensor) -> int:
    # Every input is multiplied with the window of every output channel; what falls outside of the output counts too.
    return math.prod(_shape(operands, 2, 4)) * math.prod(_shape(operands, 1, 4)[:3])


def _svdf_macs(operands: _Operands, _: Tensor) -> int:
    # Each filter is multiplied with the input and, in time, with its last values.
    return _shape(operands, 0, 2)[0] * sum(math.prod(_shape(operands, i, 2)) for i in (1, 2))


def _lstm_macs(operands: _Operands, _: Tensor) -> int:
    # Four gates, each with weights for the input and for the state, at every step.
    return math.prod(_shape(operands, 0, 3)[:2]) * sum(math.prod(_shape(operands, i, 2)) for i in range(1, 9))


# Operators that take packed weights, at their second input.
_PACKED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_WEIGHT_RANKS = {"TRANSPOSE_CONV": 4, "CONV_2D": 4, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 2}
_MAC_OPS: Mapping[str, Callable[[_Operands, Tensor], int]] = {
    "CONV_2D": _conv_macs,
    "DEPTHWISE_CONV_2D": _depthwise_macs,
    "FULLY_CONNECTED": _dense_macs,
    "SVDF": _svdf_macs,
    "TRANSPOSE_CONV": _transpose_macs,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm_macs,
}


def load(data: bytes) -> Graph:
    """Parse a .tflite file.

    Raises UsageError for a file that is no TFLite model, is damaged, has control flow or dynamic shapes, or uses a
    tensor type that no runtime here executes.
    """
    if data[4:8] != b"TFL3":
        raise UsageError(
            "not a TFLite model: the file does not carry the identifier TFL3; "
            "pass a .tflite written by the TensorFlow Lite converter"
        )
    try:
        return _view(data, schema.Model.GetRootAs(data, 0))
    except UsageError:
        raise
    except Exception as e:
        raise UsageError(
            f"damaged TFLite model ({type(e).__name__}: {e}); the file may be truncated: convert or copy it again"
        ) from e


class _Vectors:
    """Reads vectors of numbers and text, as many bytes in all as a whole file can hold.

    They share the file's memory; a file whose vectors lie upon each other could otherwise name far more than it has.
    """

    def __init__(self, data: bytes) -> None:
        self._left = 4 * len(data)

    def read(self, vector: Any) -> Array | None:
        """What an `...AsNumpy` of the schema gave: 0 stands for a vector that is left out."""
        if isinstance(vector, int):
            return None
        self._left -= vector.nbytes
        if self._left < 0:
            raise UsageError("damaged TFLite model: its vectors lie upon each other; convert or copy it again")
        return np.asarray(vector)

    def text(self, raw: bytes | None) -> str:
        """A name, shortened and fit for a line."""
        raw = raw or b""
        self.read(np.frombuffer(raw, np.uint8))
        name = raw[:_MAX_NAME].decode(errors="replace")
        return "".join(c if c.isprintable() else "?" for c in name)


def _limit(count: int, most: int, what: str) -> range:
    if count > most:
        raise UsageError(f"the model has {count} {what} and at most {most} are supported; split it, or it is damaged")
    return range(count)


def _view(data: bytes, model: Any) -> Graph:
    count = len(_limit(model.SubgraphsLength(), _MAX_SUBGRAPHS, "subgraphs"))
    if not count:
        raise UsageError("the model has no subgraphs; there is nothing to run")
    vectors = _Vectors(data)
    sub = model.Subgraphs(0)
    tensors, operators = _contents(sub, model, vectors)
    inputs, outputs = _indices(vectors, sub.InputsAsNumpy()), _indices(vectors, sub.OutputsAsNumpy())
    if not operators or not inputs or not outputs:
        raise UsageError("the model has no operators, no inputs or no outputs; there is nothing to run")
    _check_references(tensors, operators, inputs, outputs)
    parts = [variables.Part(tensors, operators)]
    variables.check_subgraphs(parts[0], count)
    for k in range(1, count):
        parts.append(variables.Part(*_contents(model.Subgraphs(k), model, vectors)))
        _check_references(*parts[-1], (), ())
    found, resources = variables.find(parts)
    for i in (*inputs, *outputs):
        if tensors[i].is_resource:
            raise UsageError(f"tensor {i} ({tensors[i].name}) stands for a variable and cannot be an input or output")
    return Graph(data, (*tensors, *found), operators, inputs, outputs, resources)


def _contents(sub: Any, model: Any, vectors: _Vectors) -> tuple[tuple[Tensor, ...], tuple[Operator, ...]]:
    """The tensors and operators of a subgraph."""
    codes = [model.OperatorCodes(i) for i in _limit(model.OperatorCodesLength(), _MAX_OPERATORS, "operator codes")]
    many_tensors = _limit(sub.TensorsLength(), _MAX_TENSORS, "tensors")
    tensors = tuple(_tensor(i, sub.Tensors(i), model, vectors) for i in many_tensors)
    many_operators = _limit(sub.OperatorsLength(), _MAX_OPERATORS, "operators")
    return tensors, tuple(_operator(i, sub.Operators(i), codes, vectors) for i in many_operators)


def _indices(vectors: _Vectors, vector: Any) -> tuple[int, ...]:
    found = vectors.read(vector)
    return () if found is None else tuple(found.tolist())


def _check_references(
    tensors: tuple[Tensor, ...],
    operators: tuple[Operator, ...],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> None:
    """Every index names a tensor, every tensor is written once and before it is read, layers have weights to count."""
    for i in inputs:
        if not 0 <= i < len(tensors):
            raise UsageError(f"damaged TFLite model: its inputs name tensor {i}")
        if tensors[i].data is not None or tensors[i].is_variable or inputs.count(i) > 1:
            raise UsageError(f"damaged TFLite model: its input, tensor {i}, is a constant, a variable or there twice")
    written = set(inputs) | {t.index for t in tensors if t.data is not None or t.is_variable}
    for op in operators:
        for i in (*op.inputs, *op.outputs):
            if not -1 <= i < len(tensors) or (i < 0 and i in op.outputs):
                raise UsageError(f"damaged TFLite model: operator {op.index} ({op.name}) names tensor {i}")
        for i in op.inputs:
            if i >= 0 and i not in written:
                raise UsageError(
                    f"damaged TFLite model: operator {op.index} ({op.name}) reads tensor {i} "
                    "before any operator writes it"
                )
        for position, i in enumerate(op.inputs):
            if i >= 0 and tensors[i].packed_bits is not None and (op.name not in _PACKED or position != 1):
                raise UsageError(
                    f"operator {op.index} ({op.name}) reads tensor {i} ({tensors[i].name}) of type INT4, which is "
                    f"allowed for weights of {', '.join(_PACKED)} only; convert the model to full-integer int8"
                )
        for i in op.outputs:
            if i in written:
                raise UsageError(
                    f"damaged TFLite model: operator {op.index} ({op.name}) writes tensor {i}, which is an input, "
                    "a constant, a variable or written before"
                )
            written.add(i)
        rank = _WEIGHT_RANKS.get(op.name)
        if rank is not None:
            weights = op.inputs[1] if len(op.inputs) > 1 else -1
            if weights < 0 or len(tensors[weights].shape) != rank or not op.outputs or op.outputs[0] < 0:
                raise UsageError(
                    f"damaged TFLite model: operator {op.index} ({op.name}) lacks weights of rank {rank}, or an output"
                )
    for i in (*inputs, *outputs):
        if i not in written:
            raise UsageError(f"damaged TFLite model: no operator writes its output, tensor {i}")


def _tensor(index: int, t: Any, model: Any, vectors: _Vectors) -> Tensor:
    name = vectors.text(t.Name())
    type_name = _TYPE_NAMES.get(t.Type(), str(t.Type()))
    if type_name not in _DTYPES:
        raise UsageError(
            f"tensor {index} ({name}) has type {type_name}; allowed are {', '.join(_DTYPES)}. "
            "Convert the model to full-integer int8"
        )
    dtype = np.dtype(_DTYPES[type_name])
    if t.ShapeLength() > _MAX_RANK:
        raise UsageError(f"tensor {index} ({name}) has {t.ShapeLength()} dimensions; at most {_MAX_RANK} are supported")
    shape = _indices(vectors, t.ShapeAsNumpy())
    if any(d < 0 for d in shape):
        raise UsageError(
            f"tensor {index} ({name}) has the dynamic shape {shape}; fix every dimension and convert again"
        )
    if math.prod(shape) * dtype.itemsize > 1 << 30:
        raise UsageError(f"tensor {index} ({name}) of shape {shape} is over 1 GiB; no microcontroller holds it")
    if not 0 <= t.Buffer() < model.BuffersLength():
        raise UsageError(f"damaged TFLite model: tensor {index} ({name}) names buffer {t.Buffer()}")
    # Not through `vectors`: tensors may well share a constant, and it is not copied.
    raw = model.Buffers(t.Buffer()).DataAsNumpy()
    values = None
    if not isinstance(raw, int) and len(raw):
        values = _unpacked(raw, math.prod(shape)) if type_name == "INT4" else np.frombuffer(raw, dtype)
        if values.size != math.prod(shape):
            raise UsageError(f"damaged TFLite model: tensor {index} ({name}) of shape {shape} has {values.size} values")
        if dtype == np.bool_ and raw.max() > 1:
            raise UsageError(f"damaged TFLite model: tensor {index} ({name}) is BOOL and has the value {raw.max()}")
        values = values.reshape(shape)
        values.flags.writeable = False
    if type_name == "INT4" and values is None:
        raise UsageError(f"tensor {index} ({name}) has type INT4 and is no constant; only weights may be packed")
    if t.IsVariable() and values is not None:
        raise UsageError(f"damaged TFLite model: tensor {index} ({name}) is a variable and constant")
    quantization = _quantization(f"tensor {index} ({name})", t.Quantization(), shape, vectors)
    return Tensor(
        index,
        name,
        shape,
        dtype,
        quantization,
        values,
        bool(t.IsVariable()),
        type_name == "RESOURCE",
        packed_bits=4 if type_name == "INT4" else None,
    )


def _unpacked(raw: Array, count: int) -> Array:
    """Signed 4-bit numbers, two a byte and the lower half first, as int8; all that the bytes hold but a last half."""
    halves = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)
    if len(halves) == count + 1 and count % 2:
        halves = halves[:count]
    return ((halves ^ 8).astype(np.int8) - 8).astype(np.int8)


def _quantization(of: str, q: Any, shape: tuple[int, ...], vectors: _Vectors) -> Quantization | None:
    scales = None if q is None else vectors.read(q.ScaleAsNumpy())
    if q is None or scales is None or not len(scales):
        return None
    if not (np.isfinite(scales) & (scales >= 0)).all():
        worst = scales[~(np.isfinite(scales) & (scales >= 0))][0]
        raise UsageError(f"damaged TFLite model: {of} has the scale {worst}; convert it again with representative data")
    given = vectors.read(q.ZeroPointAsNumpy())
    if given is None:
        zero_points = np.zeros(len(scales), np.int64)
    elif len(given) not in (1, len(scales)):
        raise UsageError(f"damaged TFLite model: {of} has {len(scales)} scales and {len(given)} zero points")
    else:
        zero_points = np.broadcast_to(given, scales.shape)
    axis = int(q.QuantizedDimension()) if len(scales) > 1 else None
    if axis is not None and (not 0 <= axis < len(shape) or shape[axis] != len(scales)):
        raise UsageError(f"damaged TFLite model: {of} has {len(scales)} scales along axis {axis} of shape {shape}")
    return Quantization(scales, zero_points, axis)


def _expected_options(name: str, otherwise: str) -> str:
    """The type of an operator's options, as the schema names it; TFLite Micro does not read any other."""
    key = name.replace("_", "").lower() + "options"
    return _OPTIONS_OF.get(name) or _OPTION_NAMES.get(key, otherwise)


def _operator(index: int, op: Any, codes: list[Any], vectors: _Vectors) -> Operator:
    if not 0 <= op.OpcodeIndex() < len(codes):
        raise UsageError(f"damaged TFLite model: operator {index} names operator code {op.OpcodeIndex()}")
    code = codes[op.OpcodeIndex()]
    # Old files carry the code in the deprecated int8 field only.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = _OP_NAMES.get(number, f"BUILTIN_{number}")
    if name == "CUSTOM":
        name = vectors.text(code.CustomCode() or b"CUSTOM")
    kind = _OPTION_TYPES.get(op.BuiltinOptionsType(), str(op.BuiltinOptionsType()))
    if kind not in ("NONE", _expected_options(name, kind)):
        raise UsageError(f"damaged TFLite model: operator {index} ({name}) has {kind}, the options of another operator")
    options = schema.BuiltinOptionsCreator(op.BuiltinOptionsType(), op.BuiltinOptions())
    return Operator(
        index,
        name,
        _indices(vectors, op.InputsAsNumpy()),
        _indices(vectors, op.OutputsAsNumpy()),
        Options(f"operator {index} ({name})", {} if options is None else vars(options)),
    )
