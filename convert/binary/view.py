"""A network of bits as a graph of an operator a layer, so that vectors, accuracy, report and project take it like any
model."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convert.binary import container
from convert.binary.net import OFFSET, BitConv, ImageConv, Layer, Net, Pool, words
from convert.graph import Graph, Operator, Quantization, Tensor


@dataclass(frozen=True)
class BinaryGraph(Graph):
    """A graph that also holds the network; an input is int8 (1, *shape), the output int32 (1, classes).

    Maps of bits are tensors of uint32 words (1, height, width, words).
    """

    net: Net | None = None

    @cached_property
    def parameters(self) -> int:
        """Weights and thresholds."""
        return net_of(self).parameters

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates, as a network of bytes would do them."""
        return net_of(self).macs

    def macs_of(self, op: Operator) -> int:
        """Multiply-accumulates of a layer."""
        net = net_of(self)
        return net.layers[op.index].macs(net.shapes[op.index])


def net_of(graph: Graph) -> Net:
    """The network behind a graph that `load` made."""
    assert isinstance(graph, BinaryGraph) and graph.net is not None
    return graph.net


def load(data: bytes) -> BinaryGraph:
    """The graph of a network's file (see container.py). Raises UsageError for a file that is none."""
    net = container.unpack_net(data)
    tensors = [_input(net)]
    operators = []
    for index, layer in enumerate(net.layers):
        size, (height, width, channels) = layer.constant_bytes(net.shapes[index]), net.shapes[index + 1]
        constant, output = 2 * index + 1, 2 * index + 2
        numbers = np.zeros(size, np.uint8) if size else None
        tensors.append(Tensor(constant, f"numbers {index}", (size,), np.dtype("u1"), None, numbers, is_variable=False))
        if index == len(net.layers) - 1:
            tensors.append(_scores(net, output))
        else:
            map_shape = (1, height, width, words(channels))
            tensors.append(Tensor(output, f"bits {index}", map_shape, np.dtype("<u4"), None, None, is_variable=False))
        operators.append(Operator(index, _name(layer), (output - 2, constant), (output,), {}))
    return BinaryGraph(data, tuple(tensors), tuple(operators), (0,), (2 * len(net.layers),), net=net)


def _quantization(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64), None)


def _input(net: Net) -> Tensor:
    q = _quantization(net.scale, -OFFSET)
    return Tensor(0, "input", (1, *net.shape), np.dtype("i1"), q, None, is_variable=False)


def _scores(net: Net, index: int) -> Tensor:
    q = _quantization(2.0**net.exponent, 0)
    return Tensor(index, "scores", (1, net.classes), np.dtype("<i4"), q, None, is_variable=False)


def _name(layer: Layer) -> str:
    if isinstance(layer, ImageConv):
        return "BINARY_IMAGE_CONV"
    if isinstance(layer, BitConv):
        return "TERNARY_CONV" if layer.ternary else "BINARY_CONV"
    return "BINARY_MAX_POOL" if isinstance(layer, Pool) else "BINARY_SCORES"
