"""Convolutions and dense layers: CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED."""

from collections.abc import Mapping

import numpy as np

from convert.compiled import overlap
from convert.compiled.layer import (
    Array,
    Constant,
    Layer,
    Lower,
    Value,
    constant,
    describe,
    int8,
    make,
    output,
    per_tensor,
    refuse,
    require_type,
    tensor,
)
from convert.compiled.stage import output_stage
from convert.compiled.window import Window, require_multiplier, window
from convert.graph import Graph, Operator, Tensor


def _weights(graph: Graph, op: Operator, dimensions: int) -> tuple[Tensor, Array]:
    """Check the types of input, weights and output; return the weights."""
    for t in (tensor(graph, op, 0), tensor(graph, op, 1), output(graph, op)):
        require_type(op, t, "int8")
    w = tensor(graph, op, 1)
    if len(w.shape) != dimensions:
        raise refuse(op, f"weights {describe(w)} do not have {dimensions} dimensions", "convert the model again")
    return w, constant(op, w)


def _matmul(graph: Graph, op: Operator, weights: Array, rows: int, stage: Mapping[str, Value]) -> Layer:
    """`weights` is (channels, depth)."""
    layer = make(
        graph,
        op,
        "kernels_matmul_s8",
        "kernels_matmul_params",
        {
            "rows": rows,
            "depth": weights.shape[1],
            "channels": weights.shape[0],
            "weights": Constant("weights", int8(weights), "[output channel][input]"),
            "stage": stage,
        },
    )
    return overlap.overlapping(layer, _matmul_distance(rows, weights.shape[1], weights.shape[0]))


def _matmul_distance(rows: int, depth: int, channels: int) -> int:
    """Pairs of rows are read again for each pair of channels; a last single row for each four channels, then for each.

    Copying the rows first would need as much scratch as the output could come closer.
    """
    first = np.arange(0, rows - 1, 2)
    twos = np.append(np.arange(2, channels, 2), channels)
    fours = channels - channels % 4
    rest = np.append(np.arange(4, fours, 4), np.arange(fours, channels + 1))[: None if rows % 2 else 0]
    read = np.append(np.repeat(first * depth, len(twos)), np.full(len(rest), (rows - 1) * depth))
    written = np.append(((first + 1) * channels)[:, None] + twos, (rows - 1) * channels + rest)
    return overlap.distance(read, written, rows * depth)


def _conv(graph: Graph, op: Operator, weights: Array, win: Window, channels: int, axis: int) -> Layer:
    """A convolution; `weights` is OHWI, `axis` the channels' axis in the weights' tensor."""
    flat = weights.reshape(len(weights), -1)
    stage = output_stage(graph, op, flat, axis)
    groups = channels // weights.shape[3]
    pixels = win.batches * win.output[0] * win.output[1]
    if groups == 1 and (win.pointwise or win.whole):
        return _matmul(graph, op, flat, pixels, stage)
    layer = make(
        graph,
        op,
        "kernels_conv_s8",
        "kernels_conv_params",
        {
            "window": win.params,
            "input_channels": channels,
            "output_channels": len(weights),
            "groups": groups,
            "input_zero_point": per_tensor(op, tensor(graph, op, 0)).zero_point,
            "weights": Constant("weights", int8(weights), "OHWI"),
            "stage": stage,
        },
        scratch_bytes=2 * flat.shape[1],
    )
    # Groups are worked off one after the other, each over the whole image.
    return (
        overlap.overlapping(layer, overlap.windowed(win.params, channels, len(weights), block=2))
        if groups == 1
        else layer
    )


def conv_2d(graph: Graph, op: Operator) -> Layer:
    """CONV_2D: a matrix product where the window is one pixel or the whole image, otherwise a gathering convolution."""
    w, weights = _weights(graph, op, 4)
    x, out = tensor(graph, op, 0), output(graph, op)
    win = window(op, x, out, (w.shape[1], w.shape[2]))
    channels = x.shape[3]
    if channels % w.shape[3] or w.shape[0] != out.shape[3] or w.shape[0] % (channels // w.shape[3]):
        raise refuse(
            op, f"weights {describe(w)} do not suit {describe(x)} and {describe(out)}", "convert the model again"
        )
    return _conv(graph, op, weights, win, channels, axis=0)


def depthwise_conv_2d(graph: Graph, op: Operator) -> Layer:
    """DEPTHWISE_CONV_2D; over one input channel it is an ordinary convolution and becomes one."""
    w, weights = _weights(graph, op, 4)
    x, out = tensor(graph, op, 0), output(graph, op)
    win = window(op, x, out, (w.shape[1], w.shape[2]))
    channels = x.shape[3]
    if w.shape[0] != 1 or w.shape[3] != out.shape[3] or w.shape[3] % channels:
        raise refuse(
            op, f"weights {describe(w)} do not suit {describe(x)} and {describe(out)}", "convert the model again"
        )
    require_multiplier(op, x, w)
    if channels == 1:
        return _conv(graph, op, weights.transpose(3, 1, 2, 0), win, channels, axis=3)
    flat = weights.reshape(-1, w.shape[3]).T
    lines = w.shape[3] == channels and _lines_serve(win)
    layer = make(
        graph,
        op,
        "kernels_depthwise_s8",
        "kernels_depthwise_params",
        {
            "window": win.params,
            "input_channels": channels,
            "multiplier": w.shape[3] // channels,
            "lines": int(lines),
            "input_zero_point": per_tensor(op, x).zero_point,
            "weights": Constant("weights", int8(weights), "HWC"),
            "stage": output_stage(graph, op, flat, axis=3, fold=False),
        },
        # The kernel always takes scratch memory, if only a byte.
        scratch_bytes=3 * ((win.output[1] - 1) * win.stride[1] + 3) * channels if lines else 1,
    )
    if lines:
        return overlap.overlapping(layer, _lines_distance(win) * channels)
    store = 4 if w.shape[3] == channels and channels % 4 == 0 else 1
    return overlap.overlapping(layer, overlap.windowed(win.params, channels, w.shape[3], store=store))


def _lines_serve(win: Window) -> bool:
    """Windows that the depthwise kernel works off on three copied lines: few pixels a row are not worth the copies."""
    square = win.size == (3, 3) and win.dilation == (1, 1)
    return square and win.output[1] > 3 and max(win.pad) <= 2 and max(win.stride) <= 3


def _lines_distance(win: Window) -> int:
    """Pixels: rows are copied when a row of outputs first needs them, and are never read again."""
    height, width = win.input
    batch, i = np.arange(win.batches)[:, None], np.arange(win.output[0])
    first = np.where(i > 0, np.maximum(i * win.stride[0], (i - 1) * win.stride[0] + 3), 0) - win.pad[0]
    read = batch * height * width + np.clip(first, 0, height) * width
    written = (batch * win.output[0] + i + 1) * win.output[1]
    return overlap.distance(read, written, win.batches * height * width)


def fully_connected(graph: Graph, op: Operator) -> Layer:
    """FULLY_CONNECTED: a matrix product with a row for each element of the batch."""
    w, weights = _weights(graph, op, 2)
    x, out = tensor(graph, op, 0), output(graph, op)
    channels, depth = w.shape
    rows = x.elements // depth if depth else 0
    if rows * depth != x.elements or out.elements != rows * channels or out.shape[-1] != channels:
        raise refuse(
            op, f"weights {describe(w)} do not suit {describe(x)} and {describe(out)}", "convert the model again"
        )
    if int(op.options.get("weightsFormat", 0)) != 0:
        raise refuse(op, "shuffled weights are not supported", "convert with the default weights format")
    stage = output_stage(graph, op, np.asarray(weights), axis=0)
    return _matmul(graph, op, weights, rows, stage)


OPERATORS: dict[str, Lower] = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "FULLY_CONNECTED": fully_connected,
}
