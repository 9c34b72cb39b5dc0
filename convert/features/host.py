"""The generated C, compiled for this machine and called on NumPy arrays.

The library is kept in the cache by everything that it is made of. Calls of one object must not overlap in time: the C
holds its state in static memory, as it does on the device.
"""

import ctypes
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert import emit
from convert.cache import Cache, digest, digest_files
from convert.errors import ToolError, UsageError
from convert.features.description import Description, Image, Series
from convert.features.source import render
from convert.paths import FIRMWARE, TEMPLATES

Bytes = npt.NDArray[np.uint8]
Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]

LIBRARY = FIRMWARE / "lib" / "features"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wpedantic", "-Wconversion", "-Wsign-conversion")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
_LARGEST_SIDE = 65535


@lru_cache(maxsize=1)
def _version(tool: str) -> str:
    return subprocess.run([tool, "--version"], capture_output=True, text=True, check=False).stdout


def compiler() -> str:
    """Path of this machine's C compiler; raises ToolError where there is none."""
    for name in ("gcc", "cc", "clang"):
        if found := shutil.which(name):
            return found
    raise ToolError(
        "preprocessing is compiled for this machine, and no C compiler (gcc, cc or clang) is on the PATH; "
        "install one: apt-get install gcc libc6-dev"
    )


def files(description: Description, to_model: Bytes | None = None) -> dict[str, str]:
    """The generated C by name, with what calls it on this machine."""
    spectrum = None if isinstance(description, Image) else description.spectrum
    names = {"image": isinstance(description, Image), "spectrum": spectrum is not None}
    return render(description, to_model) | {"host.c": emit.render("features/host.c.j2", names)}


def call(arguments: list[str]) -> None:
    """Compile; raises ToolError with the compiler's first messages where it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(
            f"{arguments[0]} could not compile the preprocessing (exit code {done.returncode}): {done.stderr[:2000]}"
        )


def objects(tool: str, flags: tuple[str, ...]) -> list[Path]:
    """The library's objects, compiled once for each set of flags."""
    sources = sorted((LIBRARY / "src").glob("*.c"))
    include = ["-I", str(LIBRARY / "include")]

    def make(folder: Path) -> None:
        for source in sources:
            call([tool, *flags, *include, "-c", str(source), "-o", str(folder / f"{source.stem}.o")])

    key = digest(digest_files(LIBRARY.rglob("*.[ch]")), tool, _version(tool), flags)
    folder, _ = Cache().get("features-objects", key, make)
    return sorted(folder.glob("*.o"))


def build(folder: Path, texts: dict[str, str], target: str, *extra: str) -> Path:
    """Write `texts` (see `files`) into `folder` and make `target` of them and the library; `extra`: more flags."""
    tool = compiler()
    flags = ("-std=c99", "-O2", *WARNINGS, *extra)
    emit.write_tree(folder, texts)
    include = ["-I", str(folder), "-I", str(LIBRARY / "include")]
    sources = [str(folder / "host.c"), *map(str, objects(tool, flags))]
    call([tool, *flags, *include, *sources, "-o", str(folder / target)])
    return folder / target


def library(description: Description) -> Path:
    """The description's shared library, from the cache where it is there."""
    tool, texts = compiler(), files(description)

    def make(folder: Path) -> None:
        build(folder, texts, "features.so", "-shared", "-fPIC")

    key = digest(texts, digest_files(LIBRARY.rglob("*.[ch]")), tool, _version(tool))
    folder, _ = Cache().get("features", key, make)
    return folder / "features.so"


def version(description: Description | None) -> str:
    """Key of the code behind a preprocessing, before it is compiled.

    For an image all is in the generated C and one source; the numbers of a series are learned from data that are not
    read yet (None), so that everything counts.
    """
    if isinstance(description, Image):
        used = [path for path in LIBRARY.rglob("*.[ch]") if path.stem in ("image", "flash")]
        return digest(files(description), digest_files(used))
    here = Path(__file__).resolve().parent
    ours = [here / f"{name}.py" for name in ("description", "host", "source", "tables")]
    names = ("preprocessing.h", "preprocessing.c", "host.c")
    return digest_files([*ours, *(TEMPLATES / "features" / f"{name}.j2" for name in names), *LIBRARY.rglob("*.[ch]")])


def _address(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class SeriesPath:
    """A series' preprocessing, called in C.

    Raises ToolError where the C cannot be compiled, and UsageError for a description that the C cannot do.
    """

    def __init__(self, description: Series) -> None:
        self.description = description
        self._c = ctypes.CDLL(str(library(description)))
        for name in ("host_windows", "host_rows", "host_spectra"):
            if name != "host_spectra" or description.spectrum is not None:
                getattr(self._c, name).restype = ctypes.c_size_t

    def windows(self, samples: Int16) -> Int8:
        """All windows of a recording, int16 (n, channels), n for sound: int8 (windows, length, width)."""
        signal = self._signal(samples)
        d = self.description
        most = max(0, self._rows_of(len(signal)) - d.length) // d.hop + 1
        to = np.zeros((most, d.length, d.width), np.int8)
        count = self._c.host_windows(_address(signal), ctypes.c_size_t(len(signal)), _address(to))
        return to[:count]

    def rows(self, samples: Int16) -> Int16:
        """All rows of a recording before they are normalised: int16 (rows, width)."""
        signal = self._signal(samples)
        to = np.zeros((self._rows_of(len(signal)), self.description.width), np.int16)
        count = self._c.host_rows(_address(signal), ctypes.c_size_t(len(signal)), _address(to))
        return to[:count]

    def spectra(self, samples: Int16) -> npt.NDArray[np.complex128]:
        """The transform of every frame in units of a sample, complex (frames, size / 2 + 1); for tests."""
        assert self.description.spectrum is not None
        from convert.features import tables

        signal, size = self._signal(samples), self.description.spectrum.size
        raw = np.zeros((self._rows_of(len(signal)), size), np.int32)
        self._c.host_spectra(_address(signal), ctypes.c_size_t(len(signal)), _address(raw))
        real = raw.astype(np.float64) / 2.0 ** tables.spectrum(self.description.spectrum).fraction
        whole = np.zeros((len(raw), size // 2 + 1), np.complex128)
        whole[:, 1:-1] = real[:, 2::2] + 1j * real[:, 3::2]
        whole[:, 0], whole[:, -1] = real[:, 0], real[:, 1]
        return whole

    def _rows_of(self, samples: int) -> int:
        s = self.description.spectrum
        return samples if s is None else max(0, samples - s.frame + s.hop) // s.hop

    def _signal(self, samples: Int16) -> Int16:
        channels = self.description.channels
        shape = samples.shape if samples.ndim == 2 else (*samples.shape, 1)
        if samples.dtype != np.int16 or len(shape) != 2 or shape[1] != channels:
            raise ValueError(f"samples are {samples.dtype} {samples.shape}; expected int16 (n, {channels})")
        return np.ascontiguousarray(samples.reshape(shape))


class ImagePath:
    """An image's preprocessing, called in C.

    Raises ToolError where the C cannot be compiled.
    """

    def __init__(self, description: Image) -> None:
        self.description = description
        self._c = ctypes.CDLL(str(library(description)))

    def resize(self, images: Bytes) -> Bytes:
        """Grey images of one size, uint8 (n, height, width), to uint8 (n, model's height, model's width).

        Raises UsageError for a size that the C does not take.
        """
        if images.dtype != np.uint8 or images.ndim != 3:
            raise ValueError(f"images are {images.dtype} {images.shape}; expected uint8 (n, height, width)")
        d = self.description
        n, height, width = images.shape
        pixels = np.ascontiguousarray(images)
        to = np.zeros((n, d.height, d.width), np.uint8)
        refused = max(height, width) > _LARGEST_SIDE or self._c.host_images(
            _address(pixels), ctypes.c_size_t(n), ctypes.c_uint16(width), ctypes.c_uint16(height), _address(to)
        )
        if refused:
            raise UsageError(
                f"an image of {width} x {height} pixels cannot be taken; allowed are sides of 1 to {_LARGEST_SIDE} and "
                "16,777,216 pixels in the part that is used: make it smaller first"
            )
        return to
