"""The preprocessing C against exact and float64 references, by way of the Python binding; error figures are asserted
with margins of about a half."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import features_reference as reference
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from convert.errors import UsageError
from convert.features import Image, ImagePath, Normalise, Series, SeriesPath, Spectrum, host, learn, tables
from convert.paths import FIRMWARE

pytestmark = pytest.mark.skipif(
    all(shutil.which(name) is None for name in ("gcc", "cc", "clang")), reason="needs a C compiler"
)

# Every example compiles anew.
FEW = settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


# Images


@FEW
@given(st.integers(1, 33), st.integers(1, 33), st.booleans(), st.booleans(), st.data())
def test_images_are_averaged_exactly(width: int, height: int, crop: bool, invert: bool, data: st.DataObject) -> None:
    wanted = Image(width, height, crop, invert)
    path = ImagePath(wanted)
    for _ in range(8):
        shape = data.draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
        pixels = data.draw(arrays.arrays(np.uint8, shape, fill=st.integers(0, 255)))
        assert np.array_equal(path.resize(pixels[None])[0], reference.image(pixels, wanted))


def test_equal_sizes_give_the_pixels_themselves() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 28, 28), np.uint8)
    assert np.array_equal(ImagePath(Image(28, 28, True, False)).resize(pixels), pixels)
    assert np.array_equal(ImagePath(Image(28, 28, False, True)).resize(pixels), 255 - pixels)


@pytest.mark.parametrize("shape", [(1, 65535), (65535, 1), (4096, 4096)])
@pytest.mark.parametrize("crop", [True, False])
def test_the_largest_images_overflow_nowhere(shape: tuple[int, int], crop: bool) -> None:
    white = np.full((1, *shape), 255, np.uint8)
    assert (ImagePath(Image(28, 20, crop, False)).resize(white) == 255).all()


@pytest.mark.parametrize(("crop", "shape"), [(False, (4097, 4096)), (True, (4097, 4097)), (True, (1, 65536))])
def test_an_image_that_is_too_large_is_refused(crop: bool, shape: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match=rf"{shape[1]} x {shape[0]} pixels cannot be taken; allowed are sides of 1 to"):
        ImagePath(Image(28, 28, crop, False)).resize(np.zeros((1, *shape), np.uint8))


# Samples


@FEW
@given(st.integers(1, 7), st.integers(1, 40), st.integers(1, 60), st.data())
def test_windows_hold_the_normalised_rows(channels: int, length: int, hop: int, data: st.DataObject) -> None:
    offsets = data.draw(st.tuples(*[st.integers(-32768, 32767)] * channels))
    scales = data.draw(st.tuples(*[st.floats(2**-16, 2**12)] * channels))
    wanted = Normalise(offsets, scales)
    path = SeriesPath(Series(channels, 50_000, length, hop, wanted))
    for count in (0, length - 1, length, length + 3 * hop + 1):
        x = data.draw(arrays.arrays(np.int16, (count, channels), elements=st.integers(-32768, 32767)))
        got = path.windows(x)
        real = reference.windows(reference.normalise(x, wanted), length, hop)
        assert got.shape == real.shape and got.dtype == np.int8
        # Half a step of rounding, and a scale of 15 significant bits; beyond int16 from the offset all is clamped.
        tolerance = 0.5 + 128 * 2.0**-15
        assert np.abs(got - real).max(initial=0) <= tolerance or _saturated(x, wanted, path)


def _saturated(x: npt.NDArray[np.int16], wanted: Normalise, path: SeriesPath) -> bool:
    """Whether only values farther than int16 from their offset differ, and these are at int16's end."""
    away = np.clip(x.astype(np.int32) - wanted.offset, -32768, 32767)
    real = np.clip(away * np.asarray(wanted.scale), -128, 127)
    d = path.description
    return bool(np.abs(path.windows(x) - reference.windows(real, d.length, d.hop)).max() <= 0.5 + 128 * 2.0**-15)


def test_halves_are_rounded_up() -> None:
    path = SeriesPath(Series(1, 1000, 1, 1, Normalise((10,), (0.5,))))
    x = np.array([10, 11, 9, 12, 7, 1000, -1000], np.int16)
    assert path.windows(x).reshape(-1).tolist() == [0, 1, 0, 1, -1, 127, -128]


def test_learned_normalisation_is_mean_and_deviations() -> None:
    rng = np.random.default_rng(2)
    rows = np.rint(rng.normal([100, -2000], [30, 900], (5000, 2))).astype(np.int16)
    found = learn(rows, 4.0)
    assert found.offset == tuple(np.rint(rows.mean(0)).astype(int).tolist())
    assert np.allclose(found.scale, 32 / rows.std(0), rtol=1e-12)
    with pytest.raises(UsageError, match="channel 1 of the training data has the same value throughout"):
        learn(np.stack([rows[:, 0], np.full(5000, 7, np.int16)], axis=1), 4.0)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 2.0**13, float("nan")])
def test_a_scale_that_no_multiplier_has_is_refused(scale: float) -> None:
    with pytest.raises(UsageError, match=r"channel 1 has scale .* allowed are 2\^-16 to 2\^13"):
        SeriesPath(Series(2, 1000, 1, 1, Normalise((0, 0), (1.0, scale))))


# Sound

SPEECH = Spectrum(16000, 480, 320, 512, 0.0, "mel", 40, 125.0, 7500.0, False, 10)
KINDS = {
    "speech": SPEECH,
    "pre-emphasis": Spectrum(16000, 400, 160, 512, 0.97, "mel", 26, 50.0, 8000.0, True, 13),
    "small": Spectrum(8000, 255, 128, 256, 0.0, "linear", 20, 100.0, 4000.0, False, None),
    "smallest": Spectrum(8000, 8, 3, 8, 0.5, "linear", 2, 0.0, 4000.0, False, 2),
    "large": Spectrum(44100, 4096, 2000, 4096, 0.9, "mel", 80, 20.0, 20000.0, False, 20),
}


def signals(count: int, rate: int) -> dict[str, npt.NDArray[np.int16]]:
    rng = np.random.default_rng(3)
    t = np.arange(count) / rate
    chirp = 12000 * np.sin(2 * np.pi * (200 + rate / 8 * t) * t)
    found = {
        "noise": rng.normal(0, 3000, count),
        "full": rng.integers(-32768, 32768, count).astype(float),
        "square": np.where(np.arange(count) // 9 % 2, 32767.0, -32768.0),
        "chirp": chirp + rng.normal(0, 20, count),
        "quiet": rng.normal(0, 4, count),
    }
    return {name: np.clip(np.rint(x), -32768, 32767).astype(np.int16) for name, x in found.items()}


@pytest.fixture(scope="module", params=sorted(KINDS))
def case(request: pytest.FixtureRequest) -> tuple[Spectrum, SeriesPath]:
    spectrum = KINDS[request.param]
    return spectrum, SeriesPath(reference.sound(spectrum))


def test_the_transform_is_within_its_stated_noise(case: tuple[Spectrum, SeriesPath]) -> None:
    """87 dB under the frame's energy (90 dB for frames of 256 to 512 samples), or a quarter of the energy that rounding
    the samples to int16 brings."""
    s, path = case
    for name, x in signals(12000, s.rate).items():
        true, got = reference.spectra(x, s), path.spectra(x)
        assert got.shape == true.shape
        error = (np.abs(got - true) ** 2).sum(1)
        noise = 10 * np.log10((np.abs(true) ** 2).sum(1) / error).min()
        usual = 256 <= s.size <= 512
        bar = 90 if usual and name in ("noise", "full", "square") else 87
        assert noise > bar or (error < s.size / 2 * rounding(s) / 4).all(), f"{name}: {noise:.1f} dB"


def rounding(s: Spectrum) -> float:
    """Energy in a bin that comes of rounding the samples to int16: uniform errors, variance 1 / 12."""
    return float((np.hanning(s.frame) ** 2).sum()) * (1 + s.pre_emphasis**2) / 12


def heard(true: reference.Array, s: Spectrum) -> npt.NDArray[np.bool_]:
    """Bands at most 30 dB under the loudest of their frame, and 24 dB above the samples' own rounding."""
    own = np.log2(rounding(s) * reference.filters(s).sum(1))
    return (true > true.max(1, keepdims=True) - 10) & (true > own + 8)


def test_log_energies_and_coefficients(case: tuple[Spectrum, SeriesPath]) -> None:
    """Logarithms to base 2 within 0.006 (0.02 dB; 0.02 for transforms of 4,096) in bands that are heard; coefficients
    within 0.05 and half of their last digit where all bands are."""
    s, path = case
    flat = Spectrum(**{**vars(s), "equal_area": False, "coefficients": None})
    whole = SeriesPath(reference.sound(Spectrum(**{**vars(s), "coefficients": None})))
    for name, x in signals(12000, s.rate).items():
        true = reference.log_bands(x, Spectrum(**{**vars(s), "coefficients": None}))
        loud = heard(reference.log_bands(x, flat), s)
        assert loud.all() or name != "full" or s.pre_emphasis > 0.5
        error = np.abs(whole.rows(x) / 2.0**tables.LOG_BITS - true)
        assert error[loud].max(initial=0) < (0.006 if s.size <= 512 else 0.02), f"{name}: {error[loud].max():.4f}"
        if s.coefficients and loud.all():
            digits = tables.dct(s, tables.bands(s, tables.spectrum(s))).fraction
            difference = np.abs(path.rows(x) / 2.0**digits - reference.mfcc(x, s))
            assert difference.max() < 0.05 + 2.0**-digits / 2, f"{name}: {difference.max():.4f}"


def test_silence_is_the_floor() -> None:
    path = SeriesPath(reference.sound(KINDS["small"]))
    assert (path.rows(np.zeros(2000, np.int16)) == 0).all()
    assert (path.spectra(np.zeros(2000, np.int16)) == 0).all()


# Numbers that the tables hold exactly: near 1 the rest of a constant signal shows every rounded digit.
PRE_EMPHASES = st.integers(0, int(0.99 * tables.ONE)).map(lambda n: n / tables.ONE)


@FEW
@given(st.integers(3, 10), st.floats(0.1, 1), PRE_EMPHASES, st.integers(2, 12), st.booleans(), st.data())
def test_any_transform_stays_within_its_bounds(
    log2: int, share: float, pre_emphasis: float, bands: int, mel: bool, data: st.DataObject
) -> None:
    """Extreme samples in extreme orders: whatever overflowed would be far off."""
    size = 1 << log2
    frame = max(8, int(size * share))
    scale = "mel" if mel else "linear"
    s = Spectrum(16000, frame, frame, size, pre_emphasis, scale, bands, 0.0, 8000.0, data.draw(st.booleans()), bands)
    try:
        path = SeriesPath(reference.sound(s))
    except UsageError as e:
        assert "between two bins" in str(e)
        return
    ends = st.sampled_from([-32768, 32767])
    x = data.draw(arrays.arrays(np.int16, 3 * frame, elements=ends, fill=ends))
    true = reference.spectra(x, s)
    error = np.abs(path.spectra(x) - true)
    assert error.max() < 2.0 + np.abs(true).max() * 2e-4


def test_the_table_of_logarithms() -> None:
    text = (FIRMWARE / "lib" / "features" / "src" / "spectrum.c").read_text()
    body = text.split("log2_table[33] FEATURES_FLASH = {")[1].split("}")[0]
    assert [int(v) for v in body.split(",")] == [round(np.log2(1 + i / 32) * 32768) for i in range(33)]


def test_another_implementation_agrees() -> None:
    """TensorFlow's own mel filters and cepstral coefficients (which are scaled otherwise), from its own frames."""
    tf = pytest.importorskip("tensorflow")
    s = Spectrum(16000, 512, 160, 512, 0.0, "mel", 40, 125.0, 7500.0, False, 13)
    x = signals(12000, s.rate)["noise"]

    def hann(n: int, dtype: object) -> npt.NDArray[np.float64]:
        del dtype
        return np.hanning(n)

    stft = tf.signal.stft(x.astype(np.float32), s.frame, s.hop, s.size, window_fn=hann)
    weights = tf.signal.linear_to_mel_weight_matrix(s.bands, s.size // 2 + 1, s.rate, s.low, s.high, tf.float64)
    energy = np.abs(stft.numpy().astype(np.complex128)) ** 2 @ weights.numpy()
    path = SeriesPath(reference.sound(s))
    plain = SeriesPath(reference.sound(Spectrum(**{**vars(s), "coefficients": None})))
    assert np.abs(plain.rows(x) / 2.0**tables.LOG_BITS - np.log2(energy)).max() < 0.004
    theirs = tf.signal.mfccs_from_log_mel_spectrograms(np.log2(energy).astype(np.float32)).numpy()[:, : s.coefficients]
    digits = tables.dct(s, tables.bands(s, tables.spectrum(s))).fraction
    ours = path.rows(x) / 2.0**digits
    ours[:, 0] *= np.sqrt(2)  # theirs is not orthonormal in the first row
    assert np.abs(ours - theirs).max() < 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": 200}, "band 0 of 200 lies between two bins of a transform of 512 samples; give fewer bands"),
    ],
)
def test_a_spectrum_that_cannot_be(change: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SeriesPath(reference.sound(Spectrum(**{**vars(SPEECH), **change})))


# The C itself


def test_smoothing_and_resampling(tmp_path: Path) -> None:
    """Through a small program, since no recipe has them: they belong to live applications."""
    rng = np.random.default_rng(5)
    x = rng.integers(-32768, 32768, (400, 3)).astype(np.int16)
    for rates in ((119, 50), (50, 50), (1, 1), (2, 5), (32767, 32766), (7, 1)):
        got = resample(tmp_path, x, *rates)
        true = np.stack([reference.resample(x[:, c], *rates) for c in range(3)], axis=1)
        assert np.array_equal(got, true), rates


RESAMPLE = """
#include <stdio.h>
#include "features/resample.h"
int main(void) {
  int32_t sums[3];
  int16_t in[3], out[3];
  features_resample_t r = {.sums = sums, .channels = 3, .in_rate = IN_RATE, .out_rate = OUT_RATE};
  features_resample_reset(&r);
  while (fread(in, sizeof in, 1, stdin) == 1) {
    features_resample_push(&r, in);
    while (features_resample_pull(&r, out)) fwrite(out, sizeof out, 1, stdout);
  }
  return 0;
}
"""


def resample(folder: Path, x: npt.NDArray[np.int16], in_rate: int, out_rate: int) -> npt.NDArray[np.int16]:
    program, source = folder / "resample", folder / "resample.c"
    source.write_text(RESAMPLE)
    flags = ["-std=c99", *host.SANITIZERS, f"-DIN_RATE={in_rate}", f"-DOUT_RATE={out_rate}"]
    files = [str(source), str(host.LIBRARY / "src" / "resample.c"), "-I", str(host.LIBRARY / "include")]
    subprocess.run([host.compiler(), *flags, *files, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], input=x.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.int16).reshape(-1, 3)


CROSS = {
    "cortex-m0plus": ["arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb"],
    "cortex-m4": ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb"],
    "avr": ["avr-gcc", "-mmcu=atmega328p"],
    "riscv": ["riscv64-unknown-elf-gcc", "-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs"],
}
# What a C compiler may call unasked: copies, and integer arithmetic that the processor lacks.
ARITHMETIC = "add|sub|neg|mul|div|mod|ashl|ashr|lshr|cmp|clz|prologue|epilogue|tablejump"
HELPERS = re.compile(rf"^(memcpy|memset|__aeabi_[ilu]\w+|__\w*({ARITHMETIC})\w*)$")


@pytest.mark.parametrize("core", sorted(CROSS))
def test_every_compiler_takes_it_and_nothing_else_is_needed(core: str, tmp_path: Path) -> None:
    """No warning, no allocation, no libm, no floating point."""
    tool, *options = CROSS[core]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on the PATH")
    flags = ["-std=c99", "-Os", *host.WARNINGS, "-Wshadow", "-Wcast-align", "-I", str(host.LIBRARY / "include")]
    names = {"U": set[str](), "T": set[str]()}
    for source in sorted((host.LIBRARY / "src").glob("*.c")):
        target = tmp_path / "a.o"
        command = [tool, *options, *flags, "-c", str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        listed = subprocess.run([tool.replace("gcc", "nm"), str(target)], capture_output=True, text=True, check=True)
        for kind, name in re.findall(r"\b([UT]) (\S+)$", listed.stdout, re.MULTILINE):
            names[kind].add(name)
    wanted = names["U"] - names["T"]
    assert {name for name in wanted if not HELPERS.match(name)} == set()
    assert {name for name in wanted if re.search(r"[sd]f\d|[sd]f$", name)} == set()
