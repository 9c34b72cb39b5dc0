import numpy as np
import pytest

from training import grids


@pytest.fixture
def matrix() -> grids.Floats:
    return np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32) * np.float32([1, 0.1, 3, 0.5, 10])


@pytest.mark.parametrize(("bits", "largest"), [(2, 1), (3, 3), (4, 7), (8, 127)])
def test_grids_are_symmetric(bits: int, largest: int) -> None:
    assert grids.largest(bits) == largest


def test_a_channel_is_a_column() -> None:
    convolution = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    assert np.array_equal(grids.columns(convolution)[:, 2], convolution[..., 2].ravel())
    depthwise = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    found = grids.columns(depthwise, depthwise=True)
    assert found.shape == (6, 8)
    assert np.array_equal(found[:, 3], depthwise[:, :, 1, 1].ravel())  # input 1, its second output
    dense = np.arange(6).reshape(3, 2)
    assert np.array_equal(grids.columns(dense), dense)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_within_reach_move_by_half_a_step_at_most(matrix: grids.Floats, bits: int, per_channel: bool) -> None:
    scales = grids.max_scales(matrix, bits, per_channel)
    assert scales.shape == ((5,) if per_channel else (1,))
    integers = grids.nearest(matrix, scales, bits)
    assert np.abs(integers).max() == grids.largest(bits)
    assert (np.abs(matrix - grids.values(integers, scales)) <= scales / 2 * 1.0001).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_what_is_on_the_grid_stays_there_exactly(matrix: grids.Floats, bits: int, per_channel: bool) -> None:
    for scales in (grids.max_scales(matrix, bits, per_channel), grids.mse_scales(matrix, bits, per_channel)):
        integers = grids.nearest(matrix, scales, bits)
        assert np.array_equal(grids.nearest(grids.values(integers, scales), scales, bits), integers)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_least_squares_cuts_off_tails(matrix: grids.Floats, bits: int, per_channel: bool) -> None:
    def error(scales: grids.Floats) -> float:
        return float(((matrix - grids.values(grids.nearest(matrix, scales, bits), scales)) ** 2).sum())

    widest, best = grids.max_scales(matrix, bits, per_channel), grids.mse_scales(matrix, bits, per_channel)
    assert (best <= widest * 1.0001).all()
    assert error(best) <= error(widest)
    if bits <= 4 and per_channel:
        assert error(best) < 0.9 * error(widest)
    # No scale nearby is better: one channel, searched finely.
    for share in np.linspace(0.15, 1.0, 500):
        assert error(best) <= error((widest * share).astype(np.float32)) * 1.03


def test_channels_without_weights_have_a_scale_too() -> None:
    matrix = np.zeros((4, 3), np.float32)
    for make in (grids.max_scales, grids.mse_scales):
        for per_channel in (False, True):
            scales = make(matrix, 4, per_channel)
            assert (scales > 0).all()
            assert not grids.values(grids.nearest(matrix, scales, 4), scales).any()


def test_beyond_the_grid_is_its_end() -> None:
    assert grids.nearest(np.float32([[9.6, -100]]), np.float32([1]), 4).tolist() == [[7, -7]]


def test_the_grid_that_travels_is_exact(matrix: grids.Floats) -> None:
    scales = grids.mse_scales(matrix, 4, True)
    found = grids.grid(scales, 4)
    assert found.bits == 4
    assert np.array_equal(np.float32(found.scales), scales)
