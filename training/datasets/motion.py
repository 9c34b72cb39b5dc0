"""Shoulder exercises recorded by a smartwatch: Burns et al., "Shoulder physiotherapy exercise recognition: machine
learning the inertial signals from a smartwatch", Physiological Measurement 39, 2018. Part of the package seglearn.

140 recordings of 10 people (7 exercises, both arms), 50 samples a second, accelerometer in g and gyroscope in rad/s:
what the six-axis IMU of a Nano 33 BLE gives. Values are clipped to that board's default ranges, +-4 g and
+-2,000 degrees a second, and cut into windows.

Windows of one recording resemble each other, and so do recordings of one person: the split is by person, and the
normalisation knows the training people only.
"""

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from training.datasets import Card, Dataset, Floats, Labels
from training.datasets.files import verify
from training.recipe import Motion

AXES = 6
SUBJECTS = frozenset(range(1, 11))
RANGE = np.array([4.0] * 3 + [np.deg2rad(2000.0)] * 3, np.float32)  # g and rad/s

_SHA256 = {"watch_dataset.npy": "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"}


def card(settings: Motion) -> Card:
    """The data set's card; a sample is (window, 1, axes)."""
    return Card(
        name="motion",
        title="seglearn's smartwatch recordings",
        shape=(settings.window, 1, AXES),
        classes=(
            "pendulum", "abduction", "forward elevation", "internal rotation", "external rotation", "trapezius",
            "row",
        ),
        licence="BSD 3-Clause (seglearn)",
        source="https://github.com/dmbee/seglearn",
        sha256=_SHA256,
    )  # fmt: skip


def load(settings: Motion, folder: Path) -> Dataset:
    """Windows float32 (n, window, 1, 6), standardised by the training people's mean and standard deviation."""
    del folder
    held_out = set(settings.test_subjects)
    if not held_out < SUBJECTS:
        raise UsageError(
            f"data.test_subjects = {sorted(held_out)} is not allowed; give some, not all, of the people 1 to 10"
        )
    about = card(settings)
    recordings = _read(about)
    subjects = np.asarray(recordings["subject"], int)
    in_test = np.isin(subjects, sorted(held_out))
    x_train, y_train = _windows(recordings, ~in_test, settings)
    x_test, y_test = _windows(recordings, in_test, settings)
    axes = (0, 1, 2)
    mean, deviation = x_train.mean(axes, np.float64), x_train.std(axes, np.float64)

    def standardise(x: Floats) -> Floats:
        return np.asarray((x - mean) / deviation, np.float32)

    return Dataset(about, standardise(x_train), y_train, standardise(x_test), y_test)


def _read(about: Card) -> dict[str, Any]:
    # The package is located, not imported: it would pull in pandas for nothing.
    spec = importlib.util.find_spec("seglearn")
    if spec is None or spec.origin is None:
        raise UsageError("the motion data set comes with the Python package seglearn; run `pip install seglearn`")
    path = Path(spec.origin).parent / "data" / "watch_dataset.npy"
    if not path.is_file():
        raise UsageError(f"{path} is missing; run `pip install --force-reinstall seglearn`")
    content = path.read_bytes()
    # A pickle can run code: nothing is unpickled that is not the known file.
    verify(about, "watch_dataset.npy", content, path.parent)
    recordings: dict[str, Any] = np.load(io.BytesIO(content), allow_pickle=True).item()
    return recordings


def _windows(recordings: dict[str, Any], chosen: npt.NDArray[np.bool_], settings: Motion) -> tuple[Floats, Labels]:
    """All windows of the chosen recordings, none across two of them."""
    x, y = [], []
    for index in np.flatnonzero(chosen):
        signal = np.clip(np.asarray(recordings["X"][index], np.float32), -RANGE, RANGE)
        starts = range(0, len(signal) - settings.window + 1, settings.hop)
        x += [signal[s : s + settings.window] for s in starts]
        y += [int(recordings["y"][index])] * len(starts)
    return np.stack(x)[:, :, np.newaxis, :], np.array(y, np.int64)
