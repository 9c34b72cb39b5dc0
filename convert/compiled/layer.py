"""What the lowering gives for an operator: one kernel call with its parameters, constants and needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError, one_of
from convert.graph import Graph, Operator, Quantization, Tensor

Array = npt.NDArray[Any]

# Beyond these no activation is quantised, and shifts of multipliers would leave what the arithmetic is made for.
MIN_SCALE, MAX_SCALE = 1e-12, 1e12


@dataclass(frozen=True)
class Constant:
    """A read-only array that a layer's parameters point to; `layout` says in which order its values lie."""

    role: str  # what it is to the layer: "weights", "bias", ...
    values: Array
    layout: str


# A parameter: a number, a pointer to a constant, an array of numbers, or a nested structure.
Value: TypeAlias = "int | float | Constant | tuple[int, ...] | Mapping[str, Value]"


@dataclass(frozen=True)
class Overlap:
    """How far an output may reach into the memory of an input that the layer consumes.

    The kernel gives the right results whenever the output starts at least `distance` bytes before the input, by a
    multiple of `step` bytes; 0 is the same place. It holds for the order in which this kernel reads and writes, so that
    every kernel states its own; see convert/compiled/overlap.py.
    """

    input: int  # tensor
    output: int  # tensor
    distance: int  # bytes; below the output's size, or it would say nothing; -(the input's size) or less: anywhere
    step: int = 1  # bytes; a kernel that works off one channel after the other needs whole pixels


@dataclass(frozen=True)
class Layer:
    """An operator as a call `kernel(&params, inputs..., [scratch], outputs...)`.

    A layer without a kernel is an alias: its output is its input's memory under another shape.
    """

    op: Operator
    kernel: str | None
    params: Mapping[str, Value]
    inputs: tuple[int, ...]  # tensors that the call reads, in the order of its arguments
    outputs: tuple[int, ...]
    params_type: str = ""
    scratch_bytes: int = 0
    macs: int = 0
    constants: tuple[Constant, ...] = field(default=())
    overlaps: tuple[Overlap, ...] = ()
    definition: str = ""  # C that defines the kernel, where it is made for this layer's format
    grouped: bool = False  # the call passes two arrays of pointers, to the inputs and to the outputs

    @property
    def weight_bytes(self) -> int:
        """Bytes of the constants that the parameters point to."""
        return sum(c.values.nbytes for c in self.constants)


def make(
    graph: Graph,
    op: Operator,
    kernel: str,
    params_type: str,
    params: Mapping[str, Value],
    inputs: tuple[int, ...] | None = None,
    scratch_bytes: int = 0,
) -> Layer:
    """A layer with one output whose constants are collected from its parameters."""
    return Layer(
        op,
        kernel,
        params,
        op.inputs[:1] if inputs is None else inputs,
        op.outputs,
        params_type,
        scratch_bytes,
        graph.macs_of(op),
        tuple(constants_of(params)),
    )


def constants_of(params: Mapping[str, Value]) -> list[Constant]:
    """The constants that parameters point to, in their order."""
    found: list[Constant] = []
    for value in params.values():
        if isinstance(value, Constant):
            found.append(value)
        elif isinstance(value, Mapping):
            found.extend(constants_of(value))
    return found


Lower = Callable[[Graph, Operator], Layer]


def describe(tensor: Tensor) -> str:
    """A tensor for a message: number, name, type and shape."""
    return f"tensor {tensor.index} ({tensor.name}, {tensor.dtype.name.upper()} {list(tensor.shape)})"


def refuse(op: Operator, problem: str, way_out: str) -> UsageError:
    """The error for an operator that the compiled runtime does not take."""
    return UsageError(f"operator {op.index} ({op.name}): {problem}; {way_out}")


def tensor(graph: Graph, op: Operator, index: int) -> Tensor:
    """Input number `index` of an operator.

    Raises UsageError if it is left out.
    """
    if index >= len(op.inputs) or op.inputs[index] < 0:
        raise refuse(op, f"input {index} is missing", "the model is damaged: convert it again")
    return graph.tensors[op.inputs[index]]


def optional(graph: Graph, op: Operator, index: int) -> Tensor | None:
    """Input number `index` of an operator, or None if it is left out."""
    present = index < len(op.inputs) and op.inputs[index] >= 0
    return graph.tensors[op.inputs[index]] if present else None


def output(graph: Graph, op: Operator) -> Tensor:
    """The single output of an operator.

    Raises UsageError if there are none or several.
    """
    if len(op.outputs) != 1:
        raise refuse(op, f"it has {len(op.outputs)} outputs where 1 is expected", "convert the model again")
    return graph.tensors[op.outputs[0]]


def require_type(op: Operator, t: Tensor, *allowed: str) -> None:
    """Raise UsageError unless the tensor has one of the numpy types `allowed`."""
    if t.dtype.name not in allowed:
        names = one_of([name.upper() for name in allowed])
        raise refuse(
            op,
            f"{describe(t)} is {t.dtype.name.upper()} and the compiled runtime takes {names} here",
            "convert the model to full-integer int8 (representative dataset, TFLITE_BUILTINS_INT8)",
        )


def per_tensor(op: Operator, t: Tensor) -> Quantization:
    """The tensor's quantisation: one sensible scale, one zero point within the tensor's type.

    Raises UsageError if it has none or one a channel.
    """
    q = t.quantization
    if q is None or len(q.scales) != 1 or not MIN_SCALE <= q.scale <= MAX_SCALE:
        kind = "no quantisation" if q is None else f"{len(q.scales)} scales"
        kind = f"the scale {q.scale:g}" if q is not None and len(q.scales) == 1 else kind
        raise refuse(
            op,
            f"{describe(t)} has {kind} where one scale is needed",
            "convert the model to full-integer int8 (representative dataset, TFLITE_BUILTINS_INT8)",
        )
    if t.dtype.kind in "iu" and not np.iinfo(t.dtype).min <= q.zero_point <= np.iinfo(t.dtype).max:
        raise refuse(
            op, f"{describe(t)} has the zero point {q.zero_point}, outside its type", "convert the model again"
        )
    return q


def constant(op: Operator, t: Tensor) -> Array:
    """The tensor's values.

    Raises UsageError if they are not known at build time.
    """
    if t.data is None:
        raise refuse(
            op,
            f"{describe(t)} is computed at run time and must be constant here",
            "freeze it in the model as a constant",
        )
    return t.data


def int8(values: Array) -> Array:
    """Values as int8, contiguous."""
    return np.ascontiguousarray(values, np.int8)
