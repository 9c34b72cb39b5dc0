"""A board that takes new weights in the field: the real firmware in emulators, over the serial protocol."""

import importlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial_device
from click.testing import CliRunner
from fake import need
from tflite_builder import Sweep

from convert import boards, golden, graph, toolchain, vectors, weights
from convert import build as build_command
from convert.emulate.nvmc import Cut
from convert.errors import UsageError
from convert.serial_client import Client, DeviceError
from convert.split import build, client, header

BOARDS = {"nano33": "unicorn_nrf52840", "qemu_m4": "qemu_mps2"}
OLD, NEW = 1, 2  # seeds of the models
pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("arm-none-eabi-g++") is None,
    reason="needs gcc-arm-none-eabi",
)


def net(seed: int) -> bytes:
    """A small network, its weights drawn anew for each seed."""
    s = Sweep(seed)
    x = s.conv(s.input((1, 8, 8, 2)), 8, (3, 3), (2, 2), activation="relu")
    x = s.depthwise(x, 1, (3, 3), activation="relu")
    x = s.dense(s.reshape(x, (1, 128)), 10)
    s.add(x, s.tensor((1, 10), data=list(range(seed, seed + 10))), 0.1)
    return bytes(s.build(ends_only=True).data)


@dataclass
class Built:
    """A split build, an image for it, and what the old and the new model answer to the same inputs."""

    board: boards.Board
    output: Path
    serve: Path
    image: bytes
    inputs: np.ndarray
    old: np.ndarray
    new: np.ndarray

    @property
    def environment(self) -> boards.Environment:
        assert self.board.tinyml.bare is not None
        return self.board.tinyml.bare

    def connect(self) -> Any:
        return importlib.import_module(f"convert.emulate.{BOARDS[self.board.id]}").connect(
            self.serve, self.board, self.environment
        )

    def answers(self, to: Client) -> list[bytes]:
        return [to.infer(row.tobytes(), self.old.shape[1]).outputs for row in self.inputs]

    def rows(self, outputs: np.ndarray) -> list[bytes]:
        return [row.tobytes() for row in outputs]


def make(board: str, root: Path, key: Path | None = None) -> Built:
    """Build, with the usual smoke test, and pack an image."""
    need(*(["qemu-system-arm"] if board == "qemu_m4" else []))
    output, model = root / board, root / "old.tflite"
    root.mkdir(exist_ok=True)
    model.write_bytes(net(OLD))
    words = ["--board", board, "--model", model, "--split-weights", "--vectors", 3, "--output", output]
    words += [] if key is None else ["--sign", key]
    result = CliRunner().invoke(build_command.main, [str(w) for w in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "every byte equal to TFLite Micro" in result.output
    old, new = graph.load(net(OLD)), graph.load(net(NEW))
    inputs = vectors.computed(old, 2).inputs
    image = build.pack(build.load(output), new, 2, {}, key)
    environment = boards.load(board).tinyml.bare
    assert environment is not None
    serve = toolchain.build(environment.name, output, output / "pio-serve.log", application="serve").elf
    outputs = [golden.run(g, inputs).outputs for g in (old, new)]
    return Built(boards.load(board), output, serve, image, inputs, *outputs)


@pytest.fixture(scope="module")
def folder(build_folder: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del build_folder
    return tmp_path_factory.mktemp("split")


@pytest.fixture(scope="module")
def nano(folder: Path) -> Built:
    return make("nano33", folder)


@pytest.fixture(scope="module")
def qemu(folder: Path) -> Built:
    return make("qemu_m4", folder)


@pytest.fixture(params=["nano", "qemu"])
def built(request: pytest.FixtureRequest) -> Built:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Built)
    return found


def test_a_new_model_over_the_serial_line(built: Built) -> None:
    with built.connect() as link:
        to = Client(link, "test")
        to.hello()
        assert built.answers(to) == built.rows(built.old)
        before = client.slots(to)
        assert (before.present, before.sequence) == (0, 1)
        sent: list[int] = []
        after = client.send(to, built.image, sent.append)
        assert sent[-1] == len(built.image) - header.BYTES
        assert (after.present, after.sequence) == (1, 2)
        info = to.hello()
        assert info.model_hash == graph.load(net(NEW)).sha256[:16]
        assert built.answers(to) == built.rows(built.new) != built.rows(built.old)
        with pytest.raises(UsageError, match="make it again with --sequence 3"):
            client.send(to, built.image, sent.append)


def changed(image: bytes, at: int) -> bytes:
    return image[:at] + bytes([image[at] ^ 1]) + image[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda image: changed(image, 40), "the image is for another firmware: its graph hash differs"),
        (lambda image: changed(image, 300), "the image is damaged: its CRC is wrong"),
        (lambda image: image[:-16], "the image ends early"),
        (lambda image: b"\xff" * len(image), "no image, or one whose writing did not end"),
    ],
)
def test_the_device_refuses_and_keeps_its_model(built: Built, damage: Any, reason: str) -> None:
    """What the host's own check would find first: here the device is asked."""
    with built.connect() as link:
        to = Client(link, "test")
        to.hello()
        with pytest.raises(DeviceError) as e:
            client.transfer(to, damage(built.image), lambda _: None)
        assert str(e.value) == f"the device on test keeps the model it has: {reason}"
        assert built.answers(to) == built.rows(built.old)
        client.send(to, built.image, lambda _: None)
        assert built.answers(to) == built.rows(built.new)


def test_an_older_image_is_refused(built: Built) -> None:
    found = header.read(built.image)
    older = header.make(built.image[header.BYTES :], 1, found.model, found.graph, None)
    with built.connect() as link:
        to = Client(link, "test")
        to.hello()
        with pytest.raises(DeviceError, match="the image is not newer than the present one"):
            client.transfer(to, older, lambda _: None)
        assert built.answers(to) == built.rows(built.old)


def test_a_board_without_a_whole_model_takes_one(nano: Built) -> None:
    with nano.connect() as link:
        nvmc, size = link.machine.nvmc, 2 * build.load(nano.output).slot_bytes
        link.machine.uc.mem_write(nvmc.flash.stop - size, b"\xff" * size)
        to = Client(link, "test")
        with pytest.raises(DeviceError, match="the model failed on test: no whole model: slot 0: empty; slot 1: empty"):
            to.hello()
        assert client.slots(to).present is None
        assert client.send(to, nano.image, lambda _: None).present == 0
        to.hello()
        assert nano.answers(to) == nano.rows(nano.new)


def test_a_line_that_loses_and_changes_bytes(nano: Built) -> None:
    """What gets lost is sent again; what was written already is taken again and not written twice."""
    with nano.connect() as link:
        noisy = serial_device.Noisy(link, 3, (0.0003, 0.0003, 0.0002, 0.0002))
        to = Client(noisy, "test", patience=0.02)
        after = client.send(to, nano.image, lambda _: None)
        assert noisy.faults > 3 and to.statistics.repeated > 0
        assert after.sequence == 2
        quiet = Client(link, "test")
        assert nano.answers(quiet) == nano.rows(nano.new)


def power(nano: Built, flash: bytes | None, cut: Cut | None) -> tuple[bytes, int, bool]:
    """Power comes, an update is tried, power goes: the flash, its operations, whether it went during them."""
    with nano.connect() as link:
        nvmc = link.machine.nvmc
        if flash is not None:
            link.machine.uc.mem_write(nvmc.flash.start, flash)
        nvmc.cut = cut
        to = Client(link, "test", patience=0.01, limit=1 if cut else 12)
        try:
            client.transfer(to, nano.image, lambda _: None)
        except DeviceError:
            assert nvmc.dark
        return bytes(link.machine.uc.mem_read(nvmc.flash.start, len(nvmc.flash))), nvmc.operations, nvmc.dark


def after_reset(nano: Built, flash: bytes) -> tuple[list[bytes], int]:
    with nano.connect() as link:
        link.machine.uc.mem_write(link.machine.nvmc.flash.start, flash)
        to = Client(link, "test")
        to.hello()
        return nano.answers(to), client.slots(to).sequence


def cut(nano: Built, cuts: Iterable[int]) -> None:
    """After each cut the board boots with the old model; after the last one it takes the update again."""
    flash = b""
    for after in cuts:
        flash, _, dark = power(nano, None, Cut(after, seed=after))
        assert dark
        found, sequence = after_reset(nano, flash)
        assert (found, sequence) == (nano.rows(nano.old), 1), after
    flash, _, dark = power(nano, flash, None)
    assert not dark
    assert after_reset(nano, flash) == (nano.rows(nano.new), 2)


def operations(nano: Built) -> int:
    _, total, _ = power(nano, None, None)
    assert total == len(nano.image) // 4 + -(-len(nano.image) // 4096)
    return total


def test_power_cuts_of_the_real_firmware(nano: Built) -> None:
    """First and last operations and some between."""
    total = operations(nano)
    cut(nano, [*range(3), *range(3, total - 34, total // 12), *range(total - 34, total)])


@pytest.mark.exhaustive
def test_every_power_cut_of_the_real_firmware(nano: Built) -> None:
    cut(nano, range(operations(nano)))


def test_signed_weights(folder: Path) -> None:
    root = folder / "signed"
    root.mkdir()
    assert CliRunner().invoke(weights.main, ["key", str(root / "key")]).exit_code == 0
    made = make("nano33", root, root / "key")
    payload, found = made.image[header.BYTES :], header.read(made.image)
    with made.connect() as link:
        to = Client(link, "test")
        to.hello()
        for secret, reason in ((None, "the image is not signed"), (bytes(32), "signature is not that of this")):
            with pytest.raises(DeviceError, match=reason):
                client.transfer(to, header.make(payload, 2, found.model, found.graph, secret), lambda _: None)
            assert made.answers(to) == made.rows(made.old)
        client.send(to, made.image, lambda _: None)
        assert made.answers(to) == made.rows(made.new)


def test_a_firmware_that_holds_its_weights_says_so(tmp_path: Path) -> None:
    program, words = serial_device.build(tmp_path), "the firmware on test holds its weights itself"
    with serial_device.Process(program) as link, pytest.raises(DeviceError, match=words):
        client.slots(Client(link, "test"))


@pytest.mark.parametrize(
    ("slot_bytes", "linked"), [(499712, False), (487424, True)], ids=["before the build", "after linking"]
)
def test_slots_that_leave_no_room_for_the_firmware(slot_bytes: int, linked: bool, folder: Path) -> None:
    root = folder / f"crowded{slot_bytes}"
    root.mkdir()
    (root / "old.tflite").write_bytes(net(OLD))
    words = ["--board", "nano33", "--model", root / "old.tflite", "--split-weights", "--slot-bytes", slot_bytes]
    words += ["--output", root / "out"]
    result = CliRunner().invoke(build_command.main, [str(w) for w in words], catch_exceptions=False)
    assert result.exit_code == 3, result.output
    assert "flash of Arduino Nano 33 BLE is exceeded by" in result.output
    assert f"weights {2 * slot_bytes:,} B" in result.output
    assert (root / "out" / "pio.log").is_file() == linked


def test_the_command_sends(built: Built, tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(built.image)
    words = ["send", str(file), "--port", "emulator", "--firmware", str(built.output)]
    result = CliRunner().invoke(weights.main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (
        f"emulator now runs model {header.read(built.image).model.hex()} from slot 1, sequence number 2"
        in result.output
    )
