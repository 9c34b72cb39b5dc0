import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.trees import coding

GROUPS = st.lists(st.lists(st.integers(-128, 127) | st.just(0), min_size=1, max_size=40), min_size=1, max_size=6)


@given(GROUPS)
def test_what_was_coded_comes_back(groups: list[list[int]]) -> None:
    arrays = [np.array(g, np.int8) for g in groups]
    coded = coding.encode(arrays)
    found = coding.decode(coded.values, coded.bitmap, [len(g) for g in groups])
    assert [g.tolist() for g in found] == groups
    assert coded.nbytes <= sum(len(g) for g in groups), "never larger than without coding"


def test_zeros_are_left_out_and_their_places_are_bits() -> None:
    first, second = np.zeros(17, np.int8), np.zeros(8, np.int8)
    first[[0, 9, 16]], second[7] = (5, -6, 7), 8
    coded = coding.encode([first, second])
    assert coded.values.tolist() == [5, -6, 7, 8]
    assert coded.bitmap.tolist() == [0b1, 0b10, 0b1, 0b10000000], "a group begins with a byte of its own"
    assert coded.starts.tolist() == [0, 3]
    assert coded.nbytes == 4 + 4 + 4


def test_a_matrix_with_few_zeros_is_stored_whole() -> None:
    values = np.arange(1, 33, dtype=np.int8)
    coded = coding.encode([values, values])
    assert not coded.sparse
    assert coded.nbytes == 64
    assert coded.starts.tolist() == [0, 32]


@pytest.mark.parametrize(
    ("values", "bitmap", "sizes"),
    [
        ([1, 2], [0b1], [8]),  # a value too many
        ([1], [0b11], [8]),  # one too few
        ([1], [0b10000], [4]),  # a bit behind the group's end
        ([1], [0b1, 0], [8]),  # a byte too many
        ([1], [], [2]),
        ([1], [0b1], [8, 8]),
    ],
)
def test_parts_that_do_not_fit_are_refused(values: list[int], bitmap: list[int], sizes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"does not fit|places"):
        coding.decode(np.array(values, np.int8), np.array(bitmap, np.uint8), sizes)
