"""ProtoNN in integers: what is stored, what each number stands for, how trained weights become it, and its reference.

    z_j  = clip8((half + sum_i W_ji x_i) >> shift_z)                 int8
    e_k  = sum_j (z_j - b_kj)^2                                      int32, at most 127 * 255^2
    s_c += Z_kc * similarity(e_k)                                    exp by a table, in 1/65535

for every prototype k and class c. What a step of z and b stands for is free, since the table of exp(-e * step^2) is the
model's own: 64 entries, 2^shift_e apart, linear between them, and 0 from the last one on. So the distances need no
multiplication of their own. Steps are found by trying shifts and gains of W and comparing scores with the trained ones.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from convert.trees import coding
from convert.trees.bonsai import input_exponent, quantize_inputs

Floats = npt.NDArray[Any]
Int8 = coding.Int8

ENTRIES = 64
ONE = 65535  # what a similarity of 1 is
_FAR = 11.1  # exp(-11.1) is below one unit
_SAMPLES = 500  # of the training set, that steps are tried on
_LIMITS = {"features": 65535, "projection": 127, "prototypes": 255, "classes": 255}
MAGIC = b"PNN1"
_HEADER = struct.Struct("<4sBHBBBbBBfHHH")


@dataclass(frozen=True)
class ProtoNN:
    """Prototypes of integers."""

    input_exponent: int  # a feature is x * 2^input_exponent
    shift_z: int
    shift_e: int
    score_scale: float  # what one unit of a score stands for
    similarities: npt.NDArray[np.uint16]  # (ENTRIES,), at distances of 0, 2^shift_e, ...
    w: Int8  # (projection, features)
    b: Int8  # (prototypes, projection)
    z: Int8  # (prototypes, classes), from -127

    @property
    def features(self) -> int:
        """Number of inputs, one int8 each."""
        return int(self.w.shape[1])

    @property
    def projection(self) -> int:
        """Dimension of the space that the prototypes stand in."""
        return len(self.w)

    @property
    def prototypes(self) -> int:
        """How many there are."""
        return len(self.b)

    @property
    def classes(self) -> int:
        """Scores that are computed."""
        return int(self.z.shape[1])

    @cached_property
    def coded(self) -> Mapping[str, coding.Coded]:
        """W, b and Z as stored."""
        return {name: coding.encode([getattr(self, name)]) for name in ("w", "b", "z")}

    @property
    def constant_bytes(self) -> int:
        """All constants in flash."""
        return sum(part.nbytes for part in self.coded.values()) + self.similarities.nbytes

    @property
    def ram_bytes(self) -> int:
        """Static RAM: inputs and scores; z lies on the stack."""
        return self.features + 4 * self.classes

    @property
    def projection_macs(self) -> int:
        """Multiply-accumulates of the projection, zeros not counted."""
        return int(np.count_nonzero(self.w))

    @property
    def macs(self) -> int:
        """Multiply-accumulates, zeros of W and Z not counted; distances take one a dimension, the table's line one."""
        return self.projection_macs + self.b.size + self.prototypes + int(np.count_nonzero(self.z))

    @property
    def parameters(self) -> int:
        """Weights that are not zero."""
        return sum(int(np.count_nonzero(a)) for a in (self.w, self.b, self.z))


def scores(p: Mapping[str, Floats], x: Floats) -> Floats:
    """The trained model's scores (n, classes) of samples (n, features); `p` as `quantize` takes it."""
    z = x @ p["w"]
    distances = np.square(z[:, None] - p["b"]).sum(2)
    return np.asarray(np.exp(-distances) @ p["z"])


def run(model: ProtoNN, x: Int8) -> npt.NDArray[np.int32]:
    """Scores int32 (n, classes) of samples int8 (n, features): the reference that the C has to equal bit by bit."""
    sums = x.astype(np.int64) @ model.w.T.astype(np.int64) + (1 << model.shift_z >> 1)
    z, b = np.clip(sums >> model.shift_z, -128, 127), model.b.astype(np.int64)
    e = np.square(z).sum(1)[:, None] - 2 * z @ b.T + np.square(b).sum(1)
    at = np.minimum(e >> model.shift_e, ENTRIES - 1)
    # The place between two entries in 1/256.
    rest = (e << 8 >> model.shift_e) & 255
    table = np.append(model.similarities.astype(np.int64), 0)
    value = table[at] - ((table[at] - table[at + 1]) * rest + 128 >> 8)
    found = np.where(at < ENTRIES - 1, value, 0) @ model.z.astype(np.int64)
    return np.asarray(found.astype(np.int32))


def quantize(p: Mapping[str, Floats], classes: int, x: Floats) -> ProtoNN:
    """Integers for a trained model.

    `p` holds w (features, projection), b (prototypes, projection) and z (prototypes, classes); `x` are training samples
    (n, features), from which ranges come. Raises UsageError for weights that no step serves.
    """
    assert p["z"].shape[1] == classes
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    x = x[:: -(-len(x) // _SAMPLES)]
    exponent = input_exponent(x)
    q = quantize_inputs(x, exponent)
    wanted = scores(p, x)
    best: tuple[float, ProtoNN] | None = None
    for shift in range(16):
        for quarter in range(4):
            model = _with_step(p, exponent, shift, 127 * 2 ** (-quarter / 4))
            if model is None:
                continue
            error = float(np.square(run(model, q) * model.score_scale - wanted).mean())
            if best is None or error < best[0]:
                best = error, model
    if best is None:
        raise UsageError(
            "the model's projection and prototypes are so far apart that no scale serves them; train it again"
        )
    return best[1]


def _with_step(p: Mapping[str, Floats], exponent: int, shift: int, peak: float) -> ProtoNN | None:
    """The model with W's largest weight at `peak` and its sums shifted; None where no table reaches far enough."""
    largest, scores_peak = np.abs(p["w"]).max(), np.abs(p["z"]).max()
    if not largest or not scores_peak:
        return None
    gain = peak / largest
    step = 2.0 ** (shift + exponent) / gain  # what one unit of z stands for
    # The last entry must lie where nothing is left; distances in units of step^2.
    shift_e = int(np.ceil(np.log2(_FAR / step**2 / (ENTRIES - 1))))
    if not 0 <= shift_e <= 17:
        return None
    places = np.arange(ENTRIES) * 2.0**shift_e * step**2
    unit = 127 / scores_peak
    return ProtoNN(
        input_exponent=exponent,
        shift_z=shift,
        shift_e=shift_e,
        score_scale=float(np.float32(1 / (unit * ONE))),
        similarities=np.round(ONE * np.exp(-places)).astype(np.uint16),
        w=np.ascontiguousarray(np.round(p["w"] * gain).astype(np.int8).T),
        b=np.clip(np.round(p["b"] / step), -128, 127).astype(np.int8),
        z=np.round(p["z"] * unit).astype(np.int8),
    )


def pack(model: ProtoNN) -> bytes:
    """The model's file, little-endian; the same model gives the same bytes.

    char[4]   "PNN1"                        uint8  bits: 1 W has a bitmap, 2 b, 4 Z
    uint16    features                      uint8  projection, prototypes, classes
    int8      exponent of an input's unit   uint8  shift of z, shift of distances
    float32   what a score's unit stands for
    uint16    values of W, of b, of Z
    uint16[64] similarities; bitmap and values of W, of b, of Z (coding.py)

    Raises UsageError for one too large for the format.
    """
    parts = list(model.coded.values())
    for name, most in _LIMITS.items():
        if getattr(model, name) > most:
            raise UsageError(
                f"the model has {getattr(model, name):,} {name}; at most {most:,} are possible: take a smaller one"
            )
    if (values := max(len(part.values) for part in parts)) > 65535:
        raise UsageError(f"the model has {values:,} values; at most 65,535 are possible: take a smaller one")
    header = _HEADER.pack(
        MAGIC,
        sum(part.sparse << i for i, part in enumerate(parts)),
        model.features,
        model.projection,
        model.prototypes,
        model.classes,
        model.input_exponent,
        model.shift_z,
        model.shift_e,
        model.score_scale,
        *(len(part.values) for part in parts),
    )
    return header + model.similarities.astype("<u2").tobytes() + coding.body(parts)


def unpack(data: bytes) -> ProtoNN:
    """The model of a file that `pack` made; raises UsageError for a damaged one."""
    try:
        return _read(data)
    except (ValueError, struct.error) as e:
        raise UsageError(f"damaged ProtoNN model ({e}); make it again with convert/build.py") from e


def _read(data: bytes) -> ProtoNN:
    _, bits, features, projection, prototypes, classes, exponent, *rest = _HEADER.unpack_from(data)
    shift_z, shift_e, scale, *counts = rest
    if not (features and projection and prototypes and classes >= 2 and shift_z < 16 and shift_e <= 17):
        raise ValueError("its header has values out of range")
    if projection > _LIMITS["projection"]:
        raise ValueError("its projection is too large")
    shapes = {"w": (projection, features), "b": (prototypes, projection), "z": (prototypes, classes)}
    reader = coding.Reader(data, _HEADER.size)
    similarities, matrices = reader.take(ENTRIES, "<u2").astype(np.uint16), {}
    for index, (name, (rows, columns)) in enumerate(shapes.items()):
        (flat,) = reader.groups(counts[index], bits >> index & 1, [rows * columns])
        matrices[name] = flat.reshape(rows, columns)
    reader.end()
    if (np.diff(similarities.astype(int)) > 0).any() or (matrices["z"] == -128).any():
        raise ValueError("its numbers are out of range")
    return ProtoNN(exponent, shift_z, shift_e, scale, similarities, **matrices)
