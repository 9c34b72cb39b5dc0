"""From trained weights to integers, and what the integers compute."""

import dataclasses

import numpy as np
import pytest
from tree_samples import inputs, tree, weights

from convert.errors import UsageError
from convert.trees import bonsai, reference
from convert.trees.bonsai import Bonsai


def by_hand(of: Bonsai, x: np.ndarray) -> list[int]:
    """One sample's scores, in the words of bonsai.py and Python's own integers."""
    z = []
    for row, bias in zip(of.z.tolist(), of.bias.tolist(), strict=True):
        total = bias + sum(a * b for a, b in zip(row, x.tolist(), strict=True))
        z.append(max(-128, min(127, total >> of.shift_z)))

    def dot(row: np.ndarray) -> int:
        return sum(a * b for a, b in zip(row.tolist(), z, strict=True))

    node, scores = 0, [0] * of.columns
    while True:
        for c in range(of.columns):
            u = (dot(of.v[node, c]) + (1 << of.shift_v >> 1)) >> of.shift_v
            m = min(abs(u), 511)
            low, high = int(bonsai.TANH[m // 16]), int(bonsai.TANH[m // 16 + 1])
            t = low + ((high - low) * (m % 16) + 8) // 16
            scores[c] += dot(of.w[node, c]) * (t if u >= 0 else -t)
        if node >= of.inner:
            return [-scores[0], scores[0]] if of.columns == 1 else scores
        node = 2 * node + (2 if dot(of.theta[node]) > 0 else 1)


@pytest.mark.parametrize("kind", [{}, {"classes": 2}, {"depth": 0}, {"depth": 3, "density": 1.0}, {"shift_v": 0}])
def test_the_reference_computes_what_is_written(kind: dict[str, int]) -> None:
    of = tree(1, **kind)
    x = inputs(of, 60)
    assert reference.run(of, x).tolist() == [by_hand(of, sample) for sample in x]


def test_the_table_of_tanh_is_within_a_255th() -> None:
    u = np.arange(-700, 701)
    exact = 255 * np.tanh(u / 128)
    assert np.abs(reference.tanh(u) - exact).max() < 1.3
    assert np.array_equal(reference.tanh(-u), -reference.tanh(u))


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("depth", [0, 2])
def test_integers_answer_like_the_weights_that_they_come_from(columns: int, depth: int) -> None:
    p = weights(2, columns=columns, depth=depth)
    x = np.random.default_rng(3).normal(size=(2000, 20))
    of = bonsai.quantize(p, 2 if columns == 1 else columns, x[:500])
    got = reference.run(of, bonsai.quantize_inputs(x, of.input_exponent))[:, -columns:] * of.score_scale
    wanted = bonsai.scores(p, x)
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.98
    answers = [s.argmax(1) if columns > 1 else s[:, 0] > 0 for s in (got, wanted)]
    assert np.mean(answers[0] == answers[1]) > 0.96
    for name in ("z", "theta", "w", "v"):
        assert np.count_nonzero(getattr(of, name)) <= np.count_nonzero(p[name]), "zeros stay zeros"


def test_projections_of_very_different_ranges_use_all_their_bits() -> None:
    p = weights(4)
    spread = 10.0 ** np.arange(-3, 3)
    p["z"], p["b"] = p["z"] * spread, p["b"] * spread
    for name in ("w", "v"):
        p[name] = p[name] / spread[:, None]
    p["theta"] = p["theta"] / spread
    plain = bonsai.quantize(weights(4), 4, x := np.random.default_rng(3).normal(size=(500, 20)))
    scaled = bonsai.quantize(p, 4, x)
    q = bonsai.quantize_inputs(x, plain.input_exponent)
    assert np.array_equal(reference.run(plain, q), reference.run(scaled, q))


def test_inputs_round_away_from_zero_and_stop_at_the_ends() -> None:
    x = np.array([0.5, -0.5, 1.49, 300.0, -300.0])
    assert bonsai.quantize_inputs(x, 0).tolist() == [1, -1, 1, 127, -128]


def test_the_input_s_unit_fits_the_samples() -> None:
    assert bonsai.input_exponent(np.arange(17) / 16) == -6, "the finest of those in which sixteenths are exact"
    assert bonsai.input_exponent(np.linspace(-900, 900, 101)) == 3


def test_a_projection_of_zeros_is_possible() -> None:
    p = weights(5)
    p["z"][:, 2], p["b"][2] = 0, 0
    of = bonsai.quantize(p, 4, np.random.default_rng(3).normal(size=(100, 20)))
    assert not of.z[2].any()


def test_weights_of_zeros_alone_are_refused() -> None:
    p = weights(5)
    p["z"] = p["z"] * 0
    with pytest.raises(UsageError, match=r"no scale serves them; train it again"):
        bonsai.quantize(p, 4, np.ones((10, 20)))


def test_scores_beyond_32_bits_are_refused() -> None:
    of = tree(projection=127, depth=4, classes=2)
    with pytest.raises(UsageError, match=r"scores can reach 2,632,\d+,\d+, beyond .* lower model.projection"):
        bonsai.check(dataclasses.replace(of, w=np.full_like(of.w, 127)))
    bonsai.check(dataclasses.replace(of, w=np.full_like(of.w, 103)))


def test_multiply_accumulates_are_those_of_the_longest_path() -> None:
    of = tree(depth=1, density=1.0, features=10, projection=4, classes=3)
    assert of.macs == 40 + (4 + 24 + 3) + (24 + 3)
    lean = of.v.copy()
    lean[1] = 0
    assert dataclasses.replace(of, v=lean).macs == of.macs, "the other leaf is as long as before"
