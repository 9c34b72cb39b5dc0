"""Damages .tflite files: by bytes, and by fields of the schema's object tree, which gets past the parser."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from models import pack, unpack

_WHOLE = (0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 31, 32, 64, 127, 128, 129, 255, 256, 4095, 4096, 65535, 65536, 1 << 20)
_HUGE = (1 << 24, (1 << 30) - 1, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1)
INTEGERS = tuple(sorted({sign * n for n in (*_WHOLE, *_HUGE) for sign in (1, -1)}))
REALS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 1 / 256, 1e-3, 1e3, 1e-6, 1e6, 1e-12, 1e12, 2**-32, 2**31, 1e30, 1e-30),
    *(1e-38, 1.4e-45, 3.4e38, float("inf"), float("-inf"), float("nan"), 1 / 3, 0.99999, 1.00001),
)
_SHAPES = ([], [0], [1], [1, 0, 1, 1], [2**31 - 1] * 2, [1] * 40, [1 << 16] * 2, [-1, 4], [1, 1, 1, 1, 1, 1, 1, 7])


def mutate(data: bytes, rng: random.Random, others: list[bytes], most: int = 1 << 20) -> bytes:
    """A damaged copy of `data`, at most `most` bytes; `others` are files to take pieces of."""
    kind = rng.random()
    if kind < 0.75:
        try:
            data = _by_fields(data, rng, others)
        except Exception:  # what was damaged before may no longer be unpacked, and not every tree can be packed
            kind = 1.0
    if kind > 0.7:
        data = _by_bytes(data, rng, others)
    return data[:most]


def _by_bytes(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        if len(out) < 16:
            break
        at = rng.randrange(4, len(out))
        action = rng.randrange(7)
        if action == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif action == 1:
            out[at] = rng.randrange(256)
        elif action == 2:
            at &= ~3
            out[at : at + 4] = (rng.choice(INTEGERS) & 0xFFFFFFFF).to_bytes(4, "little")
        elif action == 3:  # an offset that points elsewhere, also backwards, so that tables meet themselves
            at &= ~3
            out[at : at + 4] = (rng.randrange(-len(out), len(out)) & 0xFFFFFFFF).to_bytes(4, "little")
        elif action == 4 and rng.random() < 0.4:
            del out[at:]
        elif action == 5:
            size = rng.choice((1, 2, 4, 16))
            del out[at : at + size]
        elif action == 6:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            piece = other[start : start + rng.choice((4, 8, 32, 128))]
            out[at : at + len(piece)] = piece
    return bytes(out)


def _by_fields(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    model = unpack(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(_TREE)(model, rng, others)
    return pack(model)


def _leaves(item: Any, depth: int = 0) -> list[tuple[Any, str]]:
    """Every field of the tree under `item`, as (object, name); the constants' bytes are left out."""
    found: list[tuple[Any, str]] = []
    for name, value in vars(item).items():
        found.append((item, name))
        for child in value if isinstance(value, list) else [value]:
            if hasattr(child, "__dict__") and depth < 8:
                found.extend(_leaves(child, depth + 1))
    return found


def _any_field(model: Any, rng: random.Random, _: list[bytes]) -> None:
    """Change one field anywhere."""
    parts = [part for sub in model.subgraphs for part in (sub, *sub.operators, *sub.tensors)]
    roots = [*parts, *model.operatorCodes, model]
    item, name = rng.choice(_leaves(rng.choice(roots)))
    setattr(item, name, _changed(getattr(item, name), rng))


def _option(model: Any, rng: random.Random, _: list[bytes]) -> None:
    """Change one option of an operator: strides, activations, axes, ..."""
    with_options = [op for op in model.subgraphs[0].operators if op.builtinOptions is not None]
    options = rng.choice(with_options).builtinOptions
    name = rng.choice(sorted(vars(options)))
    setattr(options, name, _changed(getattr(options, name), rng))


def _changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | np.integer):
        near = int(value) + rng.choice((-1, 1))
        return rng.choice((near, near, rng.choice(INTEGERS), rng.randrange(-4, 12)))
    if isinstance(value, float | np.floating):
        return float(rng.choice((float(value) * 2, float(value) / 2, rng.choice(REALS), rng.choice(REALS))))
    if isinstance(value, bytes):
        return rng.choice((b"", b"\xff\xfe", b"a" * 5000, value + value, b'"; */ #error \n'))
    if isinstance(value, np.ndarray):
        return np.array(_changed(value.tolist(), rng), value.dtype)
    if isinstance(value, list):
        out = list(value)
        action = rng.randrange(6)
        if not out or action == 0:
            return rng.choice(([], out + out[:1], out * 2, out[:-1], out[::-1]))
        at = rng.randrange(len(out))
        if action == 1:
            out.insert(at, out[rng.randrange(len(out))])
        elif action == 2:
            other = rng.randrange(len(out))
            out[at], out[other] = out[other], out[at]
        elif action == 3:
            del out[at]
        elif isinstance(out[at], int | float):
            out[at] = _changed(out[at], rng)
        return out
    return rng.choice((None, None, [], [1, 2]))


def _shape(model: Any, rng: random.Random, _: list[bytes]) -> None:
    tensor = rng.choice(model.subgraphs[0].tensors)
    shape = [int(n) for n in tensor.shape]
    tensor.shape = rng.choice((_changed(shape, rng), _changed(shape, rng), shape[::-1], rng.choice(_SHAPES)))


def _quantization(model: Any, rng: random.Random, _: list[bytes]) -> None:
    quantized = [t for t in model.subgraphs[0].tensors if t.quantization is not None]
    tensor = rng.choice(quantized)
    q = tensor.quantization
    action = rng.randrange(6)
    if action == 0:
        tensor.quantization = None
    elif action == 1:
        q.quantizedDimension = rng.choice((-1, 0, 1, 2, 3, 4, 1 << 30))
    elif action == 2:
        zero_points = list(q.zeroPoint)
        zero_points[rng.randrange(len(zero_points))] = rng.choice(INTEGERS)
        q.zeroPoint = np.array(zero_points, np.int64)
    elif action in (3, 4):
        scales = list(q.scale)
        scales[rng.randrange(len(scales))] = rng.choice(REALS)
        q.scale = np.array(scales, np.float32)
    else:
        count = rng.choice((0, 1, 2, len(tensor.shape), 16))
        q.scale = np.full(count, rng.choice((0.1, 0.5)), np.float32)
        q.zeroPoint = rng.choice((None, np.zeros(count, np.int64), np.zeros(count + 1, np.int64)))


def _wiring(model: Any, rng: random.Random, _: list[bytes]) -> None:
    """Read or write another tensor: cycles, tensors written twice, constants and inputs written, inputs left out."""
    sub = model.subgraphs[0]
    op = rng.choice(sub.operators)
    action = rng.randrange(6)
    if action == 0:
        sub.operators.insert(rng.randrange(len(sub.operators) + 1), op)
    elif action == 1:
        rng.shuffle(sub.operators)
    elif action == 2:
        sub.outputs = _rewired(sub.outputs, len(sub.tensors), rng)
    elif action == 3:
        sub.inputs = _rewired(sub.inputs, len(sub.tensors), rng)
    elif action == 4:
        op.outputs = _rewired(op.outputs, len(sub.tensors), rng)
    else:
        op.inputs = _rewired(op.inputs, len(sub.tensors), rng)


def _rewired(indices: Any, tensors: int, rng: random.Random) -> list[int]:
    out = [int(i) for i in (indices if indices is not None else [])]
    action = rng.randrange(5)
    if not out or action == 0:
        return [*out, rng.randrange(-1, tensors)]
    at = rng.randrange(len(out))
    if action == 1:
        del out[at]
    else:
        out[at] = rng.choice((rng.randrange(tensors), rng.randrange(tensors), -1, rng.choice((-2, tensors, 1 << 30))))
    return out


def _constant(model: Any, rng: random.Random, _: list[bytes]) -> None:
    """Make a constant of a tensor, a variable of a constant, or change the constant's values."""
    sub = model.subgraphs[0]
    tensor = rng.choice(sub.tensors)
    buffer = model.buffers[tensor.buffer]
    action = rng.randrange(5)
    if action == 0:
        tensor.buffer = rng.randrange(len(model.buffers))
    elif action == 1:
        tensor.isVariable = not tensor.isVariable
    elif action == 2:
        buffer.data = None if buffer.data is not None else np.zeros(rng.choice((1, 4, 16)), np.uint8)
    elif buffer.data is not None and len(buffer.data):
        values = np.array(buffer.data, np.uint8)
        if action == 3 or len(values) % 4:
            values[rng.randrange(len(values))] = rng.choice((0, 1, 127, 128, 129, 255))
        else:
            at = rng.randrange(len(values) // 4) * 4
            values[at : at + 4] = list((rng.choice(INTEGERS) & 0xFFFFFFFF).to_bytes(4, "little"))
        buffer.data = values


def _type(model: Any, rng: random.Random, _: list[bytes]) -> None:
    rng.choice(model.subgraphs[0].tensors).type = rng.choice((0, 2, 3, 4, 6, 7, 9, 9, 15, 13, 17, 99))


def _operator(model: Any, rng: random.Random, others: list[bytes]) -> None:
    """Another operator with the same tensors and options, or the options of another file's operator."""
    sub = model.subgraphs[0]
    code = rng.choice(model.operatorCodes)
    other = unpack(rng.choice(others))
    if rng.random() < 0.5:
        code.builtinCode = rng.choice((rng.choice(other.operatorCodes).builtinCode, rng.randrange(210)))
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        return
    donor = rng.choice(other.subgraphs[0].operators)
    op = rng.choice(sub.operators)
    op.builtinOptionsType, op.builtinOptions = donor.builtinOptionsType, donor.builtinOptions


def _chain(model: Any, rng: random.Random, _: list[bytes]) -> None:
    """Many copies of the operators behind each other: what grows faster than the file shows."""
    sub = model.subgraphs[0]
    sub.operators = sub.operators * rng.choice((2, 16, 64))


_TREE: tuple[Callable[[Any, random.Random, list[bytes]], None], ...] = (
    *(_any_field, _option, _option, _shape, _shape, _quantization, _quantization),
    *(_wiring, _wiring, _constant, _type, _operator, _chain),
)
