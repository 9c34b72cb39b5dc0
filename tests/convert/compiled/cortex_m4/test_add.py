"""ADD and SUB on the Cortex-M4: all pairs of inputs, memory, and whole graphs against TFLite Micro."""

from itertools import product

import numpy as np
import pytest
from kernel_call import assert_golden, call, needs_arm
from tflite_builder import ACTIVATIONS, Sweep

from convert.compiled import fixed_point, lowering
from convert.compiled.cortex_m4 import add
from convert.compiled.layer import Layer

# (scale a, scale b, scale out), zero points
ROUND = [
    ((0.1, 0.1, 0.1), (3, 3, 3)),
    ((0.1, 0.1, 0.2), (3, -5, 3)),
    ((0.1, 0.2, 0.2), (3, -5, -128)),
    ((0.1, 0.3, 0.4), (0, 0, 0)),
    ((0.3, 0.1, 0.4), (0, 9, 0)),
    ((0.1, 0.01, 0.05), (0, 0, 5)),
    ((0.02, 0.5, 0.1), (-128, 127, 0)),
]
ODD = [
    ((0.0413, 0.0879, 0.0931), (-128, -128, -128)),
    ((0.0237, 0.0119, 0.0317), (-3, 17, 5)),
    ((0.0177, 0.0193, 0.0099), (127, -128, 0)),
]


def portable(
    scales: tuple[float, float, float],
    zero_points: tuple[int, int, int],
    elements: int = 16,
    activation: str = "none",
    name: str = "add",
) -> Layer:
    s = Sweep(1)
    a, b = (s.input((1, elements), scale=scales[i], zero_point=zero_points[i]) for i in range(2))
    out = s.tensor((1, elements), scale=scales[2], zero_point=zero_points[2])
    s.op(name.upper(), [a, b], out, f"{name.title()}Options", fusedActivationFunction=ACTIVATIONS[activation])
    return lowering.lower(s.build())[0]


def swapped(layer: Layer, given: Layer, data: list[bytes]) -> list[bytes]:
    """The inputs' data in the order of `layer`."""
    by_tensor = dict(zip(given.inputs, data, strict=True))
    return [by_tensor[i] for i in layer.inputs]


def pairs(seed: int, elements: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-128, 128, elements).astype(np.int8).tobytes() for _ in range(2)]


@pytest.mark.parametrize("scales,zero_points", [ROUND[3], ODD[1]])
def test_the_table_of_all_pairs_is_the_portable_arithmetic(
    scales: tuple[float, float, float], zero_points: tuple[int, int, int]
) -> None:
    params = portable(scales, zero_points).params
    rng = np.random.default_rng(3)
    for sign in (1, -1):
        table = add.table(params, sign)
        for x, y in rng.integers(-128, 128, (300, 2)).tolist():
            sides = []
            for v, name in ((x, "a"), (y, "b")):
                side = params[name]
                assert isinstance(side, dict)
                sides.append(fixed_point.multiply((v + side["offset"]) << 20, side["multiplier"], side["shift"]))
            m, s, zero_point = (params[k] for k in ("multiplier", "shift", "zero_point"))
            total = fixed_point.multiply(sides[0] + sign * sides[1], m, s) + zero_point  # type: ignore[arg-type,operator]
            assert table[x + 128, y + 128] == min(max(total, -128), 127)


@needs_arm
@pytest.mark.parametrize("name", ["add", "sub"])
def test_all_pairs_of_inputs(name: str) -> None:
    used = set()
    values = np.arange(-128, 128, dtype=np.int8)
    data = [np.repeat(values, 256).tobytes(), np.tile(values, 256).tobytes()]
    for scales, zero_points in ROUND + ODD:
        layer = portable(scales, zero_points, 65536, name=name)
        (candidate,) = (add.add if name == "add" else add.sub)(layer)
        used.add(candidate.kernel)
        expected = add.table(layer.params, 1 if name == "add" else -1).astype(np.int8)
        got = call(candidate, swapped(candidate, layer, data), 65536, check=False)
        assert np.array_equal(np.frombuffer(got.outputs[0], np.int8), expected.reshape(-1)), (candidate.kernel, scales)
    assert len(used) == 3


@needs_arm
def test_stays_in_its_memory_and_clamps() -> None:
    used = set()
    for (scales, zero_points), elements, activation in product(
        (ROUND[1], ROUND[3], ODD[0]), (1, 2, 3, 4, 5, 8, 31), ("none", "relu6")
    ):
        layer = portable(scales, zero_points, elements, activation)
        (candidate,) = add.add(layer)
        used.add(candidate.kernel)
        for optimize in ("-O2", "-Os"):
            data = pairs(elements, elements)
            expected = call(layer, data, elements, optimize=optimize)
            got = call(candidate, swapped(candidate, layer, data), elements, optimize=optimize)
            assert got.outputs == expected.outputs
    assert len(used) == 3


@needs_arm
def test_works_in_place_of_either_input() -> None:
    for scales, zero_points in (ROUND[1], ROUND[3], ODD[0]):
        layer = portable(scales, zero_points, 23)
        (candidate,) = add.add(layer)
        assert [o.distance for o in candidate.overlaps] == [0, 0]
        for seed in range(3):
            data = pairs(seed, 23)
            expected = call(layer, data, 23)
            for which in range(2):
                got = call(candidate, swapped(candidate, layer, data), 23, distance=0, overlapped=which)
                assert got.outputs == expected.outputs
            beyond = call(candidate, swapped(candidate, layer, data), 23, distance=-1, overlapped=0, check=False)
            assert beyond.outputs != expected.outputs


@needs_arm
def test_features_give_the_instructions() -> None:
    for (scales, zero_points), activation in product((ROUND[1], ROUND[3], ODD[0]), ("none", "relu6")):
        rows, counts = [], []
        for elements in (4, 8, 9, 40, 42, 101, 300):
            (candidate,) = add.add(portable(scales, zero_points, elements, activation))
            found = add.FEATURES[candidate.kernel or ""](candidate)
            rows.append([found[name] for name in sorted(found)])
            counts.append(call(candidate, pairs(0, elements), elements).instructions)
        x, y = np.array(rows), np.array(counts, float)
        fitted, *_ = np.linalg.lstsq(x, y, rcond=None)
        assert np.abs(x @ fitted - y).max() < 2


def test_refuses_broadcasting() -> None:
    s = Sweep(1)
    a, b = s.input((1, 4, 5, 3)), s.input((3,))
    s.add(a, b, 0.2)
    assert not add.add(lowering.lower(s.build())[0])


@needs_arm
def test_graphs_equal_tflite_micro() -> None:
    s = Sweep(2)
    x = s.input((1, 4, 5, 3), scale=0.05, zero_point=-20)
    y = s.input((1, 4, 5, 3), scale=0.11, zero_point=40)
    for scale, activation in product((0.3, 0.1217, 0.02), ("none", "relu", "relu6")):
        s.add(x, y, scale, activation=activation)
    s.add(x, x, 0.1)
    constant = s.tensor((1, 4, 5, 3), scale=0.09, zero_point=5, data=s.rng.integers(-128, 128, (1, 4, 5, 3)))
    s.add(x, constant, 0.2)
    s.add(constant, y, 0.2)
    s.add(s.conv(x, 3), x, 0.1, activation="relu", zero_point=-128)

    def choose(layer: Layer) -> Layer:
        found = add.add(layer) if layer.kernel == "kernels_add_s8" else []
        return found[0] if found else layer

    assert {"kernels_m4_add_s8", "kernels_m4_add_table_s8"} <= set(assert_golden(s.build(), choose))
