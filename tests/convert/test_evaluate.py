"""Evaluation of a small model on an emulated Cortex-M4, over every kind of line."""

import csv
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from models import dense, tflite

from convert import boards, build, evaluate, evaluation, profile_layers, samples, serial_port, toolchain
from convert import built as builds
from convert.errors import ToolError
from convert.evaluate import Job
from convert.samples import Samples
from convert.serial_client import Client, DeviceError

needs_emulator = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None,
    reason="needs gcc-arm-none-eabi and qemu-system-arm",
)
COUNT = 60


def command(*args: object) -> Result:
    return CliRunner().invoke(evaluate.main, [str(a) for a in args], catch_exceptions=False)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What build.py leaves of one dense layer."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "tiny.tflite").write_bytes(tflite(*dense()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "BUILD", folder / "build")
        arguments = ["--board", "qemu_m4", "--model", folder / "tiny.tflite", "--output", folder / "out", "--no-smoke"]
        result = CliRunner().invoke(build.main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "out"


@pytest.fixture(scope="module", autouse=True)
def built_once() -> Iterator[None]:
    """PlatformIO builds each application once and not for each test."""
    real, made = builds.Built.firmware, {}

    def firmware(self: builds.Built, application: str) -> toolchain.Firmware:
        key = (self.environment.name, application)
        if key not in made:
            made[key] = real(self, application)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builds.Built, "firmware", firmware)
        yield


@pytest.fixture(scope="module")
def data(output: Path) -> Path:
    """A test set whose labels are what the model says, every tenth one off by one."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-60, 60, (COUNT, 4)).astype(np.float32)
    path = output.parent / "data.npz"
    np.savez(path, x=x, y=np.zeros(COUNT, np.int64))
    built = builds.find("qemu_m4", output, None, None, None)
    test = evaluate.own_data(built, path)
    said = test.predicted(test.outputs)
    assert said is not None and len(set(said.tolist())) > 1
    said[::10] = (said[::10] + 1) % 3
    np.savez(path, x=x, y=said)
    return path


@needs_emulator
def test_the_whole_evaluation(output: Path, data: Path) -> None:
    result = command("--board", "qemu_m4", "--output", output, "--data", data)
    assert result.exit_code == 0, result.output
    assert "every byte of every output equal to the golden reference" in result.output
    folder = output / "evaluation" / "qemu_m4"
    found = json.loads((folder / "evaluation.json").read_text())
    assert found["samples"] == COUNT and found["differing"] == 0
    assert found["accuracy_host"] == found["accuracy_device"] == pytest.approx(0.9)
    matrix = np.array(found["confusion"])
    assert matrix.sum() == COUNT and np.trace(matrix) == COUNT - COUNT // 10
    latency = found["latency"]
    assert latency["unit"] == "instructions" and latency["samples"] == COUNT == sum(latency["bins"])
    assert 50 < latency["min"] <= latency["median"] <= latency["p95"] <= latency["max"] < 5000
    rows = list(csv.reader((folder / "confusion.csv").open()))
    assert rows[0] == ["label", "0", "1", "2"] and [int(n) for n in rows[1][1:]] == matrix[0].tolist()
    for name in ("confusion.png", "latency.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    page = (folder / "evaluation.md").read_text()
    assert "90.00 %" in page and "![Confusion matrix](confusion.png)" in page
    assert not (folder / "answers.bin").exists()


@needs_emulator
def test_without_data_the_test_vectors_are_compared(output: Path) -> None:
    result = command("--board", "qemu_m4", "--output", output)
    assert result.exit_code == 0, result.output
    found = json.loads((output / "evaluation" / "qemu_m4" / "evaluation.json").read_text())
    assert (found["samples"], found["accuracy_device"], found["confusion"]) == (21, None, [])
    assert not (output / "evaluation" / "qemu_m4" / "confusion.png").exists()


def changed(output: Path, folder: Path, **about: object) -> Path:
    """A copy of the output folder with another test set: one golden byte, or what is said of the model."""
    shutil.copytree(output, folder, ignore=shutil.ignore_patterns("evaluation", "pio"))
    test = samples.load(folder, "")
    outputs = test.outputs.copy()
    if not about:
        outputs[7, 2] ^= 64
    known = samples.About(**{**vars(test.about), **about})  # type: ignore[arg-type]
    Samples(known, test.inputs, outputs, test.labels).save(folder)
    return folder


@needs_emulator
def test_a_differing_byte_is_exit_code_4(output: Path, tmp_path: Path) -> None:
    result = command("--board", "qemu_m4", "--output", changed(output, tmp_path / "out"))
    assert result.exit_code == 4, result.output
    assert "1 of 21 samples DIFFER" in result.output and "sample 7: output byte 2 is" in result.output
    page = (tmp_path / "out" / "evaluation" / "qemu_m4" / "evaluation.md").read_text()
    assert "| 7 | 2 |" in page


@needs_emulator
def test_firmware_of_another_model_is_refused(output: Path, tmp_path: Path) -> None:
    folder = changed(output, tmp_path / "out", sha256="f" * 64)
    result = command("--board", "qemu_m4", "--output", folder)
    assert result.exit_code == 2, result.output
    assert re.search(
        r"runs model 'tiny' \(\w{16}\), not 'tiny' \(f{16}\) .* pio run -e qemu_m4 -t upload", result.output
    )


@needs_emulator
def test_an_interrupted_run_goes_on(output: Path, data: Path) -> None:
    built = builds.find("qemu_m4", output, None, None, None)
    test, job = evaluate.own_data(built, data), Job("emulator", None, 0)

    def stop(done: int, _total: int) -> None:
        if done == 25:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate(built, test, job, stop)
    kept = output / "evaluation" / "qemu_m4" / "answers.bin"
    with kept.open("ab") as file:
        file.write(b"half")  # of a record that was cut off
    seen: list[int] = []
    result = evaluate.evaluate(built, test, job, lambda done, _: seen.append(done))
    assert seen == list(range(25, COUNT + 1))
    assert result.equal and result.samples == COUNT and result.line.requests == COUNT - 25 + 1
    assert result.latency is not None and result.latency.samples == COUNT
    seen.clear()
    evaluate.evaluate(built, test, job, lambda done, _: seen.append(done))
    assert seen[0] == 0, "a complete evaluation begins anew"


# Lines that are not pipes


@contextmanager
def running(output: Path, *serial: str) -> Iterator["subprocess.Popen[str]"]:
    """The firmware in QEMU, its serial port elsewhere; without icount, so it counts nothing of use."""
    image = builds.find("qemu_m4", output, None, None, None).firmware("serve").elf
    options = ["-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", *serial, "-kernel", str(image)]
    process = subprocess.Popen(["qemu-system-arm", *options], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@needs_emulator
def test_over_tcp(output: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    with running(output, f"tcp:127.0.0.1:{number},server=on,wait=off"):
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", number)) == 0:
                    break
            time.sleep(0.05)
        result = command("--board", "qemu_m4", "--output", output, "--port", f"socket://127.0.0.1:{number}")
    assert result.exit_code == 0, result.output
    found = json.loads((output / "evaluation" / "qemu_m4-device" / "evaluation.json").read_text())
    assert (found["samples"], found["differing"], found["emulator"]) == (21, 0, None)


@needs_emulator
def test_over_a_terminal_device(output: Path) -> None:
    with running(output, "pty") as process:
        assert process.stdout is not None
        place = re.search(r"redirected to (\S+)", process.stdout.readline())
        assert place is not None
        result = command("--board", "qemu_m4", "--output", output, "--port", place[1], "--samples", 5)
        assert result.exit_code == 0, result.output
        assert "5 of 21" in result.output


def test_another_application_on_the_port() -> None:
    """A terminal device on which something prints lines again and again."""
    master, slave = pty.openpty()
    name, ended = os.ttyname(slave), threading.Event()

    def prints() -> None:
        while not ended.wait(0.02):
            os.write(master, b"#tinyml 1 board=qemu_m4 runtime=compiled\n")

    printer = threading.Thread(target=prints)
    printer.start()
    try:
        message = r"another firmware runs on .*: it prints '#tinyml 1 board=qemu_m4.*TINYML_APPLICATION=serve pio run"
        with serial_port.open_port(name, 115200) as port, pytest.raises(DeviceError, match=message):
            Client(port, name).hello(0.5)
    finally:
        ended.set()
        printer.join()
        os.close(master)
        os.close(slave)


# Every board that an emulator runs


EMULATED = [
    (board, e.name) for board in boards.names() for e in boards.load(board).environments if e.emulator is not None
]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("board", "environment"), EMULATED, ids=[name for _, name in EMULATED])
def test_every_emulated_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str, environment: str) -> None:
    """Its firmware answers to the protocol, and its layers add up or it is said why they are not measured."""
    model = tmp_path / "tiny.tflite"
    model.write_bytes(tflite(*dense()))
    monkeypatch.setattr(build, "BUILD", tmp_path / "build")
    monkeypatch.setattr(build, "_build", lambda *_: None)
    common = ["--board", board, "--environment", environment, "--output", str(tmp_path / "out")]
    made = CliRunner().invoke(build.main, [*common, "--model", str(model), "--no-smoke", "--runtime", "compiled"])
    assert made.exit_code == 0, made.output
    result = command(*common, "--samples", 5)
    if "passes no bytes to the serial port" in result.output:
        assert result.exit_code == 5 and "take --environment" in result.output
        pytest.skip(result.output.strip())
    assert result.exit_code == 0, result.output
    assert "5 of 21" in result.output and "every byte of every output equal" in result.output
    profiled = CliRunner().invoke(profile_layers.main, common, catch_exceptions=False)
    assert profiled.exit_code == 0 or "counts no instructions on this board" in profiled.output, profiled.output


# What is not there


def test_nothing_built_names_the_command(tmp_path: Path) -> None:
    result = command("--board", "qemu_m4", "--output", tmp_path / "none")
    assert result.exit_code == 2
    assert "nothing is built in" in result.output and "convert/build.py --board qemu_m4 --output" in result.output
    result = command("--board", "qemu_m4", "--recipe", "no_such")
    assert result.exit_code == 2 and "run: python convert/build.py --board qemu_m4 --recipe no_such" in result.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--board", "nano34"), "unknown board 'nano34'"),
        (("--board", "qemu_m4", "--recipe", "a", "--model", "b"), "exclude each other"),
        (("--board", "qemu_m4", "--samples", "0"), "--samples"),
        ((), "--board"),
    ],
)
def test_wrong_use_is_exit_code_2(args: tuple[str, ...], message: str) -> None:
    result = command(*args)
    assert result.exit_code == 2 and message in result.output


def test_a_wrong_environment_or_board(output: Path) -> None:
    result = command("--board", "qemu_m4", "--output", output, "--environment", "uno")
    assert result.exit_code == 2 and "has no environment 'uno'; allowed are qemu_m4" in result.output
    result = command("--board", "nano33", "--output", output)
    assert result.exit_code == 2 and "was built for board qemu_m4, not nano33" in result.output


@pytest.mark.parametrize(
    ("defect", "arrays", "message"),
    [
        ("no_x", {"z": np.zeros(3)}, "is no .npz with the arrays x and y"),
        ("no_samples", {"x": np.zeros((0, 4)), "y": np.zeros(0)}, "a label a sample is needed"),
        ("too_few_labels", {"x": np.zeros((3, 4)), "y": np.zeros(2)}, "a label a sample is needed"),
        ("wrong_shape", {"x": np.zeros((3, 5)), "y": np.zeros(3)}, "do not fit the model's input"),
        ("unknown_class", {"x": np.zeros((3, 4)), "y": np.full(3, 3)}, "labels go up to 3; the model gives 3 scores"),
        ("no_classes", {"x": np.zeros((3, 4)), "y": np.full(3, -1)}, "labels go down to -1"),
    ],
)
def test_data_that_does_not_fit(
    output: Path, tmp_path: Path, defect: str, arrays: dict[str, np.ndarray], message: str
) -> None:
    path = tmp_path / f"{defect}.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    result = command("--board", "qemu_m4", "--output", output, "--data", path)
    assert result.exit_code == 2 and message in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("port", "message"),
    [
        ("/dev/ttyNoSuchPort", "there is no serial port /dev/ttyNoSuchPort; this machine has"),
        ("socket://127.0.0.1:1", "socket://127.0.0.1:1 cannot be reached: .*; is something listening there"),
        ("carrier-pigeon://coop", "port 'carrier-pigeon://coop' cannot be opened: .*; allowed are emulator, a device"),
    ],
)
def test_ports_that_are_not_there(output: Path, port: str, message: str) -> None:
    start = time.monotonic()
    result = command("--board", "qemu_m4", "--output", output, "--port", port)
    assert result.exit_code == 5 and re.search(message, result.output.replace("\n", " ")), result.output
    assert time.monotonic() - start < 3


def test_a_busy_port() -> None:
    master, slave = pty.openpty()
    try:
        name = os.ttyname(slave)
        with (
            serial_port.open_port(name, 115200),
            pytest.raises(ToolError, match=f"port {name} is busy: another program"),
        ):
            serial_port.open_port(name, 115200)
    finally:
        os.close(master)
        os.close(slave)


# Figures


def test_a_distribution() -> None:
    amounts = np.array([-1, *range(1, 101)])
    found = evaluation.latency(amounts, "microseconds", "here")
    assert found is not None
    assert (found.samples, found.min, found.median, found.p95, found.max) == (100, 1, 50.5, 95, 100)
    assert sum(found.bins) == 100 and len(found.edges) == len(found.bins) + 1
    assert evaluation.latency(np.array([-1, -1]), "cycles", "here") is None
    single = evaluation.latency(np.array([7]), "cycles", "here")
    assert single is not None and single.bins == (1,) and single.p95 == 7


def test_what_is_counted_from_outside() -> None:
    assert list(evaluation.counted_from_outside(10, 2, 0)) == [True, False, False, False, False] * 2
    assert list(evaluation.counted_from_outside(10, 2, 4)) == [False, True, False, False, False, False]
    assert list(evaluation.counted_from_outside(3, 0, 0)) == [False] * 3
    assert list(evaluation.counted_from_outside(2, 5, 0)) == [True, True]
