"""Test vectors: the inputs on which firmware and golden reference are compared.

A vector is the model's inputs laid end to end as raw bytes (C order, each in its tensor's own type). Vector 0 is
always the probe. Real test data travel with the firmware as an array; without data, pseudo-random vectors are made
by the same few lines of arithmetic here and on the device, so that they cost no flash.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.emit import render
from convert.errors import UsageError
from convert.graph import Graph, Tensor

Bytes = npt.NDArray[np.uint8]

FNV_OFFSET, FNV_PRIME = 0x811C9DC5, 0x01000193


@dataclass(frozen=True)
class Vectors:
    """Inputs of shape (n, input bytes); `stored` are those that travel in flash, the others are computed."""

    inputs: Bytes
    stored: bool

    @property
    def apart(self) -> bool:
        """Whether vectors are samples of their own, each from the first state; otherwise they are one sequence."""
        return self.stored

    @property
    def stored_bytes(self) -> int:
        """Flash that the vectors take; the probe is always computed."""
        return self.inputs[1:].nbytes if self.stored else 0


def input_tensors(graph: Graph) -> tuple[Tensor, ...]:
    """The model's inputs in order."""
    return tuple(graph.tensors[i] for i in graph.inputs)


def _pattern(seed: int, elements: int) -> npt.NDArray[np.int8]:
    """Seed 0 is the probe; others are a xorshift32 sequence (Marsaglia 2003), one step an element, top byte."""
    if seed == 0:
        return ((np.arange(elements) * 37 + 11) % 256 - 128).astype(np.int8)
    values = np.empty(elements, np.uint8)
    state = (seed * 2654435761) & 0xFFFFFFFF
    for i in range(elements):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        values[i] = state >> 24
    return values.view(np.int8)


def _as_type(pattern: npt.NDArray[np.int8], tensor: Tensor) -> Bytes:
    """The pattern in the tensor's type: integers keep their spread, floats become pattern / 128."""
    kind = (tensor.dtype.kind, tensor.dtype.itemsize)
    if kind == ("i", 1):
        typed: npt.NDArray[np.generic] = pattern
    elif kind == ("u", 1):
        typed = (pattern.astype(np.int16) + 128).astype(np.uint8)
    elif kind == ("i", 2):
        typed = pattern.astype(np.int16) * np.int16(256)
    elif kind == ("f", 4):
        typed = pattern.astype(np.float32) / np.float32(128)
    else:
        raise UsageError(
            f"model input {tensor.name!r} has type {tensor.dtype}; allowed are int8, uint8, int16 and float32. "
            "Convert the model to full-integer int8"
        )
    return np.frombuffer(typed.astype(tensor.dtype).tobytes(), np.uint8)


def computed(graph: Graph, count: int) -> Vectors:
    """The probe and `count` pseudo-random vectors, none of which needs flash."""
    tensors = input_tensors(graph)
    elements = sum(t.elements for t in tensors)
    ends = np.cumsum([t.elements for t in tensors])[:-1]
    rows = [
        np.concatenate([_as_type(p, t) for p, t in zip(np.split(_pattern(seed, elements), ends), tensors, strict=True)])
        for seed in range(count + 1)
    ]
    return Vectors(np.stack(rows), stored=False)


def quantize_inputs(graph: Graph, x: npt.NDArray[np.float32]) -> Bytes:
    """Real-valued samples (n, *input shape) as the bytes of the model's only input: (n, input bytes).

    q = clip(round(x / scale) + zero_point), ties away from zero as TFLite's reference quantiser rounds.
    """
    tensors = input_tensors(graph)
    if len(tensors) != 1:
        raise UsageError(f"the model has {len(tensors)} inputs; samples of a data set fit models with exactly 1")
    tensor = tensors[0]
    if math.prod(x.shape[1:]) != tensor.elements:
        raise UsageError(f"samples of shape {x.shape[1:]} do not fit the model's input of shape {tensor.shape[1:]}")
    flat = x.reshape(len(x), tensor.elements)
    if tensor.dtype.kind == "f":
        return np.ascontiguousarray(flat, tensor.dtype).view(np.uint8)
    q = tensor.quantization
    if q is None:
        raise UsageError(f"model input {tensor.name!r} has type {tensor.dtype} and no quantisation")
    scaled = flat / np.float32(q.scale)
    rounded = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)) + q.zero_point
    limits = np.iinfo(tensor.dtype)
    quantized: Bytes = np.clip(rounded, limits.min, limits.max).astype(tensor.dtype).view(np.uint8)
    return quantized


def spread(available: int, count: int) -> npt.NDArray[np.intp]:
    """Indices of `count` samples spread evenly over a test set, whose neighbours are often alike; ascending."""
    if available < count:
        raise UsageError(
            f"{count} test vectors asked for; the data set has {available} test samples: pass fewer (--vectors)"
        )
    chosen: npt.NDArray[np.intp] = np.arange(count) * available // max(count, 1)
    return chosen


def from_samples(graph: Graph, x: npt.NDArray[np.float32]) -> Vectors:
    """The probe and samples of real test data, (n, *input shape)."""
    return Vectors(np.concatenate([computed(graph, 0).inputs, quantize_inputs(graph, x)]), stored=True)


def fnv1a32(data: bytes) -> int:
    """FNV-1a, 32 bits (Fowler, Noll, Vo)."""
    value = FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFF
    return value


def render_vectors(graph: Graph, vectors: Vectors) -> dict[str, str]:
    """golden_vectors.c for the firmware."""
    kinds = [(t.elements, t.dtype.kind + str(t.dtype.itemsize)) for t in input_tensors(graph)]
    context = {
        "count": len(vectors.inputs),
        "input_bytes": vectors.inputs.shape[1],
        "kinds": _segments(kinds),
        "stored": vectors.inputs[1:] if vectors.stored else None,
        "model_sha256": graph.sha256,
    }
    return {"golden_vectors.c": render("common/golden_vectors.c.j2", context)}


def _segments(kinds: Sequence[tuple[int, str]]) -> list[dict[str, object]]:
    """Where each input starts, in bytes and elements, and its type as the template's macro names it."""
    segments, start_byte, start_element = [], 0, 0
    for elements, kind in kinds:
        size = elements * int(kind[1:])
        segments.append({"byte": start_byte, "element": start_element, "end": start_byte + size, "kind": kind})
        start_byte, start_element = start_byte + size, start_element + elements
    return segments
