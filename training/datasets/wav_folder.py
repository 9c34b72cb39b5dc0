"""Sound of your own: a folder with one subfolder of WAV files a class, as Speech Commands (Warden 2018) is laid out.

16 bits, one channel, all at the recipe's rate. What is shorter than a window is followed by silence, what is longer
gives several. A file is for testing where the hash of its name says so; names that agree up to "_nohash_" (a speaker's,
in Speech Commands) stay together.
"""

import hashlib
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from convert.errors import UsageError
from convert.features import Normalise, Preprocessed, Series, SeriesPath, Spectrum, int8_values, learn
from convert.features import version as code_version
from training.datasets import Card, Dataset, Floats, Labels
from training.settings.data import WavFolder
from training.settings.preprocessing import Mfcc, Spectrogram

Asked = Mfcc | Spectrogram
Int16 = npt.NDArray[np.int16]


def describe(asked: Asked, normalise: Normalise | None = None) -> Series:
    """The preprocessing that a recipe asks for; without `normalise`, one that stands in before it is learned."""
    mfcc = asked if isinstance(asked, Mfcc) else None
    spectrum = Spectrum(
        rate=asked.rate,
        frame=asked.frame,
        hop=asked.hop,
        size=asked.fft,
        pre_emphasis=asked.pre_emphasis,
        scale="mel" if isinstance(asked, Mfcc) else asked.scale,
        bands=asked.bands,
        low=asked.low_hz,
        high=asked.high_hz,
        equal_area=asked.equal_area,
        coefficients=mfcc.coefficients if mfcc is not None else None,
    )
    width = spectrum.coefficients or spectrum.bands
    any_scale = Normalise((0,) * width, (1.0,) * width)
    return Series(1, asked.rate * 1000, asked.length, asked.window_hop, normalise or any_scale, spectrum)


def card(settings: WavFolder, asked: Asked) -> Card:
    """The folder's card; a sample is (frames, features, 1). Raises UsageError for a folder that has no two classes."""
    files = _files(settings)
    h = hashlib.sha256()
    for path in (path for paths in files.values() for path in paths):
        h.update(f"{path.parent.name}/{path.name}\0{path.stat().st_size}\0".encode())
        h.update(path.read_bytes())
    description = describe(asked)
    return Card(
        name="wav_folder",
        title=f"sounds in {settings.folder}",
        shape=(*description.input_shape, 1),
        classes=tuple(files),
        licence="the folder's owner knows",
        source=settings.folder,
        sha256={"all": h.hexdigest()},
    )


def version(_: WavFolder, asked: Asked) -> str:
    """Key of the preprocessing: what is asked for, and the code."""
    return f"{asked.model_dump_json()} {code_version(None)}"


def load(settings: WavFolder, folder: Path, asked: Asked) -> Dataset:
    """Windows float32 (n, frames, features, 1) in the training files' standard deviations, as the device's C gives.

    Raises UsageError for a file that is no such sound, and for a folder without files for training or for testing.
    """
    del folder
    about = card(settings, asked)
    spectrum = describe(asked).spectrum
    assert spectrum is not None
    least = (asked.length - 1) * spectrum.hop + spectrum.frame
    sounds: dict[bool, list[tuple[int, Int16]]] = {False: [], True: []}
    for label, paths in enumerate(_files(settings).values()):
        for path in paths:
            sounds[_in_test(path, settings.test_share)].append((label, _read(path, asked.rate, least)))
    for test, part in sounds.items():
        if not part:
            use = "testing" if test else "training"
            raise UsageError(
                f"no file in {settings.folder} is for {use} with data.test_share = {settings.test_share:g}; "
                "give more files, or another share"
            )
    first = SeriesPath(describe(asked))
    description = describe(
        asked, learn(np.concatenate([first.rows(x) for _, x in sounds[False]]), asked.deviations, "feature")
    )
    path_of, values = SeriesPath(description), int8_values(asked.deviations / 128)

    def windows(test: bool) -> tuple[Floats, Labels]:
        found = [path_of.windows(x) for _, x in sounds[test]]
        labels = np.repeat([label for label, _ in sounds[test]], [len(w) for w in found])
        return values[np.concatenate(found).view(np.uint8)][..., np.newaxis], labels.astype(np.int64)

    known = Preprocessed(description, values)
    return Dataset(about, *windows(False), *windows(True), preprocessed=known)


def _files(settings: WavFolder) -> dict[str, list[Path]]:
    """Files by class, both in the order of their names."""
    root = Path(settings.folder)
    folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    found = {p.name: sorted(p.glob("*.wav")) for p in folders}
    found = {name: paths for name, paths in found.items() if paths}
    if len(found) < 2:
        raise UsageError(
            f"data.folder = {settings.folder!r} has {len(found)} subfolders with .wav files; give a folder with one "
            "subfolder a class, two at least"
        )
    return found


def _in_test(path: Path, share: float) -> bool:
    group = path.stem.partition("_nohash_")[0]
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") / 2**32 < share


def _read(path: Path, rate: int, least: int) -> Int16:
    """A file's samples, int16 (n,), with silence up to `least` of them."""
    try:
        with wave.open(str(path), "rb") as sound:
            form = sound.getnchannels(), sound.getsampwidth() * 8, sound.getframerate()
            raw = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError, OSError) as e:
        raise UsageError(f"{path} is no WAV file of plain samples ({e}); convert it to 16 bits, one channel") from e
    if form != (1, 16, rate):
        raise UsageError(
            f"{path} has {form[0]} channels of {form[1]} bits at {form[2]} Hz; needed is one of 16 bits at "
            f"preprocessing.rate = {rate}: convert it, or change the rate"
        )
    samples = np.frombuffer(raw, "<i2").astype(np.int16)
    return np.concatenate([samples, np.zeros(max(0, least - len(samples)), np.int16)])
