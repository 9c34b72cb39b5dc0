"""Fashion-MNIST: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017. 60,000 training and 10,000 test images of 28x28 grey pixels in ten classes, MIT licence.

Four gzipped IDX files. They are looked for in the project's cache, then where Debian's package
dataset-fashion-mnist puts them, then downloaded by Keras' own loader. The checksums are those of the uncompressed
files, because packagers compress them anew.
"""

import contextlib
import gzip
import io
import shutil
import socket
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from convert.features import Image, ImagePath, Preprocessed
from convert.features import version as code_version
from training import backend
from training.datasets import Card, Dataset
from training.datasets.files import verify
from training.settings.data import FashionMnist
from training.settings.preprocessing import GreyImage

SYSTEM = Path("/usr/share/datasets/fashion-mnist")
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
PATIENCE = 8.0  # seconds without an answer after which there is no network

CARD = Card(
    name="fashion_mnist",
    title="Fashion-MNIST",
    shape=(28, 28, 1),
    classes=(
        "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    licence="MIT, (c) Zalando SE",
    source="https://github.com/zalandoresearch/fashion-mnist",
    sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)  # fmt: skip


def card(_: FashionMnist, asked: GreyImage) -> Card:
    """The data set's card."""
    del asked
    return CARD


def describe(asked: GreyImage) -> Image:
    """The preprocessing that gives the model's images."""
    height, width, _ = CARD.shape
    return Image(width, height, asked.crop, asked.invert)


def version(_: FashionMnist, asked: GreyImage) -> str:
    """Key of the preprocessing: the generated C and what it calls."""
    return code_version(describe(asked))


def download(folder: Path) -> None:
    """Fetch the four files with Keras' loader into `folder`; raises OSError soon where there is no network."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        # Keras retries and waits; a small request says at once whether there is anything to wait for.
        with urllib.request.urlopen(URL + "train-labels-idx1-ubyte.gz", timeout=PATIENCE):
            pass
        with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
            get_file = backend.keras().utils.get_file
            folder.mkdir(parents=True, exist_ok=True)
            for piece in CARD.sha256:
                got = get_file(f"{piece}.gz", origin=f"{URL}{piece}.gz", cache_dir=scratch)
                verify(CARD, piece, gzip.decompress(Path(got).read_bytes()), URL)
                part = folder / f".{piece}.gz"
                shutil.copyfile(got, part)
                part.replace(folder / f"{piece}.gz")
    except OSError:
        raise
    except Exception as e:  # Keras wraps what urllib raises into plain Exceptions
        if isinstance(e, UsageError):
            raise
        raise OSError(str(e)) from e
    finally:
        socket.setdefaulttimeout(before)


def load(
    _: FashionMnist,
    folder: Path,
    asked: GreyImage,
    system: Path = SYSTEM,
    fetch: Callable[[Path], None] = download,
) -> Dataset:
    """The official split; pixels as v / 255 in [0, 1], through the device's C. `folder` is the project's data cache.

    The images have the model's size: the C gives their own pixels, or with `invert` their negatives. So a model that
    is trained with `invert` is trained on dark clothes on white, and the device turns nothing round.
    """
    home = _find(folder / CARD.name, system, fetch)
    description = describe(asked)
    path, values = ImagePath(description), np.arange(256, dtype=np.float32) / np.float32(255)
    x_train, x_test = (_images(_idx(home, f"{part}-images-idx3-ubyte", 16), path) for part in ("train", "t10k"))
    y_train, y_test = (_idx(home, f"{part}-labels-idx1-ubyte", 8).astype(np.int64) for part in ("train", "t10k"))
    known = Preprocessed(description, values)
    return Dataset(CARD, values[x_train], y_train, values[x_test], y_test, preprocessed=known)


def _complete(folder: Path) -> bool:
    return all((folder / f"{piece}.gz").is_file() for piece in CARD.sha256)


def _find(cached: Path, system: Path, fetch: Callable[[Path], None]) -> Path:
    for folder in (cached, system):
        if _complete(folder):
            return folder
    try:
        fetch(cached)
    except OSError as e:
        reason = e.reason if type(e) is urllib.error.URLError else e  # an HTTPError's own text has the code
        raise UsageError(
            f"Fashion-MNIST is neither in {cached} nor in {system}, and cannot be downloaded ({reason}); "
            "run `apt-get install dataset-fashion-mnist`, or put "
            f"{', '.join(f'{piece}.gz' for piece in CARD.sha256)} into {cached}"
        ) from e
    return cached


def _idx(folder: Path, piece: str, header: int) -> npt.NDArray[np.uint8]:
    """The values of an IDX file of unsigned bytes, without its header."""
    path = folder / f"{piece}.gz"
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as e:
        raise UsageError(f"{CARD.title}: {path} cannot be read ({e}); remove it, or put the original there") from e
    verify(CARD, piece, content, folder)
    return np.frombuffer(content, np.uint8, offset=header)


def _images(values: npt.NDArray[np.uint8], path: ImagePath) -> npt.NDArray[np.uint8]:
    return path.resize(values.reshape(-1, *CARD.shape[:2])).reshape(-1, *CARD.shape)
