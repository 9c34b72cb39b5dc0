"""Coded weights give the plain kernels' outputs, whatever the weights, the shape and the format; and what a damaged
stream can and cannot do."""

from pathlib import Path

import numpy as np
import pytest
from coded_streams import Array, Call, Window, build, filled, formats, run, run_damaged
from coded_weights import KINDS, Rng, damage, fixed_places, stage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_builder import needs_compiler

from convert.compiled.formats.catalogue import FORMATS

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("coded"))


@st.composite
def weights_of(draw: st.DrawFn, depths: st.SearchStrategy[int]) -> tuple[Array, Rng]:
    """int8 (channels, depth), and a generator for the rest of the case; sometimes with a channel of zeros."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([1, 2, 3, 7])), draw(depths)
    weights = draw(st.sampled_from(KINDS))(rng, shape).astype(np.int8)
    if draw(st.booleans()):
        weights[rng.integers(shape[0])] = 0
    return weights, rng


def assert_equal(program: Path, calls: list[Call]) -> None:
    for call, (plain, coded) in zip(calls, run(program, calls), strict=True):
        assert np.array_equal(plain, coded), f"{call.format}, {call.packed.layout}"


LONG = st.one_of(st.integers(1, 70), st.integers(200, 700))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(weights_of(LONG), st.sampled_from([1, 2, 4, 5]))
def test_rows_in_every_format(program: Path, case: tuple[Array, Rng], rows: int) -> None:
    weights, rng = case
    channels, depth = weights.shape
    x = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    at = stage(rng, channels, depth)
    wide = bool(rng.integers(2)) and rows > 1
    assert_equal(program, [Call(name, packed, weights, x, at, wide=wide) for name, packed in formats(weights)])


SIDES = st.tuples(st.integers(1, 7), st.integers(1, 7))
SMALL = st.tuples(st.integers(1, 3), st.integers(1, 3))
STEPS = st.tuples(st.integers(1, 2), st.integers(1, 2))
PADS = st.tuples(st.integers(0, 2), st.integers(0, 2))
WINDOWS = st.builds(Window, st.integers(1, 2), SIDES, SMALL, STEPS, STEPS, PADS).filter(lambda w: min(w.output) > 0)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), WINDOWS, st.integers(1, 9), st.integers(-128, 127))
def test_convolutions_in_every_format(
    program: Path, data: st.DataObject, window: Window, pixel: int, zero_point: int
) -> None:
    depth = window.kernel[0] * window.kernel[1] * pixel
    weights, rng = data.draw(weights_of(st.just(depth)))
    x = rng.integers(-128, 128, (window.batches, *window.input, pixel)).astype(np.int8)
    at = stage(rng, len(weights), depth)
    wide = bool(rng.integers(2))
    calls = [Call(name, packed, weights, x, at, window, zero_point, wide) for name, packed in formats(weights)]
    assert_equal(program, calls)


def test_all_formats_were_there() -> None:
    """The properties above are about all of them, codebooks of each kind included."""
    rng = np.random.default_rng(0)
    names = {name for kind in KINDS for name, _ in formats(kind(rng, (3, 40)).astype(np.int8))}
    assert names == set(FORMATS)
    layouts = {packed.layout for kind in KINDS for _, packed in formats(kind(rng, (3, 40)).astype(np.int8))}
    assert {layout.positions for layout in layouts} == {"all", "gaps", "bitmap", "two_of_four", "blocks"}
    assert {(layout.codebook, layout.coded_positions, layout.coded_values) for layout in layouts} == {
        *((book, False, False) for book in (False, True)),
        *((book, True, False) for book in (False, True)),
        *((False, position, True) for position in (False, True)),
    }


@pytest.mark.parametrize("seed", range(2))
def test_damaged_streams_only_read(program: Path, seed: int) -> None:
    """Streams are constants of the image, which its checksum protects. Damaged ones give wrong sums and, where they say
    places, may read elsewhere; but nothing is written outside of the output, and every call ends."""
    calls = damage(seed, len(KINDS))
    found = run_damaged(program, calls)
    wrong = [f"{call.packed.layout}: {f.words}" for call, f in zip(calls, found, strict=True) if f and f.kind != "READ"]
    assert not wrong, wrong[0][:3000]
    loose = [f is not None for call, f in zip(calls, found, strict=True) if not fixed_places(call)]
    assert any(loose), "the sanitizer sees them"


@pytest.mark.parametrize("seed", range(2, 4))
def test_fixed_places_are_safe_on_any_bytes(program: Path, seed: int) -> None:
    """Dense and 2:4 streams read nothing outside, whatever their bytes, where codebooks are filled up."""
    calls = [filled(call) for call in damage(seed, len(KINDS)) if fixed_places(call)]
    assert len(calls) > 10
    found = run_damaged(program, calls)
    wrong = [f"{call.packed.layout}: {f.words}" for call, f in zip(calls, found, strict=True) if f]
    assert not wrong, wrong[0][:3000]
