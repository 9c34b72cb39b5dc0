"""A network of bits in NumPy: sums of integers, without the words, counters and folded thresholds of the C."""

import numpy as np
import numpy.typing as npt

from convert.binary.net import OFFSET, BitConv, ImageConv, Int8, Int32, Net, Pool, Scores, Window

_BATCH = 50
Floats = npt.NDArray[np.float32]


def run(net: Net, x: Int8) -> Int32:
    """Scores int32 (n, classes) of samples int8 (n, features)."""
    found = [_run(net, x[at : at + _BATCH]) for at in range(0, len(x), _BATCH)]
    return np.concatenate([*found, np.zeros((0, net.classes), np.int32)])


def _run(net: Net, x: Int8) -> Int32:
    """Maps hold whole numbers in float32, whose products BLAS adds fast; net.py keeps sums below 2^24."""
    values = (x.astype(np.float32) + OFFSET).reshape(-1, *net.shape)
    for layer in net.layers:
        if isinstance(layer, ImageConv | BitConv):
            outside = 0.0 if isinstance(layer, ImageConv) else -1.0
            seen = windows(values, layer.window, outside)
            sums = seen.reshape(*seen.shape[:3], -1) @ layer.weights.reshape(layer.outputs, -1).T.astype(np.float32)
            values = np.where(sums >= layer.limits, np.float32(1), np.float32(-1))
        elif isinstance(layer, Pool):
            seen = windows(values, layer.window, 0.0)
            values = np.where(layer.falling, seen.min((3, 4)), seen.max((3, 4)))
        else:
            assert isinstance(layer, Scores)
            sums = values.reshape(len(values), -1) @ layer.weights.T.astype(np.float32)
            return np.asarray(sums.astype(np.int32) * layer.factors.astype(np.int32) + layer.offsets)
    raise AssertionError("net.check wants Scores at the end")


def windows(x: Floats, window: Window, outside: float) -> Floats:
    """Windows (n, rows, columns, height, width, channels) of maps, with `outside` beyond their edges."""
    shape = (x.shape[1], x.shape[2], x.shape[3])
    padded = np.pad(x, [(0, 0), *window.pads(shape), (0, 0)], constant_values=outside)
    found = np.lib.stride_tricks.sliding_window_view(padded, window.kernel, axis=(1, 2))
    return np.asarray(found[:, :: window.strides[0], :: window.strides[1]].transpose(0, 1, 2, 4, 5, 3))
