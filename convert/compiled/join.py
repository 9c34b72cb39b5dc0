"""Operators that put tensors together or take one apart along an axis: CONCATENATION, PACK, SPLIT, SPLIT_V, UNPACK."""

import math
from collections.abc import Sequence

import numpy as np

from convert.compiled import overlap
from convert.compiled.layer import Constant, Layer, Lower, Value, describe, per_tensor, refuse, require_type, tensor
from convert.compiled.move import axis_of, integers, require_shape
from convert.graph import Graph, Operator, Tensor

_AGAIN = "convert the model again"
_MAX_STEPS = 1 << 16  # of a kernel whose overlaps are derived step by step


def _parts(op: Operator, kernel: str, whole: Tensor, parts: Sequence[Tensor], outer: int) -> Layer:
    """`whole` as `outer` times a run of each of `parts`."""
    sizes = np.array([t.nbytes // outer for t in parts], np.int32)
    joins = whole.index in op.outputs
    inputs = tuple(t.index for t in (parts if joins else (whole,)))
    if len(parts) == 1 and (parts[0] if joins else whole).data is None:
        return Layer(op, None, {}, inputs, op.outputs)  # the same memory
    bytes_ = Constant("bytes", sizes, "of a run of each part")
    params: dict[str, Value] = {"outer": outer, "count": len(parts), "bytes": bytes_}
    layer = Layer(op, kernel, params, inputs, op.outputs, "kernels_parts_params", constants=(bytes_,), grouped=True)
    if outer * len(parts) > _MAX_STEPS:
        return layer
    # Step by step: the part that is copied, and where its run begins in the whole and in itself.
    part = np.tile(np.arange(len(parts)), outer)
    within = np.repeat(np.arange(outer), len(parts)) * sizes[part]
    in_whole = np.concatenate([[0], np.cumsum(sizes[part])[:-1]])
    for i, t in enumerate(parts):
        if t.data is not None or whole.data is not None:
            continue
        if joins:
            # A tensor may be several of the parts.
            read = np.where([parts[k].index == t.index for k in part], within, t.nbytes)
            reach = overlap.copies(read, in_whole + sizes[part], t.nbytes)
            layer = overlap.overlapping(layer, reach, input=i)
        else:
            written = np.where(part >= i, within // sizes[part] + 1, within // sizes[part]) * int(sizes[i])
            own = np.where(part == i, in_whole, whole.nbytes)
            reach = max(overlap.distance(in_whole, written, whole.nbytes), overlap.copies(own, written, whole.nbytes))
            layer = overlap.overlapping(layer, reach, output=i)
    return layer


def _inputs(graph: Graph, op: Operator, *types: str) -> tuple[list[Tensor], Tensor]:
    """All inputs and the single output, of the same one of `types`."""
    if not op.inputs or len(op.outputs) != 1:
        raise refuse(op, f"it has {len(op.inputs)} inputs and {len(op.outputs)} outputs", _AGAIN)
    parts, out = [tensor(graph, op, i) for i in range(len(op.inputs))], graph.tensors[op.outputs[0]]
    require_type(op, out, *types)
    for t in parts:
        require_type(op, t, out.dtype.name)
    return parts, out


def concatenation(graph: Graph, op: Operator) -> Layer:
    """CONCATENATION of int8, int16, int32, int64, float32 or bool tensors; int8 ones must be quantised alike."""
    parts, out = _inputs(graph, op, "int8", "int16", "int32", "int64", "float32", "bool")
    axis = axis_of(op, int(op.options["axis"]), out)
    if int(op.options.get("fusedActivationFunction", 0)):
        raise refuse(op, "it has a fused activation", "put the activation before it")
    for t in parts:
        if len(t.shape) != len(out.shape):
            raise refuse(op, f"{describe(t)} does not suit {describe(out)}", _AGAIN)
        require_shape(op, t, [t.shape[i] if i == axis else n for i, n in enumerate(out.shape)])
        if out.dtype == np.int8:
            q, q_out = per_tensor(op, t), per_tensor(op, out)
            if (q.scale, q.zero_point) != (q_out.scale, q_out.zero_point):
                raise refuse(op, f"{describe(t)} and {describe(out)} are quantised differently", _AGAIN)
        elif out.dtype == np.int16 and any(z.quantization and z.quantization.zero_points.any() for z in (t, out)):
            raise refuse(op, f"{describe(t)} or {describe(out)} has a zero point other than 0", _AGAIN)
    if sum(t.shape[axis] for t in parts) != out.shape[axis]:
        raise refuse(op, f"its inputs do not fill {describe(out)} along axis {axis}", _AGAIN)
    return _parts(op, "kernels_join", out, parts, math.prod(out.shape[:axis]))


def pack(graph: Graph, op: Operator) -> Layer:
    """PACK of int8, int16, int32, int64 or float32 tensors of one shape along a new axis."""
    parts, out = _inputs(graph, op, "int8", "int16", "int32", "int64", "float32")
    axis = axis_of(op, int(op.options.get("axis", 0)), out)
    for t in parts:
        require_shape(op, t, parts[0].shape)
    shape = parts[0].shape
    require_shape(op, out, (*shape[:axis], len(parts), *shape[axis:]))
    return _parts(op, "kernels_join", out, parts, math.prod(shape[:axis]))


def _outputs(graph: Graph, op: Operator, x: Tensor) -> list[Tensor]:
    if not op.outputs:
        raise refuse(op, "it has no outputs", _AGAIN)
    outs = [graph.tensors[i] for i in op.outputs]
    for t in outs:
        require_type(op, t, x.dtype.name)
    return outs


def _divided(graph: Graph, op: Operator, x: Tensor, axis: int, sizes: Sequence[int]) -> Layer:
    """`x` cut into `sizes` along `axis`."""
    outs = _outputs(graph, op, x)
    if len(sizes) != len(outs) or sum(sizes) != x.shape[axis] or min(sizes) < 1:
        raise refuse(op, f"{describe(x)} is not divided by {list(sizes)} along axis {axis}", _AGAIN)
    for t, size in zip(outs, sizes, strict=True):
        require_shape(op, t, (*x.shape[:axis], size, *x.shape[axis + 1 :]))
    return _parts(op, "kernels_divide", x, outs, math.prod(x.shape[:axis]))


def _only_axis(graph: Graph, op: Operator, index: int, x: Tensor) -> int:
    given = integers(graph, op, index)
    if len(given) != 1:
        raise refuse(op, f"axis {given} is not one number", _AGAIN)
    return axis_of(op, given[0], x)


def split(graph: Graph, op: Operator) -> Layer:
    """SPLIT of an int8, int16, int32 or float32 tensor into equal parts along a constant axis."""
    x = tensor(graph, op, 1)
    require_type(op, x, "int8", "int16", "int32", "float32")
    axis = _only_axis(graph, op, 0, x)
    count = max(1, len(op.outputs))
    if x.shape[axis] % count:
        raise refuse(op, f"{describe(x)} is not divided by {count} along axis {axis}", _AGAIN)
    return _divided(graph, op, x, axis, [x.shape[axis] // count] * len(op.outputs))


def split_v(graph: Graph, op: Operator) -> Layer:
    """SPLIT_V of an int8, int16, int32 or float32 tensor into parts of constant sizes along a constant axis."""
    x = tensor(graph, op, 0)
    require_type(op, x, "int8", "int16", "int32", "float32")
    sizes = integers(graph, op, 1)
    axis = _only_axis(graph, op, 2, x)
    if sizes.count(-1) == 1:
        sizes[sizes.index(-1)] = x.shape[axis] - sum(sizes) - 1
    return _divided(graph, op, x, axis, sizes)


def unpack(graph: Graph, op: Operator) -> Layer:
    """UNPACK of an int8, int16, int32 or float32 tensor along an axis that disappears."""
    x = tensor(graph, op, 0)
    require_type(op, x, "int8", "int16", "int32", "float32")
    axis = axis_of(op, int(op.options.get("axis", 0)), x)
    outs = _outputs(graph, op, x)
    if x.shape[axis] != len(outs):
        raise refuse(op, f"it has {len(outs)} outputs of {describe(x)} along axis {axis}", _AGAIN)
    for t in outs:
        require_shape(op, t, (*x.shape[:axis], *x.shape[axis + 1 :]))
    return _parts(op, "kernels_divide", x, outs, math.prod(x.shape[:axis]))


OPERATORS: dict[str, Lower] = {
    "CONCATENATION": concatenation,
    "PACK": pack,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "UNPACK": unpack,
}
