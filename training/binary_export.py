"""What of a binary network goes onto a device: packed bits and thresholds, with a NumPy reference that uses only these.

A sum of n products of +-1 is n - 2 * popcount(a XOR w) on bits (1 for +1, 0 for -1): Rastegari et al., "XNOR-Net",
2016. Batch normalisation and sign after it come down to comparing that integer with one threshold a channel, and the
scales alpha vanish in it (Umuroglu et al., "FINN: A Framework for Fast, Scalable Binarized Neural Network Inference",
2017, section 4.2.2). The thresholds are found by asking the model's own layers about every integer that can occur, so
that integers and Keras agree to the bit wherever a layer's input is binary. What lies in full precision before the
first sign, and after the last, is float32 on either side and may differ in the last bits.

Bits are packed into 32-bit words, the least significant bit first: a convolution's channels at each kernel position,
a dense layer's inputs in a row. Bits that fill up the last word are 0 in weights and inputs alike and cancel out.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from training import backend, binary_layers
from training.binary_layers import edges

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint32]

BATCH = 100  # samples at once
BITS = 32


@dataclass(frozen=True)
class Op(ABC):
    """A step of the inference: arrays (n, ...) of bits (bool), sums (int32) or real numbers (float32)."""

    name: str  # of the Keras layer that it stands for

    @property
    def nbytes(self) -> int:
        """Bytes of its constants; a flag a channel takes one bit."""
        constants = [v for v in vars(self).values() if isinstance(v, np.ndarray)]
        return sum(-(-v.size // 8) if v.dtype == bool else v.nbytes for v in constants)

    @abstractmethod
    def __call__(self, x: Array) -> Array:
        """The step's output for a batch."""


@dataclass(frozen=True)
class BinaryConv(Op):
    """A convolution with weights of +-1: bits to sums, or real numbers to real numbers.

    Beyond the edge of a map of bits lie 0 bits (-1), beyond that of real numbers zeros.
    """

    words: Words  # (outputs, kernel height, kernel width, words a position)
    channels: int
    strides: tuple[int, int]
    same: bool  # whether the map is padded

    def __call__(self, x: Array) -> Array:
        """(n, height, width, channels) to (n, rows, columns, outputs)."""
        x = _padded(x, self.words.shape[1:3], self.strides) if self.same else x
        if x.dtype != bool:
            return _convolve(x, _real(unpack(self.words, self.channels).transpose(1, 2, 3, 0)), self.strides)
        packed, (height, width) = pack(x), self.words.shape[1:3]
        rows = (x.shape[1] - height) // self.strides[0] + 1
        columns = (x.shape[2] - width) // self.strides[1] + 1
        differing = np.zeros((len(x), rows, columns, len(self.words)), np.int32)
        for i, j in np.ndindex(height, width):
            seen = packed[:, i :: self.strides[0], j :: self.strides[1]][:, :rows, :columns]
            differing += _differing(seen, self.words[:, i, j])
        return np.int32(height * width * self.channels) - 2 * differing


@dataclass(frozen=True)
class BinaryDense(Op):
    """A dense layer with weights of +-1: bits to sums, or real numbers to real numbers."""

    words: Words  # (outputs, words)
    inputs: int

    def __call__(self, x: Array) -> Array:
        """(n, inputs) to (n, outputs)."""
        if x.dtype != bool:
            return x @ _real(unpack(self.words, self.inputs)).T
        return np.int32(self.inputs) - 2 * _differing(pack(x), self.words)


@dataclass(frozen=True)
class FloatConv(Op):
    """A convolution in full precision."""

    kernel: Floats  # (height, width, channels, outputs)
    bias: Floats | None
    strides: tuple[int, int]
    same: bool

    def __call__(self, x: Array) -> Array:
        """Bits or real numbers (n, height, width, channels) to real numbers (n, rows, columns, outputs)."""
        x = _real(x)
        x = _padded(x, self.kernel.shape[:2], self.strides) if self.same else x
        return _plus(_convolve(x, self.kernel, self.strides), self.bias)


@dataclass(frozen=True)
class FloatDense(Op):
    """A dense layer in full precision."""

    kernel: Floats  # (inputs, outputs)
    bias: Floats | None

    def __call__(self, x: Array) -> Array:
        """Bits or real numbers (n, inputs) to real numbers (n, outputs)."""
        return _plus(_real(x) @ self.kernel, self.bias)


@dataclass(frozen=True)
class Threshold(Op):
    """Batch normalisation and sign: bit = x >= limit where the channel rises with x, x <= limit elsewhere."""

    limits: Array  # (channels,): int16 or int32 for sums, float32 for real numbers
    rising: npt.NDArray[np.bool_]  # (channels,)

    def __call__(self, x: Array) -> Array:
        """Sums or real numbers to bits."""
        return np.where(self.rising, x >= self.limits, x <= self.limits)


@dataclass(frozen=True)
class Normalise(Op):
    """Batch normalisation with a binary layer's scales multiplied in: x * factor + offset a channel."""

    factors: Floats
    offsets: Floats

    def __call__(self, x: Array) -> Array:
        """Sums or real numbers to real numbers."""
        return x.astype(np.float32) * self.factors + self.offsets


@dataclass(frozen=True)
class Relu(Op):
    """max(x, 0)."""

    def __call__(self, x: Array) -> Array:
        """Real numbers to real numbers."""
        return np.maximum(x, 0)


@dataclass(frozen=True)
class MaxPool(Op):
    """Largest of each window, without padding; of bits: whether one is set."""

    window: tuple[int, int]
    strides: tuple[int, int]

    def __call__(self, x: Array) -> Array:
        """(n, height, width, channels) of any type to (n, rows, columns, channels)."""
        return np.asarray(_windows(x, self.window, self.strides).max((4, 5)))


@dataclass(frozen=True)
class Flatten(Op):
    """Rows, columns, channels in a row."""

    def __call__(self, x: Array) -> Array:
        """(n, height, width, channels) of any type to (n, height * width * channels)."""
        return x.reshape(len(x), -1)


@dataclass(frozen=True)
class Softmax(Op):
    """Class probabilities."""

    def __call__(self, x: Array) -> Array:
        """Scores (n, classes) to probabilities."""
        powers = np.exp(x - x.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))


@dataclass(frozen=True)
class BinaryModel:
    """A binary network as a device needs it."""

    shape: tuple[int, ...]  # of one sample, real numbers
    ops: tuple[Op, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all constants: words, thresholds, scales, layers in full precision."""
        return sum(op.nbytes for op in self.ops)

    @property
    def weight_bits(self) -> int:
        """How many weights have one bit."""
        binary = [op for op in self.ops if isinstance(op, BinaryConv | BinaryDense)]
        return sum(
            len(op.words) * (op.inputs if isinstance(op, BinaryDense) else op.channels * op.words[0, :, :, 0].size)
            for op in binary
        )

    def predict(self, x: Floats) -> Floats:
        """Class probabilities float32 (n, classes) of samples float32 (n, *shape)."""
        return np.concatenate([self._run(x[at : at + BATCH]) for at in range(0, len(x), BATCH)])

    def _run(self, x: Array) -> Array:
        for op in self.ops:
            x = op(x)
        return x


def export(model: Any) -> BinaryModel:
    """Pack a model that the technique `binarize` made.

    Raises UsageError for a model without binary layers, in training still, with K (`scale_input`, which needs
    products of real numbers after every binary layer), or with pooling that pads.
    """
    kinds = {kind: binary_layers.layer(kind) for kind in ("BinaryDense", "BinaryConv2D", "Sign", "InputScale")}
    if any(isinstance(layer, kinds["InputScale"]) for layer in model.layers):
        raise UsageError("scale_input = true cannot be packed: its scales are real numbers; train with it left out")
    layers = binary_layers.chain(model)
    if not any(isinstance(layer, (kinds["BinaryDense"], kinds["BinaryConv2D"])) for layer in layers):
        raise UsageError(f"model {model.name} has no binary layers to pack; add a step binarize to its recipe")
    packer = _Packer(kinds)
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        packer.add(layer, following)
    return BinaryModel(tuple(model.inputs[0].shape[1:]), tuple(packer.ops))


class _Packer:
    """Ops so far, and what the next batch normalisation has to know."""

    def __init__(self, kinds: dict[str, Any]) -> None:
        self.kinds = kinds
        self.ops: list[Op] = []
        self.bits = False  # whether the next layer's input is bits
        self.reach = 0  # sums lie in -reach ... reach; 0: real numbers
        self.scale: Floats | None = None  # of the sums, a channel

    def add(self, layer: Any, following: Any) -> None:
        """The op that stands for a layer; `following` is the layer after it."""
        keras = backend.keras().layers
        name = layer.name
        if isinstance(layer, (self.kinds["BinaryDense"], self.kinds["BinaryConv2D"])):
            self._binary(layer)
        elif isinstance(layer, keras.Conv2D):
            kernel, bias = _weights(layer)
            self.ops.append(FloatConv(name, kernel, bias, layer.strides, layer.padding == "same"))
            self.bits, self.reach, self.scale = False, 0, None
        elif isinstance(layer, keras.Dense):
            self.ops.append(FloatDense(name, *_weights(layer)))
            self.bits, self.reach, self.scale = False, 0, None
        elif isinstance(layer, keras.BatchNormalization):
            self._normalise(layer, isinstance(following, self.kinds["Sign"]))
        elif isinstance(layer, self.kinds["Sign"]):
            if not self.bits:
                raise UsageError(f"layer {name} has no batch normalisation right before it; train with binarize")
        elif isinstance(layer, keras.MaxPooling2D):
            if layer.padding != "valid":
                raise UsageError(f'layer {name} pads its map; give it padding="valid"')
            self.ops.append(MaxPool(name, layer.pool_size, layer.strides))
        elif isinstance(layer, keras.Flatten):
            self.ops.append(Flatten(name))
        elif isinstance(layer, keras.ReLU):
            self.ops.append(Relu(name))
        elif isinstance(layer, keras.Softmax):
            self.ops.append(Softmax(name))
        elif not isinstance(layer, keras.Dropout):
            raise UsageError(f"layer {name} of type {type(layer).__name__} cannot be packed; train with binarize")

    def _binary(self, layer: Any) -> None:
        if layer.latent:
            raise UsageError(f"layer {layer.name} holds latent weights still; pack what binarize returned")
        kernel = layer.kernel.numpy()
        if isinstance(layer, self.kinds["BinaryConv2D"]):
            words = pack(kernel.transpose(3, 0, 1, 2) > 0)
            same = layer.padding == "same"
            self.ops.append(BinaryConv(layer.name, words, kernel.shape[2], layer.strides, same))
        else:
            self.ops.append(BinaryDense(layer.name, pack(kernel.T > 0), len(kernel)))
        self.reach = kernel[..., 0].size if self.bits else 0
        self.scale = layer.scale.numpy() if layer.scaled else None
        self.bits = False

    def _normalise(self, layer: Any, sign: bool) -> None:
        """Batch normalisation, with the sign after it or without one."""
        if sign and self.reach:
            self.ops.append(_threshold(layer, self.reach, self.scale))
        else:
            factors, offsets = _affine(layer, self.scale)
            self.ops.append(_limits(layer.name, factors, offsets) if sign else Normalise(layer.name, factors, offsets))
        self.bits, self.reach, self.scale = sign, 0, None


def pack(bits: npt.NDArray[np.bool_]) -> Words:
    """Bits (..., n) as words (..., n / 32 rounded up)."""
    missing = -bits.shape[-1] % BITS
    filled = np.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, missing)])
    octets = np.packbits(filled, axis=-1, bitorder="little")
    return np.ascontiguousarray(octets).view("<u4").astype(np.uint32)


def unpack(words: Words, count: int) -> npt.NDArray[np.bool_]:
    """The first `count` bits (..., count) of words."""
    octets = np.ascontiguousarray(words.astype("<u4")).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=count, bitorder="little").astype(bool)


def _differing(inputs: Words, weights: Words) -> npt.NDArray[np.int32]:
    """How many bits differ between inputs (..., words) and each row of weights (outputs, words): (..., outputs)."""
    return np.asarray(np.bitwise_count(inputs[..., np.newaxis, :] ^ weights).sum(-1, dtype=np.int32))


def _weights(layer: Any) -> tuple[Floats, Floats | None]:
    kernel, *bias = layer.get_weights()
    return kernel, bias[0] if bias else None


def _affine(layer: Any, scale: Floats | None) -> tuple[Floats, Floats]:
    """Batch normalisation of `scale` * x as factors and offsets of x, a channel."""
    gamma, beta, mean, variance = (
        np.asarray(part, np.float64) for part in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    )
    factors = gamma / np.sqrt(variance + layer.epsilon)
    offsets = beta - mean * factors
    return (factors if scale is None else factors * scale).astype(np.float32), offsets.astype(np.float32)


def _limits(name: str, factors: Floats, offsets: Floats) -> Threshold:
    """Where factors * x + offsets changes its sign, for real x."""
    always = np.where(offsets >= 0, -np.inf, np.inf)  # for a channel whose factor is 0
    limits = np.divide(-offsets, factors, out=always.astype(np.float32), where=factors != 0)
    return Threshold(name, limits, factors >= 0)


def _threshold(layer: Any, reach: int, scale: Floats | None) -> Threshold:
    """Where the layer's answer for whole numbers in -reach ... reach changes its sign, by asking it for all of them."""
    sums = np.arange(-reach, reach + 1, dtype=np.int32)
    inputs = np.repeat(sums[:, np.newaxis].astype(np.float32), layer.gamma.shape[0], axis=1)
    if scale is not None:
        inputs *= scale
    shape = (len(sums), *(1 for _ in range(layer.input_spec.ndim - 2)), -1)
    answers = np.asarray(layer(inputs.reshape(shape), training=False)).reshape(inputs.shape) >= 0
    rising = answers[-1] | ~answers[0]  # never set counts as rising with a limit that no sum reaches
    count = answers.sum(0)  # of the integers with a 1; they are the largest or the smallest ones
    limits = np.where(rising, reach + 1 - count, count - 1 - reach)
    return Threshold(layer.name, limits.astype(np.int16 if reach < 2**15 - 1 else np.int32), rising)


def _windows(x: Array, window: Sequence[int], strides: Sequence[int]) -> Array:
    """Windows (n, rows, columns, channels, height, width) of maps."""
    found = np.lib.stride_tricks.sliding_window_view(x, tuple(window), axis=(1, 2))
    return np.asarray(found)[:, :: strides[0], :: strides[1]]


def _convolve(x: Array, kernel: Floats, strides: Sequence[int]) -> Array:
    windows = _windows(x, kernel.shape[:2], strides)
    return np.tensordot(windows, kernel, ((4, 5, 3), (0, 1, 2))).astype(np.float32, copy=False)


def _padded(x: Array, kernel: Sequence[int], strides: Sequence[int]) -> Array:
    """Maps with zeros, or 0 bits, around them, as TensorFlow's "same" has it."""
    sizes = zip(x.shape[1:3], kernel, strides, strict=True)
    return np.pad(x, [(0, 0), *(edges(*axis) for axis in sizes), (0, 0)])


def _real(x: Array) -> Floats:
    """Bits as +1 and -1; real numbers as they are."""
    return np.where(x, np.float32(1), np.float32(-1)) if x.dtype == bool else x


def _plus(x: Array, bias: Floats | None) -> Array:
    return x if bias is None else x + bias
