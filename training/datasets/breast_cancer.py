"""Breast cancer Wisconsin (diagnostic): Wolberg, Mangasarian, Street and Street 1993, UCI, CC BY 4.0; 569 samples of 30
measures of cell nuclei, malignant or benign, shipped with scikit-learn.

Every fifth sample in file order is the test set. The measures are standardised by the training samples' mean and
standard deviation.
"""

from pathlib import Path

import numpy as np

from training.datasets import Card, Dataset
from training.datasets.files import verify
from training.settings.data import BreastCancer

TEST_EVERY = 5

CARD = Card(
    name="breast_cancer",
    title="scikit-learn's breast cancer",
    shape=(30,),
    classes=("malignant", "benign"),
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source="https://archive.ics.uci.edu/dataset/17",
    # Measures as little-endian float64, then labels, one unsigned byte each.
    sha256={"breast_cancer": "3a54a12ffd3db348fbe319a9056329cde28da5b2e5ecc26ff7fb9f54aa7cc9f4"},
)


def card(_: BreastCancer) -> Card:
    """The data set's card."""
    return CARD


def load(_: BreastCancer, folder: Path) -> Dataset:
    """456 training and 113 test samples, each measure with mean 0 and variance 1. Nothing is kept in `folder`."""
    del folder
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    measures, labels = bunch.data.astype("<f8"), bunch.target.astype(np.uint8)
    verify(CARD, "breast_cancer", measures.tobytes() + labels.tobytes(), "scikit-learn")
    y = labels.astype(np.int64)
    test = np.arange(len(y)) % TEST_EVERY == TEST_EVERY - 1
    x = (measures - measures[~test].mean(0)) / measures[~test].std(0)
    x = x.astype(np.float32)
    return Dataset(CARD, x[~test], y[~test], x[test], y[test])
