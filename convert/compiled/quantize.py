"""Crossings between quantisations and to and from float32: QUANTIZE, DEQUANTIZE."""

from convert.compiled import fixed_point, overlap
from convert.compiled.activation import table_layer, table_of
from convert.compiled.layer import Layer, Lower, describe, make, output, per_tensor, refuse, require_type, tensor
from convert.graph import Graph, Operator, Tensor

_RANGES = {"int8": range(-128, 128), "uint8": range(256)}


def _same_size(op: Operator, x: Tensor, out: Tensor) -> None:
    if x.elements != out.elements:
        raise refuse(op, f"{describe(x)} and {describe(out)} differ in size", "convert the model again")


def quantize(graph: Graph, op: Operator) -> Layer:
    """QUANTIZE: float32 to int8, or a table between int8 and uint8 of different quantisations."""
    x, out = tensor(graph, op, 0), output(graph, op)
    require_type(op, x, "float32", "int8", "uint8")
    require_type(op, out, *(("int8", "uint8") if x.dtype.name == "int8" else ("int8",)))
    _same_size(op, x, out)
    qout = per_tensor(op, out)
    if x.dtype.name == "float32":
        params = {"elements": x.elements, "scale": qout.scale, "zero_point": qout.zero_point}
        layer = make(graph, op, "kernels_quantize_f32_s8", "kernels_scale_params", params)
        return overlap.overlapping(layer, overlap.rows(x.elements, x.dtype.itemsize, 1))
    qx = per_tensor(op, x)
    multiplier, shift = fixed_point.quantize_multiplier(qx.scale / qout.scale)
    results = _RANGES[out.dtype.name]

    def value(q: int) -> int:
        y = fixed_point.multiply(q - qx.zero_point, multiplier, shift) + qout.zero_point
        return min(max(y, results[0]), results[-1])

    return table_layer(graph, op, table_of(value, _RANGES[x.dtype.name]))


def dequantize(graph: Graph, op: Operator) -> Layer:
    """DEQUANTIZE: int8 or uint8 to float32.

    scale * (q - zero point) has at most 33 significant bits, so that one float32 product rounds it correctly.
    """
    x, out = tensor(graph, op, 0), output(graph, op)
    require_type(op, x, "int8", "uint8")
    require_type(op, out, "float32")
    _same_size(op, x, out)
    q = per_tensor(op, x)
    params = {"elements": x.elements, "scale": q.scale, "zero_point": q.zero_point}
    kernel = "kernels_dequantize_s8_f32" if x.dtype.name == "int8" else "kernels_dequantize_u8_f32"
    layer = make(graph, op, kernel, "kernels_scale_params", params)
    return overlap.overlapping(layer, overlap.rows(x.elements, 1, out.dtype.itemsize))


OPERATORS: dict[str, Lower] = {"QUANTIZE": quantize, "DEQUANTIZE": dequantize}
