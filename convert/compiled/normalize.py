"""Normalisation: L2_NORMALIZATION."""

from convert.compiled import overlap
from convert.compiled.layer import Layer, Lower, Value, describe, make, per_tensor, refuse
from convert.compiled.move import ends, require_shape
from convert.graph import Graph, Operator

_MAX_DEPTH = (2**31 - 1) // 255**2  # squares that one int32 sum holds


def l2_normalization(graph: Graph, op: Operator) -> Layer:
    """L2_NORMALIZATION of int8 tensors over the last of at most 4 dimensions; the output's quantisation is 1/128, 0."""
    x, out = ends(graph, op, "int8")
    require_shape(op, out, x.shape)
    qx, qout = per_tensor(op, x), per_tensor(op, out)
    if qout.scale != 1 / 128 or qout.zero_point != 0:
        raise refuse(
            op,
            f"{describe(out)} has scale {qout.scale:g} and zero point {qout.zero_point}, not 1/128, 0",
            "convert the model again",
        )
    if int(op.options.get("fusedActivationFunction", 0)):
        raise refuse(op, "it has a fused activation", "put the activation behind it")
    if not 1 <= len(x.shape) <= 4:
        raise refuse(op, f"{describe(x)} has {len(x.shape)} dimensions, not 1 to 4", "reshape it first")
    depth = x.shape[-1]
    if depth > _MAX_DEPTH:
        raise refuse(op, f"it runs over {depth} elements", f"at most {_MAX_DEPTH} are supported")
    params: dict[str, Value] = {"rows": x.elements // depth, "depth": depth, "offset": -qx.zero_point}
    layer = make(graph, op, "kernels_l2_normalize_s8", "kernels_l2_normalize_params", params)
    # A row is read again while its output is written, each element before its own.
    return overlap.overlapping(layer, overlap.rows(x.elements, 1, 1))


OPERATORS: dict[str, Lower] = {"L2_NORMALIZATION": l2_normalization}
