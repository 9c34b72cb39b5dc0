"""What several tests of training share."""

from pathlib import Path

import pytest

from training import datasets, fitting
from training.progress import Reporter
from training.settings.base import Augment
from training.settings.data import Digits


@pytest.fixture(scope="module")
def data() -> fitting.TrainingData:
    """Two batches of digits; a file with a fixture of this name has samples of its own."""
    whole = datasets.load(Digits(dataset="digits"), Path())
    part = datasets.Dataset(whole.card, whole.x_train[:64], whole.y_train[:64], whole.x_test[:32], whole.y_test[:32])
    return fitting.TrainingData(part, Augment(), 1, Reporter())
