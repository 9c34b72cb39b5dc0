import numpy as np
import pytest

from convert.scheme import Grid
from training import grids


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
@pytest.mark.parametrize("channels", [1, 5])
def test_weights_move_by_half_a_step_and_points_of_the_grid_not_at_all(bits: int, channels: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32) * np.float32([1, 0.1, 3, 0.5, 10])
    reach = np.abs(matrix).max(axis=0) if channels > 1 else np.abs(matrix).max(keepdims=True)[0]
    scales = (reach / grids.largest(bits)).astype(np.float32)
    integers = grids.nearest(matrix, scales, bits)
    assert np.abs(integers).max() == grids.largest(bits)
    rounded = grids.values(integers, scales)
    assert (np.abs(matrix - rounded) <= scales / 2 * 1.0001).all()
    assert np.array_equal(grids.nearest(rounded, scales, bits), integers)
    travels = grids.grid(scales, bits)
    assert (travels.bits, len(travels.scales)) == (bits, channels)
    assert np.array_equal(np.float32(travels.scales), scales)


def test_beyond_the_grid_is_its_end() -> None:
    assert grids.nearest(np.float32([[9.6, -100]]), np.float32([1]), 4).tolist() == [[7, -7]]
    assert grids.grid(np.float32([0.5]), 4) == Grid(4, (0.5,))
