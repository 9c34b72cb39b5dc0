from pathlib import Path

import numpy as np
import pytest

from convert import samples
from convert.errors import UsageError
from convert.samples import About, Samples

OUTPUTS = np.array([[1, 255, 3], [5, 5, 0], [0, 0, 127], [128, 127, 0]], np.uint8)


def example(**about: object) -> Samples:
    known = About("m", "ab" * 32, "int8", ("cat", "dog"), **about)  # type: ignore[arg-type]
    return Samples(known, np.arange(8, dtype=np.uint8).reshape(4, 2), OUTPUTS, np.array([2, 0, 2, 1]))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    first = example(reset=True)
    first.save(tmp_path)
    again = samples.load(tmp_path, "make it")
    assert again.about == first.about
    for name in ("inputs", "outputs", "labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    bytes_before = (tmp_path / samples.FILE).read_bytes()
    first.save(tmp_path)
    assert (tmp_path / samples.FILE).read_bytes() == bytes_before


def test_without_labels(tmp_path: Path) -> None:
    unlabelled = Samples(example().about, np.zeros((1, 2), np.uint8), OUTPUTS[:1], None)
    unlabelled.save(tmp_path)
    assert samples.load(tmp_path, "make it").labels is None


def test_the_class_is_the_first_largest_score() -> None:
    """int8: 255 is -1, 128 is -128."""
    np.testing.assert_array_equal(example().predicted(OUTPUTS), [2, 0, 2, 1])
    assert example().class_names == ("cat", "dog", "2")


def test_samples_are_spread_and_sequences_are_not() -> None:
    np.testing.assert_array_equal(example().spread(2).inputs[:, 0], [0, 4])
    np.testing.assert_array_equal(example(sequence=True).spread(2).inputs[:, 0], [0, 2])
    assert len(example().spread(None)) == len(example().spread(9)) == 4


@pytest.mark.parametrize("defect", ["missing", "cut", "no_arrays", "not_a_file_of_numpy"])
def test_what_cannot_be_loaded(tmp_path: Path, defect: str) -> None:
    path = tmp_path / samples.FILE
    if defect != "missing":
        example().save(tmp_path)
        path.write_bytes({"cut": path.read_bytes()[:100], "not_a_file_of_numpy": b"x"}.get(defect, b""))
    if defect == "no_arrays":
        np.savez(path, other=np.zeros(1))
    with pytest.raises(UsageError, match=r"test.npz (is not there|cannot be read).*run( again)?: make it"):
        samples.load(tmp_path, "make it")
