"""A network of bits as a file, little-endian: a header, then its layers with their numbers packed as they lie in flash.

char[4]  "BIT1"                        uint16  height, width, channels of the input
float32  an input's step               int8    exponent of a score's unit
uint8    layers

A layer begins with uint8 kind, uint8 bits (1 "same" padding, 2 ternary), uint16 outputs, window height and width,
uint8 vertical and horizontal stride; its numbers follow:
0 image  words of the signs, int32[outputs] limits
1 bits   words of the weights, int32[outputs] limits
2 pool   words: which channels fall
3 scores words of the signs, int16[outputs] factors, int32[outputs] offsets
"""

import struct

import numpy as np

from convert.binary.net import BitConv, Bools, ImageConv, Layer, Net, Pool, Scores, Shape, Window, Words, check, pack
from convert.binary.net import unpack as bits_of
from convert.binary.net import words as words_of
from convert.errors import UsageError

MAGIC = b"BIT1"
_HEADER = struct.Struct("<4sHHHfbB")
_LAYER = struct.Struct("<BBHHHBB")
_MOST = 1 << 24  # numbers of a layer that a file may ask for


def pack_net(net: Net) -> bytes:
    """The network's file; the same network gives the same bytes. Raises UsageError for one that the C cannot run."""
    check(net)
    return b"".join(
        [_HEADER.pack(MAGIC, *net.shape, net.scale, net.exponent, len(net.layers)), *map(_layer, net.layers)]
    )


def _layer(layer: Layer) -> bytes:
    if isinstance(layer, ImageConv | BitConv):
        kind, bits = (0, 0) if isinstance(layer, ImageConv) else (1, 2 * layer.ternary)
        head = _LAYER.pack(kind, bits | layer.same, layer.outputs, *layer.window.kernel, *layer.strides)
        return head + layer.words.astype("<u4").tobytes() + layer.limits.astype("<i4").tobytes()
    if isinstance(layer, Pool):
        head = _LAYER.pack(2, layer.window.same, len(layer.falling), *layer.window.kernel, *layer.window.strides)
        return head + pack(layer.falling).astype("<u4").tobytes()
    assert isinstance(layer, Scores)
    head = _LAYER.pack(3, 0, len(layer.weights), 1, 1, 1, 1)
    numbers = (pack(layer.weights > 0).astype("<u4"), layer.factors.astype("<i2"), layer.offsets.astype("<i4"))
    return head + b"".join(part.tobytes() for part in numbers)


def unpack_net(data: bytes) -> Net:
    """The network of a file that `pack_net` made; raises UsageError for anything else."""
    if data[:4] != MAGIC or len(data) < _HEADER.size:
        raise UsageError(
            "not a binary network: the file does not begin with BIT1; train one with a recipe whose step binarize has "
            'scheme = "integer_bnn"'
        )
    try:
        net = _read(data)
    except (ValueError, struct.error, IndexError) as e:
        raise UsageError(f"damaged binary network ({e}); make it again with convert/build.py") from e
    return check(net)


class _Reader:
    """Takes one part after the other; ValueError where the bytes end too early or too late."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, _HEADER.size

    def take(self, count: int, dtype: str) -> np.ndarray:
        """The next `count` numbers."""
        if not 0 < count <= _MOST:
            raise ValueError(f"a layer of {count} numbers")
        array = np.frombuffer(self.data, dtype, count, self.at)
        self.at += array.nbytes
        return array

    def words(self, *shape: int) -> Words:
        """The next words."""
        return self.take(int(np.prod(shape, dtype=object)), "<u4").reshape(shape).astype(np.uint32)

    def head(self) -> tuple[int, ...]:
        """A layer's first numbers."""
        found = _LAYER.unpack_from(self.data, self.at)
        self.at += _LAYER.size
        return found


def _read(data: bytes) -> Net:
    _, height, width, channels, scale, exponent, count = _HEADER.unpack_from(data)
    shape: Shape = (height, width, channels)
    if not (height and width and channels and np.isfinite(scale) and scale > 0 and -40 <= exponent <= 40):
        raise ValueError("its header has values out of range")
    reader = _Reader(data)
    layers: list[Layer] = []
    current = shape
    for _ in range(count):
        layers.append(_read_layer(reader, current))
        current = layers[-1].out(current)
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes too many")
    return Net(shape, scale, exponent, tuple(layers))


def _read_layer(reader: _Reader, shape: Shape) -> Layer:
    kind, bits, outputs, height, width, *strides = reader.head()
    if not (outputs and height and width and all(strides)):
        raise ValueError("a layer's sizes are 0")
    same, ternary = bool(bits & 1), bool(bits & 2)
    window = Window((height, width), (strides[0], strides[1]), same)
    if kind == 2:
        return Pool(window, bits_of(reader.words(words_of(outputs)), outputs))
    if kind == 3:
        inputs = shape[0] * shape[1] * shape[2]
        signs = _signs(bits_of(reader.words(outputs, words_of(inputs)), inputs))
        factors = reader.take(outputs, "<i2").astype(np.int16)
        return Scores(signs, factors, reader.take(outputs, "<i4").astype(np.int32))
    if kind > 3 or bits > 3 or (kind == 0 and ternary):
        raise ValueError(f"layer of kind {kind} with bits {bits}")
    taps, rows = height * width * shape[2], 2 if ternary else 1
    found = reader.words(words_of(outputs), taps, rows)
    planes = [bits_of(np.ascontiguousarray(found[..., r].T), outputs).T for r in range(rows)]
    weights = _signs(planes[0]) if not ternary else (planes[0].astype(np.int8) - (~planes[1]).astype(np.int8))
    limits = reader.take(outputs, "<i4").astype(np.int32)
    if kind == 0:
        rows_first = np.ascontiguousarray(weights, np.int8).reshape(outputs, height, width, shape[2])
        return ImageConv(rows_first, limits, window.strides, same)
    columns_first = np.asarray(weights, np.int8).reshape(outputs, width, height, shape[2])
    return BitConv(np.ascontiguousarray(columns_first.swapaxes(1, 2)), limits, window.strides, same, ternary)


def _signs(bits: Bools) -> np.ndarray:
    return np.where(bits, np.int8(1), np.int8(-1))
