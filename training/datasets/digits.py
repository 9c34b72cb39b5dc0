"""Optical recognition of handwritten digits: Alpaydin and Kaynak 1998, UCI, CC BY 4.0; 1,797 images of 8x8 pixels in 17
grey levels, shipped with scikit-learn.

The last fifth in file order is the test set. Neighbouring samples are often by the same hand, so a shuffled split would
put more of a writer's digits on both sides and look better than it is.
"""

from pathlib import Path

import numpy as np

from training.datasets import Card, Dataset
from training.datasets.files import verify
from training.settings.data import Digits

TEST_SAMPLES = 360

CARD = Card(
    name="digits",
    title="scikit-learn's digits",
    shape=(8, 8, 1),
    classes=tuple("0123456789"),
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="https://archive.ics.uci.edu/dataset/80",
    # Images, then labels, one unsigned byte a value.
    sha256={"digits": "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"},
)


def card(_: Digits) -> Card:
    """The data set's card."""
    return CARD


def load(_: Digits, folder: Path) -> Dataset:
    """1,437 training and 360 test samples; pixels as v / 16 in [0, 1]. Nothing is kept in `folder`."""
    del folder
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    verify(CARD, "digits", images.tobytes() + labels.tobytes(), "scikit-learn")
    x = images.reshape(-1, *CARD.shape).astype(np.float32) / np.float32(16)
    y = labels.astype(np.int64)
    return Dataset(CARD, x[:-TEST_SAMPLES], y[:-TEST_SAMPLES], x[-TEST_SAMPLES:], y[-TEST_SAMPLES:])
