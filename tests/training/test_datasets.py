import dataclasses
import functools
import gzip
import hashlib
import http.server
import shutil
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.errors import UsageError
from convert.features import Series
from training import datasets
from training.datasets import fashion_mnist, motion
from training.settings.data import BreastCancer, Digits, FashionMnist, Motion
from training.settings.preprocessing import GreyImage, Windows

FASHION = FashionMnist(dataset="fashion_mnist")
MOTION = Motion(dataset="motion")
IMAGE = GreyImage(kind="image")

has_fashion = pytest.mark.skipif(
    not fashion_mnist.SYSTEM.is_dir(), reason="the package dataset-fashion-mnist is not installed"
)


def no_network(_: Path) -> None:
    raise urllib.error.URLError("no network")


def never(_: Path) -> None:
    raise AssertionError("nothing has to be downloaded")


# digits


def test_digits(tmp_path: Path) -> None:
    data = datasets.load(Digits(dataset="digits"), tmp_path)
    assert (data.x_train.shape, data.x_test.shape) == ((1437, 8, 8, 1), (360, 8, 8, 1))
    assert (data.x_train.dtype, data.y_train.dtype) == (np.float32, np.int64)
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert set(data.y_train) == set(data.y_test) == set(range(len(data.class_names)))


def test_another_release_of_digits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.datasets

    changed = sklearn.datasets.load_digits()
    changed.target[5] += 1
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: changed)
    with pytest.raises(UsageError, match=r"digits in scikit-learn has SHA-256 .* expected 87ff0c"):
        datasets.load(Digits(dataset="digits"), tmp_path)


# breast cancer


def test_breast_cancer_is_standardised_by_the_training_samples(tmp_path: Path) -> None:
    data = datasets.load(BreastCancer(dataset="breast_cancer"), tmp_path)
    assert (data.x_train.shape, data.x_test.shape) == ((456, 30), (113, 30))
    assert (data.x_train.dtype, data.y_train.dtype) == (np.float32, np.int64)
    np.testing.assert_allclose(data.x_train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(data.x_train.std(0), 1, atol=1e-5)
    assert np.abs(data.x_test.mean(0)).max() > 1e-3
    # Both parts hold both classes, about as often.
    assert abs(data.y_train.mean() - data.y_test.mean()) < 0.05


def test_another_release_of_breast_cancer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.datasets

    changed = sklearn.datasets.load_breast_cancer()
    changed.data[5, 3] += 1e-9
    monkeypatch.setattr(sklearn.datasets, "load_breast_cancer", lambda: changed)
    with pytest.raises(UsageError, match=r"breast_cancer in scikit-learn has SHA-256"):
        datasets.load(BreastCancer(dataset="breast_cancer"), tmp_path)


# Fashion-MNIST


@has_fashion
def test_fashion_mnist_from_the_system_package(tmp_path: Path) -> None:
    data = fashion_mnist.load(FASHION, tmp_path, IMAGE, fetch=never)
    assert (data.x_train.shape, data.x_test.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert (data.x_train.dtype, data.x_train.min(), data.x_train.max()) == (np.float32, 0, 1)
    assert np.bincount(data.y_test).tolist() == [1000] * 10
    assert not list(tmp_path.iterdir())


@has_fashion
def test_the_cache_comes_before_the_system_package(tmp_path: Path) -> None:
    home = tmp_path / "fashion_mnist"
    shutil.copytree(fashion_mnist.SYSTEM, home)
    (home / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte\.gz cannot be read .*remove it"):
        fashion_mnist.load(FASHION, tmp_path, IMAGE, fetch=never)


@has_fashion
def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "fashion_mnist"
    shutil.copytree(fashion_mnist.SYSTEM, home)
    shutil.copyfile(home / "t10k-images-idx3-ubyte.gz", home / "train-images-idx3-ubyte.gz")
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte in .* has SHA-256 5b4141f.*, expected c59f468"):
        fashion_mnist.load(FASHION, tmp_path, IMAGE, fetch=never)


def test_data_that_cannot_be_had_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no network.*apt-get install dataset-fashion-mnist.*train-images-idx3") as e:
        fashion_mnist.load(FASHION, tmp_path, IMAGE, system=tmp_path / "absent", fetch=no_network)
    assert str(tmp_path / "fashion_mnist") in str(e.value)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server on this machine and its folder."""
    folder = tmp_path / "www"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as web:
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{web.server_address[1]}/", folder
        web.shutdown()


@pytest.fixture
def small(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's folder with small files in place of the data set's, and the checksums to match."""
    address, folder = server
    sums = {}
    for piece in fashion_mnist.CARD.sha256:
        (folder / f"{piece}.gz").write_bytes(gzip.compress(piece.encode()))
        sums[piece] = hashlib.sha256(piece.encode()).hexdigest()
    monkeypatch.setattr(fashion_mnist, "URL", address)
    monkeypatch.setattr(fashion_mnist, "CARD", dataclasses.replace(fashion_mnist.CARD, sha256=sums))
    return folder


def test_a_download_is_kept_in_the_cache(tmp_path: Path, small: Path) -> None:
    fashion_mnist.download(tmp_path / "cache")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "cache").iterdir()}
    assert kept == {path.name: path.read_bytes() for path in small.iterdir()}


def test_a_damaged_download_is_not_kept(tmp_path: Path, small: Path) -> None:
    (small / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte in http.* has SHA-256"):
        fashion_mnist.load(FASHION, tmp_path / "cache", IMAGE, system=tmp_path / "absent")
    assert not list((tmp_path / "cache").rglob("*images*"))


def test_a_server_without_the_files_is_no_network(
    tmp_path: Path, server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "URL", server[0])
    with pytest.raises(UsageError, match=r"cannot be downloaded .*404.*apt-get install"):
        fashion_mnist.load(FASHION, tmp_path / "cache", IMAGE, system=tmp_path / "absent")


# motion


def test_motion(tmp_path: Path) -> None:
    data = datasets.load(MOTION, tmp_path)
    assert data.x_train.shape[1:] == data.x_test.shape[1:] == (100, 1, 6)
    assert set(data.y_train) == set(data.y_test) == set(range(7))
    # What lies farther out than five deviations is clamped.
    assert np.allclose(data.x_train.mean((0, 1, 2)), 0, atol=0.01)
    assert np.allclose(data.x_train.std((0, 1, 2)), 1, atol=0.04)
    assert np.abs(data.x_train).max() == 5


def test_no_window_is_in_both_parts(tmp_path: Path) -> None:
    data = datasets.load(MOTION, tmp_path)
    train = {window.tobytes() for window in data.x_train}
    assert len(data.x_test) > 1000
    assert not any(window.tobytes() in train for window in data.x_test)


SHORT = Windows(kind="window", length=20, hop=10)


def recordings(test_gain: float = 1.0) -> dict[str, Any]:
    """Three people, two recordings each; the signals of person 3 are multiplied by `test_gain`."""
    rng = np.random.default_rng(1)
    subject = np.array([1, 1, 2, 2, 3, 3])
    signals = [rng.normal(size=(60, 6)) * (test_gain if s == 3 else 1.0) for s in subject]
    return {"X": signals, "y": np.array([0, 1] * 3), "subject": subject}


def split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, held_out: list[int], gain: float = 1.0) -> datasets.Dataset:
    monkeypatch.setattr(motion, "_read", lambda _: recordings(gain))
    return motion.load(Motion(dataset="motion", test_subjects=held_out), tmp_path, SHORT)


def test_people_held_out_leave_no_trace_in_the_training_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, loud = (split(monkeypatch, tmp_path, [3], gain) for gain in (1.0, 3.0))
    assert np.array_equal(plain.x_train, loud.x_train)
    assert not np.array_equal(plain.x_test, loud.x_test)
    assert len(plain.y_train) == 2 * len(plain.y_test) == 20


def test_windows_do_not_span_two_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = recordings()
    known["X"] = [np.full((60, 6), number / 2) for number in range(6)]
    monkeypatch.setattr(motion, "_read", lambda _: known)
    data = motion.load(Motion(dataset="motion", test_subjects=[3]), tmp_path, SHORT)
    # A recording of 60 samples has (60 - 20) / 10 + 1 windows; each of these signals is constant.
    assert (len(data.x_train), len(data.x_test)) == (4 * 5, 2 * 5)
    assert (data.x_train == data.x_train[:, :1]).all()
    assert len(np.unique(data.x_train[..., 0])) == 4


def test_samples_are_what_the_sensor_s_integers_stand_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Feature bytes are the normalised integers of the IMU; samples are these bytes' values."""
    known = recordings()
    monkeypatch.setattr(motion, "_read", lambda _: known)
    data = motion.load(Motion(dataset="motion", test_subjects=[3]), tmp_path, SHORT)
    assert data.preprocessed is not None and isinstance(data.preprocessed.description, Series)
    learned = data.preprocessed.description.normalise
    train = np.concatenate([motion.counts(x) for x in known["X"][:4]])
    assert np.allclose(learned.offset, train.mean(0), atol=0.5)
    assert np.allclose(learned.scale, 128 / 5 / train.std(0))
    real = (motion.counts(known["X"][4])[:20] - np.array(learned.offset)) * learned.scale
    assert np.abs(data.x_test[0, :, 0] / (5 / 128) - np.clip(real, -128, 127)).max() < 0.51
    assert data.preprocessed.recording is not None
    assert np.array_equal(data.preprocessed.recording[:60], motion.counts(known["X"][4]))


def test_integers_of_the_imu() -> None:
    signal = np.array([[1, -1, 4, np.pi, -np.pi / 180, 100], [0, 0.5, -9, 0, 0, -100]])
    assert motion.counts(signal).tolist() == [[8192, -8192, 32767, 2949, -16, 32767], [0, 4096, -32768, 0, 0, -32768]]


def test_signals_are_clipped_to_the_ranges_of_the_imu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far, farther = (split(monkeypatch, tmp_path, [3], gain).x_test for gain in (1e6, 1e7))
    assert np.array_equal(far, farther)


@pytest.mark.parametrize("held_out", [[11], list(range(1, 11))])
def test_impossible_test_subjects(tmp_path: Path, held_out: list[int]) -> None:
    with pytest.raises(UsageError, match=r"data\.test_subjects = .* is not allowed; give some, not all"):
        datasets.load(Motion(dataset="motion", test_subjects=held_out), tmp_path)


def test_the_recordings_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="pip install seglearn"):
        datasets.load(MOTION, tmp_path)


def test_changed_recordings_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "watch_dataset.npy").write_bytes(b"\x93NUMPY, and who knows what")

    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr("importlib.util.find_spec", lambda _: Spec)
    monkeypatch.setattr(np, "load", never)
    with pytest.raises(UsageError, match=r"watch_dataset\.npy in .* has SHA-256"):
        datasets.load(MOTION, tmp_path)
