"""Live applications with a small model: what firmware prints in an emulator is what Python says of the same input."""

import itertools
import re
import shutil
import subprocess
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from models import Op, T, tflite

from convert import boards, compilers, golden, graph, live, project, send_image, smoke, toolchain, vectors
from convert.compiled import compile_model
from convert.emulate import Transcript
from convert.errors import UsageError
from convert.features import Image, ImagePath, Normalise, Preprocessed, Series, SeriesPath, int8_values, render
from convert.paths import FIRMWARE

LABELS = ("still", 'a "b"', "forward elevation")
SERIES = Series(6, 50_000, 20, 8, Normalise((0, 100, -50, 0, 7, 3), (0.01, 0.02, 0.015, 0.01, 0.02, 0.03)))
IMAGE = Image(6, 5, True, False)
SMOOTHING = 2  # firmware/src/live_motion/app.c


def model(inputs: int, scale: float = 0.05, zero_point: int = 3) -> graph.Graph:
    """A dense layer and softmax of random weights."""
    rng = np.random.default_rng(inputs)
    tensors = [
        T((1, inputs), scale=scale, zero_point=zero_point, name="x"),
        T((3, inputs), data=rng.integers(-127, 128, (3, inputs)), scale=0.0015, zero_point=0),
        T((1, 3), scale=0.1, zero_point=-3),
        T((1, 3), scale=1 / 256, zero_point=-128, name="y"),
    ]
    ops = [
        Op("FULLY_CONNECTED", [0, 1, -1], [2], "FullyConnectedOptions"),
        Op("SOFTMAX", [2], [3], "SoftmaxOptions", {"beta": 1.0}),
    ]
    return graph.load(tflite(tensors, ops, [0], [3]))


def motion(samples: int = 150) -> Preprocessed:
    rng = np.random.default_rng(1)
    t = np.arange(samples)[:, None]
    signal = 3000 * np.sin(t / (4 + np.arange(6))) * (1 + t / 50 % 3) + rng.normal(0, 300, (samples, 6))
    recording = np.clip(np.rint(signal), -32768, 32767).astype(np.int16)
    return Preprocessed(SERIES, int8_values(5 / 128), recording)


IMAGES = Preprocessed(IMAGE, np.arange(256, dtype=np.float32) / np.float32(255))


def generate(folder: Path, board: boards.Board, environment: str, g: graph.Graph, known: Preprocessed) -> None:
    compiled = compile_model(g, board.target, "speed")
    image = project.Image(dict(compiled.render()), compiled.arena_bytes, compiled.weight_bytes)
    test = vectors.computed(g, 0)
    manifest = project.build_json(board, "small", {environment: "compiled"}, {"compiled": image}, test, "speed", None)
    project.write(folder / "generated", g, test, {"compiled": image}, manifest, live.files(g, known, LABELS))


def place(name: str) -> tuple[boards.Board, boards.Environment]:
    for board in map(boards.load, boards.names()):
        for entry in board.environments:
            if entry.name == name:
                if lacking := compilers.missing(board.tinyml.architecture):
                    pytest.skip(lacking)
                return board, entry
    raise AssertionError(name)


class Answer(NamedTuple):
    label: str
    score: int
    input: str
    output: str


LINE = re.compile(
    r'^#answer (\d+) label="(.*)" score=(\d+) input=([0-9a-f]{8}) output=([0-9a-f]+)(?: microseconds=\d+)?$'
)


def answers(text: str) -> list[Answer]:
    found = [LINE.match(line) for line in text.splitlines() if line.startswith("#answer")]
    assert all(found), text
    assert [int(m[1]) for m in found if m] == list(range(len(found)))
    return [Answer(m[2], int(m[3]), m[4], m[5]) for m in found if m]


def expected(g: graph.Graph, known: Preprocessed, features: npt.NDArray[np.generic], shift: int) -> list[Answer]:
    """What Python says: samples as training sees them, quantised as test vectors are, TFLite Micro's outputs."""
    real = known.values[features.view(np.uint8)].reshape(len(features), -1)
    inputs = vectors.quantize_inputs(g, real)
    outputs = golden.run(g, inputs, apart=True).outputs
    scores = live.smooth(outputs.view(np.int8), shift)
    return [
        Answer(
            LABELS[int(np.argmax(score))],
            int((int(score.max()) / 128 + 128) / 256 * 1000 + 0.5),
            f"{vectors.fnv1a32(row.tobytes()):08x}",
            output.tobytes().hex(),
        )
        for score, row, output in zip(scores, inputs, outputs, strict=True)
    ]


def run_motion(environment: str, folder: Path, g: graph.Graph, known: Preprocessed) -> Transcript:
    board, entry = place(environment)
    generate(folder, board, environment, g, known)
    firmware = toolchain.build(environment, folder, application="live_motion")
    return smoke.emulate(firmware.elf, board, entry, 120)


@pytest.mark.parametrize(
    "environment",
    ["qemu_m4", *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ("nano33_bare", "esp32c3_twin", "pico_bare"))],
)
def test_motion_answers_like_python(environment: str, tmp_path: Path) -> None:
    g, known = model(20 * 6), motion()
    transcript = run_motion(environment, tmp_path, g, known)
    assert known.recording is not None
    first = transcript.text.splitlines()[0]
    assert first.endswith("application=live_motion sensor=recording millihertz=50000")
    windows = SeriesPath(SERIES).windows(known.recording)
    assert len(windows) == 17
    found = answers(transcript.text)
    assert found == expected(g, known, windows, SMOOTHING)
    assert len({a.label for a in found}) > 1 and len({a.output for a in found}) > 10
    assert transcript.text.endswith("#done 17\n")


def test_a_sensor_of_another_rate_is_resampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """119 samples a second, as the LSM9DS1 gives, to the 50 of the training data."""
    monkeypatch.setenv("PLATFORMIO_BUILD_FLAGS", "-DLIVE_RECORDED_MILLIHERTZ=119000")
    g, known = model(20 * 6), motion(300)
    transcript = run_motion("qemu_m4", tmp_path, g, known)
    assert known.recording is not None
    # The mean of the input over the time of each output, to nearest, ties up.
    edges = np.arange(300 * 50 // 119 + 1) * 119
    whole = np.repeat(known.recording.astype(np.int64), 50, axis=0)
    sums = np.stack([whole[a:b].sum(0) for a, b in itertools.pairwise(edges)])
    slow = ((2 * sums + 119) // (2 * 119)).astype(np.int16)
    assert "millihertz=119000" in transcript.text
    assert answers(transcript.text) == expected(g, known, SeriesPath(SERIES).windows(slow), SMOOTHING)


def pgm(pixels: npt.NDArray[np.uint8], comment: str = "") -> bytes:
    return f"P5{comment}\n{pixels.shape[1]} {pixels.shape[0]}\n255\n".encode() + pixels.tobytes()


def test_images_over_the_serial_port(tmp_path: Path) -> None:
    """Images of any size, a comment, noise on the line, and headers that are none."""
    board, entry = place("qemu_m4")
    g = model(30, 1 / 255, -128)
    generate(tmp_path, board, "qemu_m4", g, IMAGES)
    firmware = toolchain.build("qemu_m4", tmp_path, application="live_fashion")
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, shape, np.uint8) for shape in ((5, 6), (1, 1), (64, 48), (33, 91))]
    emulator = import_module(f"convert.emulate.{entry.emulator}")
    with emulator.connect(firmware.elf, board, entry) as link:

        def ask(sent: bytes, line: str) -> str:
            text, end = b"", time.monotonic() + 60
            link.write(sent)
            while not re.search(rf"^{line}.*\n".encode(), text, re.MULTILINE):
                assert time.monotonic() < end, text
                text += link.read(1.0)
            return text.decode().replace("\r\n", "\n")

        text = ask(b"\x00\xffPX P 5", "#tinyml .* takes=PGM")
        for k, image in enumerate(images):
            text += ask(pgm(image, "\n# a comment\n" if k == 1 else ""), "#answer")
        assert "no PGM header" in ask(b"P5 a 3 255\n", "#refused")
        assert "pixels must go up to 255" in ask(b"P5 2 2 65535\nabcd", "#refused")
        assert "without pixels" in ask(b"P5 0 2 255\n", "#refused")
        text += ask(pgm(images[0]), "#answer")
        text += send_image.ask(link, images[2], "the emulator") + "\n"
    path = ImagePath(IMAGE)
    features = np.concatenate([path.resize(image[None]) for image in [*images, images[0], images[2]]])
    assert answers(text) == expected(g, IMAGES, features, 0)


# What cannot be


def test_every_feature_byte_becomes_the_vectors_byte() -> None:
    for g in (model(30, 1 / 255, -128), model(30, 0.07, 11)):
        table = live.to_model(g, int8_values(0.04))
        real = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32) * np.float32(0.04)
        for k in range(0, 256, 30):
            row = np.zeros((1, 30), np.float32)
            row[0, : len(real[k : k + 30])] = real[k : k + 30]
            assert np.array_equal(table[k : k + 30], vectors.quantize_inputs(g, row)[0, : len(table[k : k + 30])])


def test_a_model_without_classes_has_no_live_application() -> None:
    with pytest.raises(UsageError, match=r"one int8 output of 2 classes; output 'y' is int8 of 3"):
        live.files(model(30), IMAGES, LABELS[:2])


def test_live_applications_need_a_preprocessing(tmp_path: Path) -> None:
    board, _ = place("qemu_m4")
    g = model(30)
    generate(tmp_path, board, "qemu_m4", g, IMAGES)
    for path in (tmp_path / "generated" / "features").iterdir():
        path.unlink()
    (tmp_path / "generated" / "features").rmdir()
    with pytest.raises(Exception, match=r"application live_fashion needs a model whose recipe has a preprocessing"):
        toolchain.build("qemu_m4", tmp_path, application="live_fashion")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_an_application_says_which_recipe_it_needs(tmp_path: Path) -> None:
    for application, other, recipe in (("live_motion", IMAGE, "motion"), ("live_fashion", SERIES, "fashion")):
        for name, text in render(other).items():
            (tmp_path / name).write_text(text)
        include = [f"-I{FIRMWARE / place}" for place in ("include", "lib/features/include", "lib/live/include")]
        source = FIRMWARE / "src" / application / "app.c"
        command = ["gcc", "-fsyntax-only", *include, f"-I{tmp_path}", str(source)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert re.search(rf"{application} needs a recipe of .*; build with --recipe {recipe}", done.stderr)
