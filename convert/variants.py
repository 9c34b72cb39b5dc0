"""Conversion to every format of a scheme, with weights on grids coarser than the converter's own.

The converter chooses int8 scales by each channel's largest weight. Where a layer's weights lie on a grid of fewer bits,
its tensor is rewritten: exactly the grid's integers and scales, with the bias at s_bias = s_input * s_weight as the
TFLite 8-bit quantisation specification asks. Grids of 4 bits become packed INT4 tensors, which TFLite Micro executes in
convolutions and dense layers; others stay int8 tensors of small integers, since TFLite Micro executes no narrower type
(it refuses INT2).
"""

import copy
from collections.abc import Sequence
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

from convert import quantize
from convert.scheme import Grid, Scheme

Array = npt.NDArray[Any]

PACKED_BITS = 4
_KINDS = schema.BuiltinOperator
_WEIGHTED = (_KINDS.CONV_2D, _KINDS.DEPTHWISE_CONV_2D, _KINDS.FULLY_CONNECTED)
_BIASES = {schema.TensorType.INT32: np.int32, schema.TensorType.INT64: np.int64}
_ALIGNMENT = 16  # of buffers, as the schema asks


def to_tflite(model: Any, representative: Array | Sequence[Array], scheme: Scheme) -> bytes:
    """Convert a model as its scheme says; with the plain scheme the same bytes as `quantize.to_int8`.

    Raises UsageError for what the converter refuses, and RuntimeError where a layer with a grid does not lie on it or
    is not in the converted file with its own weights (batch normalisation must be folded before weights are rounded).
    """
    data = quantize.converted(model, representative, scheme.format)
    if not scheme.grids or scheme.format in ("float32", "float16"):
        return data
    file = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for name, grid in scheme.grids.items():
        _rewrite(file, model.get_layer(name), grid, scheme.format == "int8" and grid.bits == PACKED_BITS)
    return _packed(file)


def integers(kernel: Array, grid: Grid, name: str = "") -> npt.NDArray[np.int8]:
    """The grid's integers of a kernel whose last axes are the output channels; RuntimeError where it lies off it."""
    flat = kernel.reshape(-1, len(grid.scales)) / np.asarray(grid.scales, np.float64)
    q = np.round(flat)
    if np.abs(q - flat).max() > 1e-3 or np.abs(q).max() > 2 ** (grid.bits - 1):
        raise RuntimeError(f"weights of layer {name!r} do not lie on their grid of {grid.bits} bits")
    found: npt.NDArray[np.int8] = q.reshape(kernel.shape).astype(np.int8)
    return found


def _stored(kernel: Array, kind: str) -> Array:
    """A Keras layer's kernel as TFLite lays it out: output channels first, in a depthwise convolution last."""
    if kind == "Dense":
        return kernel.T
    if kind == "DepthwiseConv2D":
        return kernel.reshape(1, *kernel.shape[:2], -1)
    if kind == "Conv1D":
        kernel = kernel[None]
    return kernel.transpose(3, 0, 1, 2)


def _rewrite(file: Any, layer: Any, grid: Grid, pack: bool) -> None:
    """Put a layer's integers and scales into all operators that have its weights."""
    kind = type(layer).__name__
    kernel, *bias = layer.get_weights()
    weights, wanted = _stored(kernel, kind), _stored(integers(kernel, grid, layer.name), kind)
    sub, found = file.subgraphs[0], False
    for op in sub.operators:
        if file.operatorCodes[op.opcodeIndex].builtinCode not in _WEIGHTED:
            continue
        tensor = sub.tensors[op.inputs[1]]
        if not _same(file, tensor, weights):
            continue
        found, op.inputs = True, np.array(op.inputs)
        if tensor.type == schema.TensorType.FLOAT32:
            continue  # a small tensor of the dynamic format: the values are on the grid as they are
        axis = 3 if kind == "DepthwiseConv2D" else 0
        # One scale for each channel where the converter gives that, since kernels expect it of convolutions.
        channels = weights.shape[axis]
        many = max(len(grid.scales), len(tensor.quantization.scale))
        scales = np.broadcast_to(np.asarray(grid.scales, np.float32), many)
        if len(op.inputs) > 2 and op.inputs[2] >= 0:
            _rewrite_bias(file, op, scales, channels, bias)
        op.inputs[1] = _own(sub, op.inputs[1], [o for o in sub.operators if o is not op])
        tensor = sub.tensors[op.inputs[1]]
        _requantize(tensor, scales, axis)
        if pack:
            tensor.type = schema.TensorType.INT4
        _fill(file, tensor, _nibbles(wanted) if pack else wanted)
    if not found:
        raise RuntimeError(
            f"the converted model has no operator with the weights of layer {layer.name!r}; "
            "fold what is multiplied with them (batch normalisation) before they are rounded"
        )


def _rewrite_bias(file: Any, op: Any, scales: Array, channels: int, known: Sequence[Array]) -> None:
    """The bias at its new scale, from the layer's own values where the file has just these."""
    sub = file.subgraphs[0]
    tensor = sub.tensors[op.inputs[2]]
    if tensor.type not in _BIASES:
        return  # the dynamic format has float biases
    real = known[0] if known and _same(file, tensor, known[0]) else _real(file, tensor)
    steps = np.float32(sub.tensors[op.inputs[0]].quantization.scale[0]) * scales
    dtype = _BIASES[tensor.type]
    q = np.round(np.float64(real) / np.broadcast_to(steps, channels).astype(np.float64))
    if np.abs(q).max() > np.iinfo(np.int32).max:
        raise RuntimeError(
            f"a bias of {np.abs(real).max():g} is out of range beside weights in steps of {scales.min():g}"
        )
    op.inputs[2] = _own(sub, op.inputs[2], [o for o in sub.operators if o is not op])
    tensor = sub.tensors[op.inputs[2]]
    _requantize(tensor, steps, 0)
    _fill(file, tensor, q.astype(dtype))


# --- the file ---------------------------------------------------------------------------------------------------------


def _scales(tensor: Any) -> Array:
    """A tensor's scales in the shape that multiplies its integers."""
    scales = np.asarray(tensor.quantization.scale, np.float64)
    sizes = [1] * len(tensor.shape)
    if len(scales) > 1:
        sizes[tensor.quantization.quantizedDimension] = len(scales)
    return scales.reshape(sizes) if sizes else scales


def _same(file: Any, tensor: Any, values: Array) -> bool:
    """Whether a constant tensor is what the converter makes of the values: half a rounding step away at most."""
    real = _real(file, tensor)
    step = 0.0 if tensor.type == schema.TensorType.FLOAT32 or not real.size else _scales(tensor)
    return bool(real.shape == values.shape and (np.abs(real - values) <= 0.51 * step + 1e-6).all())


def _real(file: Any, tensor: Any) -> Array:
    """The real numbers of a constant tensor; an empty array for one that is none."""
    raw = file.buffers[tensor.buffer].data
    types = {schema.TensorType.INT8: np.int8, schema.TensorType.FLOAT32: np.float32, **_BIASES}
    if raw is None or not len(raw) or tensor.type not in types:
        return np.zeros(0)
    values = np.frombuffer(np.asarray(raw, np.uint8).tobytes(), types[tensor.type]).reshape(tensor.shape)
    if tensor.type == schema.TensorType.FLOAT32:
        return np.asarray(values)
    return np.asarray(values * _scales(tensor))


def _own(sub: Any, index: int, others: Sequence[Any]) -> int:
    """The tensor, or a copy of it where other operators read it too."""
    if not any(index in other.inputs for other in others):
        return index
    sub.tensors.append(copy.deepcopy(sub.tensors[index]))
    return len(sub.tensors) - 1


def _requantize(tensor: Any, scales: Array, axis: int) -> None:
    tensor.quantization.scale = np.asarray(scales, np.float32)
    tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)
    tensor.quantization.quantizedDimension = axis if len(scales) > 1 else 0
    tensor.quantization.min = tensor.quantization.max = None


def _fill(file: Any, tensor: Any, values: Array) -> None:
    """Give a tensor a buffer of its own; one that nothing uses any more becomes empty."""
    old = tensor.buffer
    file.buffers.append(schema.BufferT())
    tensor.buffer = len(file.buffers) - 1
    file.buffers[-1].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    used = {t.buffer for sub in file.subgraphs for t in sub.tensors} | {m.buffer for m in file.metadata or ()}
    if old not in used:
        file.buffers[old].data = None


def _nibbles(values: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Two 4-bit numbers a byte, the first in the lower half; an odd last one alone."""
    flat = (values.reshape(-1) & 15).astype(np.uint8)
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    return np.asarray(flat[::2] | (flat[1::2] << 4), np.uint8)


class _Builder(flatbuffers.Builder):  # type: ignore[misc]
    """A builder that aligns vectors of bytes, which Python's generated code leaves at four."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:
        return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)


def _packed(file: Any) -> bytes:
    builder = _Builder(1024)
    builder.Finish(file.Pack(builder), b"TFL3")
    return bytes(builder.Output())
