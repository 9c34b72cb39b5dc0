"""The path from WAV files to features, on synthetic tones. Nothing here says anything about speech."""

import wave
from pathlib import Path

import numpy as np
import pytest

from convert.errors import UsageError
from convert.features import Series
from training import datasets
from training.recipe import Recipe
from training.settings.data import WavFolder
from training.settings.preprocessing import Mfcc, Spectrogram

MFCC = Mfcc(kind="mfcc", rate=8000, frame=256, hop=128, fft=256, bands=20, high_hz=4000.0, length=12, window_hop=12)
BANDS = Spectrogram(kind="spectrogram", rate=8000, frame=256, hop=128, fft=256, bands=20, high_hz=4000.0, length=12)


def save(path: Path, samples: np.ndarray, rate: int = 8000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.astype("<i2").tobytes())


def tones(folder: Path, files: int = 20) -> WavFolder:
    """Low tones, high tones and chirps in noise, of any loudness and length."""
    rng = np.random.default_rng(1)
    for k in range(files):
        count = int(rng.integers(800, 3000))
        t = np.arange(count) / 8000
        pitch = {"low": 300 + 0 * t, "high": 2500 + 0 * t, "chirp": 300 + 2200 * t / t[-1] / 2}
        for name, hertz in pitch.items():
            tone = np.sin(2 * np.pi * hertz * t * rng.uniform(0.9, 1.1)) * rng.uniform(2000, 20000)
            save(folder / name / f"speaker{k}_nohash_{k % 3}.wav", tone + rng.normal(0, 200, count))
    return WavFolder(dataset="wav_folder", folder=str(folder), test_share=0.3)


@pytest.mark.parametrize("asked", [MFCC, BANDS], ids=["mfcc", "spectrogram"])
def test_tones_are_told_apart_by_the_nearest_mean(asked: Mfcc | Spectrogram, tmp_path: Path) -> None:
    settings = tones(tmp_path)
    data = datasets.load(settings, tmp_path, asked)
    width = 10 if asked.kind == "mfcc" else 20
    assert data.card.classes == ("chirp", "high", "low")
    assert data.x_train.shape[1:] == data.x_test.shape[1:] == data.card.shape == (12, width, 1)
    assert data.x_train.dtype == np.float32 and min(len(data.x_test), len(data.x_train)) > 10
    assert data.preprocessed is not None and isinstance(data.preprocessed.description, Series)
    means = np.stack([data.x_train[data.y_train == k].mean(0) for k in range(3)])
    distance = ((data.x_test[:, None] - means) ** 2).sum((2, 3, 4))
    assert (distance.argmin(1) == data.y_test).mean() > 0.9


def test_a_speaker_is_in_one_part_only() -> None:
    from training.datasets import wav_folder

    names = [Path(f"{speaker}_nohash_{k}.wav") for speaker in ("ann", "bob", "eve") for k in range(5)]
    parts = [wav_folder._in_test(name, 0.5) for name in names]
    assert all(len(set(parts[k : k + 5])) == 1 for k in (0, 5, 10))
    assert abs(np.mean([wav_folder._in_test(Path(f"x{k}.wav"), 0.2) for k in range(2000)]) - 0.2) < 0.03


def test_a_recipe_takes_it(tmp_path: Path) -> None:
    settings = tones(tmp_path, 3)
    table = {
        "name": "tones",
        "data": settings.model_dump(),
        "preprocessing": MFCC.model_dump(),
        "model": {"architecture": "lenet"},
        "train": {"epochs": 1},
    }
    recipe = Recipe.model_validate(table)
    assert datasets.card(recipe.data, recipe.preprocessing).shape == (12, 10, 1)
    first = datasets.card(recipe.data, recipe.preprocessing).sha256
    save(tmp_path / "low" / "new.wav", np.zeros(900))
    assert datasets.card(recipe.data, recipe.preprocessing).sha256 != first


def test_sounds_that_cannot_be_taken(tmp_path: Path) -> None:
    settings = tones(tmp_path, 4)
    broken = tmp_path / "low" / "broken.wav"
    for samples, rate, channels, message in (
        (np.zeros(900), 16000, 1, "1 channels of 16 bits at 16000 Hz; needed is one of 16 bits at preprocessing.rate"),
        (np.zeros(900), 8000, 2, "2 channels of 16 bits"),
    ):
        save(broken, samples, rate, channels)
        with pytest.raises(UsageError, match=message):
            datasets.load(settings, tmp_path, MFCC)
    broken.write_bytes(b"RIFF and nothing")
    with pytest.raises(UsageError, match=r"broken\.wav is no WAV file of plain samples"):
        datasets.load(settings, tmp_path, MFCC)


def test_folders_that_cannot_be_taken(tmp_path: Path) -> None:
    settings = WavFolder(dataset="wav_folder", folder=str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"has 0 subfolders with \.wav files; give a folder with one subfolder"):
        datasets.card(settings, MFCC)
    save(tmp_path / "one" / "a" / "x.wav", np.zeros(9000))
    save(tmp_path / "one" / "b" / "x.wav", np.zeros(9000))
    settings = WavFolder(dataset="wav_folder", folder=str(tmp_path / "one"))
    with pytest.raises(UsageError, match=r"no file in .* is for (testing|training) with data.test_share = 0.2"):
        datasets.load(settings, tmp_path, MFCC)
