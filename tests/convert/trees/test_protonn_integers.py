"""ProtoNN's integers: from trained weights, against plain Python, the C against them, and the file."""

import shutil
import struct
from pathlib import Path
from typing import Any

import avr_object
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from convert.errors import UsageError
from convert.trees import container, host, protonn, reference, source, view
from convert.trees.bonsai import quantize_inputs
from convert.trees.protonn import ENTRIES, ONE, ProtoNN

has_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def model(
    seed: int = 0,
    *,
    features: int = 30,
    projection: int = 6,
    prototypes: int = 9,
    classes: int = 3,
    density: float = 0.5,
    shift_z: int = 7,
    shift_e: int = 9,
) -> ProtoNN:
    """A model whose every number is drawn from the whole range that its type has."""
    rng = np.random.default_rng(seed)

    def matrix(*shape: int) -> Any:
        return (rng.integers(-127, 128, shape) * (rng.random(shape) < density)).astype(np.int8)

    table = np.sort(rng.integers(0, ONE + 1, ENTRIES))[::-1].astype(np.uint16)
    w, b, z = matrix(projection, features), matrix(prototypes, projection), matrix(prototypes, classes)
    return ProtoNN(-4, shift_z, shift_e, 0.25, table, w, b, z)


def inputs(of: ProtoNN, count: int, seed: int = 0) -> np.ndarray:
    """Samples int8 (n, features): the extremes, then random ones of different widths."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(count, of.features)) * rng.choice([2, 20, 80], (count, 1))
    extremes = [np.full(of.features, value) for value in (-128, -1, 0, 1, 127)]
    return np.concatenate([extremes, np.clip(drawn, -128, 127)]).astype(np.int8)


def by_hand(of: ProtoNN, sample: np.ndarray) -> list[int]:
    """The scores of one sample in plain Python integers."""
    x = [int(v) for v in sample]
    place = []
    for row in of.w.tolist():
        total = sum(a * b for a, b in zip(row, x, strict=True)) + 2**of.shift_z // 2
        place.append(max(-128, min(127, total >> of.shift_z)))
    scores = [0] * of.classes
    for prototype, labels in zip(of.b.tolist(), of.z.tolist(), strict=True):
        distance = sum((a - b) ** 2 for a, b in zip(place, prototype, strict=True))
        at, rest = divmod(distance, 2**of.shift_e)
        near = 0
        if at < ENTRIES - 1:
            high, low = int(of.similarities[at]), int(of.similarities[at + 1])
            near = high - (((high - low) * (rest * 256 // 2**of.shift_e) + 128) >> 8)
        scores = [s + near * label for s, label in zip(scores, labels, strict=True)]
    return scores


def same(of: ProtoNN, count: int = 2000) -> None:
    x = inputs(of, count)
    np.testing.assert_array_equal(host.run(of, x, sanitize=True), reference.run(of, x))


@pytest.mark.parametrize("shifts", [(7, 9), (0, 4), (9, 0), (11, 17)], ids=str)
def test_the_reference_is_the_formula(shifts: tuple[int, int]) -> None:
    of = model(3, shift_z=shifts[0], shift_e=shifts[1])
    x = inputs(of, 60)
    found = reference.run(of, x)
    assert found.dtype == np.int32
    assert found.tolist() == [by_hand(of, sample) for sample in x]
    assert len(np.unique(found, axis=0)) > 2 or shifts not in ((7, 9), (11, 17))


@has_compiler
@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"density": 1.0},
        {"density": 0.02},
        {"density": 0.0},
        {"features": 300, "classes": 2},
        {"features": 1, "projection": 1, "prototypes": 1, "classes": 2},
        {"shift_e": 0},
        {"shift_e": 8},
        {"shift_e": 17, "shift_z": 0},
        {"projection": 127, "prototypes": 255, "classes": 2, "density": 1.0, "shift_e": 17},
    ],
    ids=str,
)
def test_the_c_equals_the_reference(kind: dict[str, Any]) -> None:
    same(model(7, **kind))


@has_compiler
@settings(max_examples=8, phases=[Phase.generate], deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        model,
        st.integers(0, 2**32 - 1),
        features=st.integers(1, 70),
        projection=st.integers(1, 24),
        prototypes=st.integers(1, 40),
        classes=st.integers(2, 11),
        density=st.floats(0, 1),
        shift_z=st.integers(0, 12),
        shift_e=st.integers(0, 17),
    )
)
def test_random_models(of: ProtoNN) -> None:
    same(of, 500)


@has_compiler
def test_scores_at_the_edge_of_32_bits() -> None:
    of = model(0, prototypes=255, classes=2)
    full = ProtoNN(-4, 15, 17, 1.0, np.full(ENTRIES, ONE, np.uint16), of.w * 0, of.b * 0, np.full_like(of.z, 127))
    same(full, 5)
    assert reference.run(full, inputs(full, 1)).max() > 2_100_000_000


def trained(seed: int = 0, sparse: float = 0.6) -> tuple[dict[str, Any], np.ndarray]:
    """Weights as training gives them, and samples that lie among the prototypes."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 16, (700, 20))
    w = rng.normal(size=(20, 5)) * (rng.random((20, 5)) < sparse) * 0.04
    b = (x @ w)[:30] + rng.normal(size=(30, 5)) * 0.2
    return {"w": w, "b": b, "z": rng.normal(size=(30, 4))}, x


def test_integers_answer_like_the_trained_model() -> None:
    p, x = trained()
    of = protonn.quantize(p, 4, x)
    wanted = protonn.scores(p, x)
    got = reference.run(of, quantize_inputs(x, of.input_exponent)) * of.score_scale
    assert np.median(np.abs(wanted).max(1)) > 0.5, "the samples are near prototypes"
    assert np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()
    assert np.std(got - wanted) < 0.06 * np.std(wanted)
    assert np.mean(got.argmax(1) == wanted.argmax(1)) > 0.97
    assert of.parameters == sum(np.count_nonzero(a) for a in (of.w, of.b, of.z)) <= 20 * 5 + 30 * 9


def test_weights_that_no_step_serves_are_refused() -> None:
    p, x = trained()
    with pytest.raises(UsageError, match="no scale serves them; train it again"):
        protonn.quantize({**p, "w": p["w"] * 0}, 4, x)


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_the_file_gives_the_model_back(density: float) -> None:
    of = model(5, density=density)
    data = container.pack(of)
    again = container.unpack(data)
    assert isinstance(again, ProtoNN) and container.pack(again) == data
    np.testing.assert_array_equal(reference.run(again, inputs(of, 50)), reference.run(of, inputs(of, 50)))
    g = view.load(data)
    assert g.op_names == ("PROTONN_PROJECTION", "PROTONN_PROTOTYPES")
    assert (g.macs, g.parameters) == (of.macs, of.parameters)
    assert g.macs_of(g.operators[0]) == np.count_nonzero(of.w)
    assert sum(g.macs_of(op) for op in g.operators) == of.macs


def test_damaged_files_are_refused() -> None:
    data = container.pack(model(5))
    for length in range(4, len(data), 7):
        with pytest.raises(UsageError, match="damaged ProtoNN model"):
            container.unpack(data[:length])
    with pytest.raises(UsageError, match="too many"):
        container.unpack(data + b"\0")
    # Shifts, classes and the table out of their ranges.
    for place, value in ((11, 16), (12, 18), (9, 1), (9, 0), (7, 0), (5, 0)):
        broken = bytearray(data)
        broken[place] = value
        if place == 5:
            broken[6] = 0
        with pytest.raises(UsageError, match="damaged ProtoNN model"):
            container.unpack(bytes(broken))
    rising = bytearray(data)
    struct.pack_into("<H", rising, protonn._HEADER.size, 0)
    with pytest.raises(UsageError, match="numbers are out of range"):
        container.unpack(bytes(rising))


@pytest.mark.parametrize(("what", "kind"), [("prototypes", {"prototypes": 256}), ("projection", {"projection": 128})])
def test_what_the_format_cannot_hold_is_said(what: str, kind: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"the model has {kind[what]} {what}; at most"):
        container.pack(model(1, **kind))


@avr_object.has_avr
@pytest.mark.parametrize("kind", [{}, {"density": 1.0}, {"features": 300}], ids=str)
def test_on_an_avr_constants_stay_in_flash_and_no_arithmetic_is_wide(kind: dict[str, Any], tmp_path: Path) -> None:
    of = model(4, **kind)
    files = source.render(of, "0" * 64)
    for word in ("float", "double", "int64", "long long", "malloc"):
        assert word not in files["tree_model.c"], word
    target = avr_object.built(of, tmp_path / "source")
    found = avr_object.sections(target)
    assert found[".progmem.data"] == of.constant_bytes
    assert found[".data"] == found[".bss"] == found.get(".rodata", 0) == 0
    assert avr_object.calls(target) <= avr_object.ROUTINES
