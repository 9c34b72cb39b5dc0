"""A network of bits: its layers, their shapes, and their numbers as kernels/bits.h in firmware/lib/kernels has them.

Layers hold plain integers; words, counters and folded thresholds are derived from these.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]
Bools = npt.NDArray[np.bool_]
Shape: TypeAlias = tuple[int, int, int]  # height, width, channels

WORD = 32
OFFSET = 128  # minus the input's zero point
WIDEST = 255  # of an input, its zero point taken off
MAX_PLANES = 24
MAX_TAPS = 2**15 - 1  # of the first layer, whose kernel numbers them with 16 bits


def words(channels: int) -> int:
    """Words that so many bits take."""
    return -(-channels // WORD)


def pack(bits: Bools) -> Words:
    """Bits (..., n) as words (..., n / 32 rounded up), the first bit lowest."""
    filled = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % WORD)])
    octets = np.ascontiguousarray(np.packbits(filled, axis=-1, bitorder="little"))
    return octets.view("<u4").astype(np.uint32)


def unpack(packed: Words, count: int) -> Bools:
    """The first `count` bits (..., count) of words."""
    octets = np.ascontiguousarray(packed.astype("<u4")).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=count, bitorder="little").astype(bool)


def edges(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Positions that TensorFlow's "same" padding adds before and after an axis."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Window:
    """How a layer slides over its map."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    same: bool

    def pads(self, shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        """Positions before and after each axis."""
        if not self.same:
            return (0, 0), (0, 0)
        rows, columns = (edges(*axis) for axis in zip(shape[:2], self.kernel, self.strides, strict=True))
        return rows, columns

    def output(self, shape: Shape) -> tuple[int, int]:
        """Height and width of what comes out; 0 or less where the window does not fit."""
        sizes = zip(shape[:2], self.kernel, self.strides, self.pads(shape), strict=True)
        height, width = ((size + sum(pad) - kernel) // stride + 1 for size, kernel, stride, pad in sizes)
        return height, width

    def struct(self, shape: Shape) -> dict[str, int]:
        """Members of kernels_window by name."""
        (top, _), (left, _) = self.pads(shape)
        height, width = self.output(shape)
        return {
            "batches": 1,
            "input_height": shape[0],
            "input_width": shape[1],
            "output_height": height,
            "output_width": width,
            "height": self.kernel[0],
            "width": self.kernel[1],
            "stride_height": self.strides[0],
            "stride_width": self.strides[1],
            "dilation_height": 1,
            "dilation_width": 1,
            "pad_top": top,
            "pad_left": left,
        }


@dataclass(frozen=True)
class Layer(ABC):
    """A layer; `out` is (height, width, channels) of what it makes of a map of a shape."""

    @abstractmethod
    def out(self, shape: Shape) -> Shape:
        """Shape of the output; raises UsageError for an input that does not fit."""

    def macs(self, _shape: Shape) -> int:
        """Multiply-accumulates that it stands for, zeros counted."""
        return 0

    @abstractmethod
    def constant_bytes(self, shape: Shape) -> int:
        """Bytes of its constants in flash for an input of a shape, without the dozen words of its parameters."""


@dataclass(frozen=True)
class _Convolution(Layer):
    weights: Int8  # (outputs, height, width, channels)
    limits: Int32  # (outputs,): bit = sum >= limit
    strides: tuple[int, int]
    same: bool

    @property
    def window(self) -> Window:
        """How it slides."""
        return Window((self.weights.shape[1], self.weights.shape[2]), self.strides, self.same)

    @property
    def outputs(self) -> int:
        """Output channels."""
        return len(self.weights)

    @property
    def taps(self) -> int:
        """Inputs of a sum."""
        return int(self.weights[0].size)

    def out(self, shape: Shape) -> Shape:
        """Shape of the output; raises UsageError for an input that does not fit."""
        height, width = self.window.output(shape)
        if shape[2] != self.weights.shape[3] or height < 1 or width < 1:
            raise UsageError(
                f"damaged binary network: a layer of {self.weights.shape[1:]} does not fit a map of {shape}; make it "
                "again with convert/build.py"
            )
        return height, width, self.outputs

    def macs(self, _shape: Shape) -> int:
        """Multiply-accumulates that it stands for, zeros counted."""
        height, width, _ = self.out(_shape)
        return height * width * int(self.weights.size)

    def _blocks(self, plane: Bools) -> Words:
        """Words (outputs / 32, taps) of a plane (outputs, taps): the outputs' bits lie side by side."""
        return np.ascontiguousarray(pack(plane.T).T)


@dataclass(frozen=True)
class Thresholds:
    """Folded thresholds: see kernels_bits_params."""

    planes: int
    stored: int
    high: int
    start: int
    words: Words  # (outputs / 32, 1 + stored)


def _folded(least: npt.NDArray[np.int64], reach: int, taps: int) -> Thresholds:
    """Thresholds `least` (outputs,) of 2 * count - listed, where count - listed / 2 stays within +-reach."""
    # Thresholds beyond that say always or never.
    q, v = np.clip(least >> 1, -reach - 1, reach + 1), least & 1
    stored = int(q.max() - q.min()).bit_length()
    step = 1 << stored
    # Aligned, so that the thresholds' planes above the stored ones are the same in all channels.
    base = -(-(int(q.min()) + reach + 1) // step) * step
    start = base - int(q.min())
    planes = max(4, (max(start + reach + 1, base + step)).bit_length())
    if planes > MAX_PLANES:
        raise UsageError(f"a binary layer has {taps:,} inputs to a channel; too many for {MAX_PLANES} planes")
    parts = [v, *((q - int(q.min()) >> plane) & 1 for plane in range(stored))]
    packed = pack(np.stack(parts).astype(bool)).T
    return Thresholds(planes, stored, base >> stored, start, np.ascontiguousarray(packed))


@dataclass(frozen=True)
class ImageConv(_Convolution):
    """The first layer: int8 inputs, weights of +-1."""

    @cached_property
    def words(self) -> Words:
        """Weights as the kernel reads them."""
        return self._blocks(self.weights.reshape(self.outputs, -1) > 0)

    @cached_property
    def thresholds(self) -> Thresholds:
        """limit of the sum -> v, q: 2 * count - total >= 2 * q + v, count the sum of inputs whose weight is +1."""
        return _folded(self.limits.astype(np.int64), (WIDEST * self.taps + 1) // 2, self.taps)

    def constant_bytes(self, _shape: Shape) -> int:
        """Bytes of its constants in flash for an input of a shape, without the dozen words of its parameters."""
        return self.words.nbytes + self.thresholds.words.nbytes


@dataclass(frozen=True)
class BitConv(_Convolution):
    """Bits to bits, weights of +-1 or ternary; a dense layer has a window of the whole map."""

    ternary: bool

    @property
    def rows(self) -> int:
        """Words that a set bit adds for 32 outputs."""
        return 2 if self.ternary else 1

    @cached_property
    def words(self) -> Words:
        """Weights (outputs / 32, taps * rows) as the kernel reads them."""
        flat = self.weights.swapaxes(1, 2).reshape(self.outputs, -1)  # columns first
        if not self.ternary:
            return self._blocks(flat > 0)
        both = np.stack([self._blocks(flat > 0), self._blocks(flat >= 0)], -1)
        return np.ascontiguousarray(both).reshape(len(both), -1)

    @cached_property
    def thresholds(self) -> Thresholds:
        """limit of the sum -> v, q and what is common to all channels: 2 * count - listed >= 2 * q + v."""
        flat = self.weights.reshape(self.outputs, -1).astype(np.int64)
        taps, limits = self.taps, self.limits.astype(np.int64)
        half = -((taps - limits - 2 * (flat > 0).sum(1)) // 2)  # of limit + 2 * ones - taps, rounded up
        least = limits + flat.sum(1) if self.ternary else half
        return _folded(least, (self.rows * taps + 1) // 2, taps)

    def constant_bytes(self, _shape: Shape) -> int:
        """Bytes of its constants in flash for an input of a shape, without the dozen words of its parameters."""
        return self.words.nbytes + self.thresholds.words.nbytes


@dataclass(frozen=True)
class Pool(Layer):
    """Maximum pooling of what lies before the threshold: OR, AND in channels that fall."""

    window: Window
    falling: Bools  # (channels,)

    @cached_property
    def words(self) -> Words:
        """Which channels fall; empty where none does."""
        return pack(self.falling) if self.falling.any() else np.zeros(0, np.uint32)

    def out(self, shape: Shape) -> Shape:
        """Shape of the output; raises UsageError for an input that does not fit."""
        height, width = self.window.output(shape)
        if len(self.falling) != shape[2] or height < 1 or width < 1:
            raise UsageError(
                f"damaged binary network: pooling of {len(self.falling)} channels does not fit a map of {shape}; make "
                "it again with convert/build.py"
            )
        return height, width, shape[2]

    def constant_bytes(self, _shape: Shape) -> int:
        """Bytes of its constants in flash for an input of a shape, without the dozen words of its parameters."""
        return self.words.nbytes


@dataclass(frozen=True)
class Scores(Layer):
    """The last layer: sum * factor + offset of sums of +-1."""

    weights: Int8  # (classes, height * width * channels): +1 and -1
    factors: npt.NDArray[np.int16]
    offsets: Int32

    def out(self, shape: Shape) -> Shape:
        """Shape of the output; raises UsageError for an input that does not fit."""
        if self.weights.shape[1] != shape[0] * shape[1] * shape[2]:
            raise UsageError(
                f"damaged binary network: {self.weights.shape[1]} inputs of the last layer do not fit a map of "
                f"{shape}; make it again with convert/build.py"
            )
        return 1, 1, len(self.weights)

    def macs(self, _shape: Shape) -> int:
        """Multiply-accumulates that it stands for, zeros counted."""
        return int(self.weights.size)

    def words_for(self, channels: int) -> Words:
        """Weights (classes, words) as a map of so many channels lies."""
        return pack(self.weights.reshape(len(self.weights), -1, channels) > 0).reshape(len(self.weights), -1)

    def constant_bytes(self, shape: Shape) -> int:
        """Bytes of its constants in flash for an input of a shape, without the dozen words of its parameters."""
        return self.words_for(shape[2]).nbytes + self.factors.nbytes + self.offsets.nbytes


@dataclass(frozen=True)
class Net:
    """A network: `layers` begins with an ImageConv and ends with Scores."""

    shape: Shape  # of the input, int8 with zero point -OFFSET
    scale: float  # of an input's step
    exponent: int  # a score's unit is 2^exponent
    layers: tuple[Layer, ...]

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """What goes into each layer, and what comes out of the last. Raises UsageError where layers do not fit."""
        found = [self.shape]
        for layer in self.layers:
            found.append(layer.out(found[-1]))
        return tuple(found)

    @property
    def classes(self) -> int:
        """Scores."""
        return self.shapes[-1][2]

    @property
    def features(self) -> int:
        """Inputs."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an inference, as a network of bytes would do them."""
        return sum(layer.macs(shape) for layer, shape in zip(self.layers, self.shapes, strict=False))

    @property
    def parameters(self) -> int:
        """Weights and thresholds."""
        arrays: list[npt.NDArray[Any]] = []
        for layer in self.layers:
            if isinstance(layer, _Convolution):
                arrays += [layer.weights, layer.limits]
            elif isinstance(layer, Scores):
                arrays += [layer.weights, layer.factors, layer.offsets]
        return sum(a.size for a in arrays)

    @property
    def constant_bytes(self) -> int:
        """Bytes of all constants in flash."""
        return sum(layer.constant_bytes(shape) for layer, shape in zip(self.layers, self.shapes, strict=False))


def check(net: Net) -> Net:
    """The network, where the C can run it; raises UsageError otherwise."""
    kinds = [type(layer) for layer in net.layers]
    inner = kinds[1:-1]
    if kinds[:1] != [ImageConv] or kinds[-1:] != [Scores] or not all(kind in (BitConv, Pool) for kind in inner):
        raise UsageError("damaged binary network: its layers are in no order that exists; make it again")
    _ = net.shapes
    for layer in net.layers:
        _LIMITS[type(layer)](layer)
    return net


def _check_image(layer: Any) -> None:
    largest = int(np.abs(layer.limits.astype(np.int64)).max())
    if largest > WIDEST * layer.taps + 1 or layer.taps > MAX_TAPS:
        raise UsageError(
            f"damaged binary network: a first layer of {layer.taps:,} inputs to a channel has a limit of {largest:,}; "
            "make it again with convert/build.py"
        )
    _ = layer.thresholds


def _check_bits(layer: Any) -> None:
    _ = layer.thresholds  # raises UsageError for too many planes


def _check_pool(layer: Any) -> None:
    if layer.window.same:
        raise UsageError("damaged binary network: its pooling is padded; make it again with convert/build.py")


def _check_scores(layer: Any) -> None:
    most = layer.weights.shape[1] * np.abs(layer.factors.astype(np.float64)) + np.abs(layer.offsets.astype(np.float64))
    if most.max() >= 2**31:
        raise UsageError(f"scores of the binary network reach {most.max():,.0f}, more than 32 bits hold")


_LIMITS: Mapping[type[Layer], Callable[[Any], None]] = {
    ImageConv: _check_image,
    BitConv: _check_bits,
    Pool: _check_pool,
    Scores: _check_scores,
}
