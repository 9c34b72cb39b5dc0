from types import SimpleNamespace

import numpy as np
import pytest

from convert.accuracy import top1
from convert.errors import UsageError

GRAPH = SimpleNamespace(outputs=(0,), tensors=(SimpleNamespace(dtype=np.dtype("int8")),))


def test_scores_are_signed_and_the_first_of_equals_wins() -> None:
    outputs = np.array([[-128, 127, 0], [5, 5, 5], [-1, -2, -3]], np.int8).view(np.uint8)
    assert top1(GRAPH, outputs, np.array([1, 0, 0])) == 1.0
    assert top1(GRAPH, outputs, np.array([1, 1, 2])) == pytest.approx(1 / 3)


def test_more_classes_than_scores_is_refused() -> None:
    with pytest.raises(UsageError, match="classes up to 3; the model gives 3 scores"):
        top1(GRAPH, np.zeros((1, 3), np.uint8), np.array([3]))
