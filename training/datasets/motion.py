"""Shoulder exercises recorded by a smartwatch: Burns et al., "Shoulder physiotherapy exercise recognition: machine
learning the inertial signals from a smartwatch", Physiological Measurement 39, 2018. Part of the package seglearn.

140 recordings of 10 people (7 exercises, both arms), 50 samples a second, accelerometer in g and gyroscope in rad/s.
They are turned into what the six-axis IMU of a Nano 33 BLE gives: int16 at that board's default ranges, +-4 g and
+-2,000 degrees a second, clipped there. From these integers on, normalisation and windows are the device's own C.

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
from convert.features import Preprocessed, Series, SeriesPath, int8_values, learn
from convert.features import version as code_version
from training.datasets import Card, Dataset, Floats, Labels
from training.datasets.files import verify
from training.settings.data import Motion
from training.settings.preprocessing import NormaliseSamples, Windows

AXES = 6
MILLIHERTZ = 50_000
SUBJECTS = frozenset(range(1, 11))
# Integers a unit of the recordings, g and rad/s: ranges of 4 g and 2,000 degrees a second in 15 bits.
PER_UNIT = np.array([32768 / 4] * 3 + [32768 / np.deg2rad(2000)] * 3)
# Seconds of each exercise in the recording that a live sketch can be tried with.
RECORDED_SECONDS = 5

Asked = Windows | NormaliseSamples
Int16 = npt.NDArray[np.int16]

_SHA256 = {"watch_dataset.npy": "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"}


def _window(asked: Asked) -> tuple[int, int]:
    """Samples in a window, and between the starts of two."""
    return (asked.length, asked.hop) if isinstance(asked, Windows) else (1, 1)


def card(_: Motion, asked: Asked) -> Card:
    """The data set's card; a sample is (window, 1, axes)."""
    return Card(
        name="motion",
        title="seglearn's smartwatch recordings",
        shape=(_window(asked)[0], 1, AXES),
        classes=(
            "pendulum", "abduction", "forward elevation", "internal rotation", "external rotation", "trapezius",
            "row",
        ),
        licence="BSD 3-Clause (seglearn)",
        source="https://github.com/dmbee/seglearn",
        sha256=_SHA256,
    )  # fmt: skip


def version(_: Motion, asked: Asked) -> str:
    """Key of the preprocessing: what is asked for, and the code."""
    return f"{asked.model_dump_json()} {code_version(None)}"


def load(settings: Motion, folder: Path, asked: Asked) -> Dataset:
    """Windows float32 (n, window, 1, 6) in the training people's standard deviations, as the device's C gives them."""
    del folder
    held_out = set(settings.test_subjects)
    if not held_out < SUBJECTS:
        raise UsageError(
            f"data.test_subjects = {sorted(held_out)} is not allowed; give some, not all, of the people 1 to 10"
        )
    about = card(settings, asked)
    recordings = _read(about)
    in_test = np.isin(np.asarray(recordings["subject"], int), sorted(held_out))
    signals = [counts(signal) for signal in recordings["X"]]
    known = [signal for signal, test in zip(signals, in_test, strict=True) if not test]
    length, hop = _window(asked)
    description = Series(AXES, MILLIHERTZ, length, hop, learn(np.concatenate(known), asked.deviations))
    path, values = SeriesPath(description), int8_values(asked.deviations / 128)

    def windows(chosen: npt.NDArray[np.bool_]) -> tuple[Floats, Labels]:
        """All windows of the chosen recordings, none across two of them."""
        found = [path.windows(signals[i]) for i in np.flatnonzero(chosen)]
        labels = np.repeat(np.asarray(recordings["y"])[chosen], [len(w) for w in found])
        return values[np.concatenate(found).view(np.uint8)][:, :, np.newaxis, :], labels.astype(np.int64)

    x_train, y_train = windows(~in_test)
    x_test, y_test = windows(in_test)
    recording = _recording(signals, recordings["y"], in_test)
    return Dataset(about, x_train, y_train, x_test, y_test, preprocessed=Preprocessed(description, values, recording))


def counts(signal: npt.NDArray[Any]) -> Int16:
    """A recording in g and rad/s as the IMU's integers, int16 (n, 6)."""
    limits = np.iinfo(np.int16)
    scaled = np.rint(np.asarray(signal, np.float64) * PER_UNIT)
    clipped: Int16 = np.clip(scaled, limits.min, limits.max).astype(np.int16)
    return clipped


def _recording(signals: list[Int16], labels: Any, in_test: npt.NDArray[np.bool_]) -> Int16:
    """The beginning of the first test recording of each exercise, one after the other."""
    samples = RECORDED_SECONDS * MILLIHERTZ // 1000
    firsts = {int(labels[i]): i for i in reversed(np.flatnonzero(in_test))}
    return np.concatenate([signals[firsts[label]][:samples] for label in sorted(firsts)])


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
