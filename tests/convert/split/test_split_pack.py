"""Images for a firmware that is there: kernels that are kept to, and every refusal's sentence."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from models import Op, T, tflite
from split_host import other_weights

from convert import boards, graph, weights
from convert import build as build_command
from convert.compress import NONE, Compress
from convert.errors import UsageError
from convert.graph import Graph
from convert.split import build, ed25519, header

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or shutil.which("arm-none-eabi-g++") is None,
    reason="needs gcc-arm-none-eabi",
)
NANO = boards.load("nano33")
COLUMNS = 2000  # so many that large weights leave a kernel's 24 bits


def net(amplitude: int, seed: int = 1, columns: int = COLUMNS, rows: int = 8) -> bytes:
    """One dense layer with weights up to `amplitude`."""
    source = np.random.default_rng(seed)
    values = source.integers(-amplitude, min(amplitude, 127) + 1, (rows, columns))
    tensors = [
        T((1, columns), name="x"),
        T((rows, columns), data=values, scale=0.01, name="weights"),
        T((rows,), "i4", data=np.arange(rows) * 10, scale=0.005, name="bias"),
        T((1, rows), scale=0.3 * amplitude, zero_point=3, name="y"),
    ]
    return tflite(tensors, [Op("FULLY_CONNECTED", [0, 1, 2], [3], "FullyConnectedOptions")], [0], [3])


def firmware(data: bytes, folder: Path, split: build.Split | None = None, compress: Compress = NONE) -> Path:
    """What a split build leaves in its output folder, without the firmware itself."""
    folder.mkdir()
    build.produce(NANO, graph.load(data), "speed", compress, {}, split or build.Split(), folder)
    (folder / "model.tflite").write_bytes(data)
    return folder


def command(*args: object) -> Result:
    return CliRunner().invoke(weights.main, [str(a) for a in args], catch_exceptions=False)


def kernels(g: Graph, folder: Path | None) -> list[str | None]:
    pinned = None if folder is None else build.load(folder).plan.kernels
    return [layer.kernel for layer in build.compile_split(NANO, g, "speed", NONE, pinned).lowered]


def test_kernels_are_those_of_the_firmware_where_the_weights_allow_it(tmp_path: Path) -> None:
    """Weights of -128 beside negative ones leave only the portable kernel; what others would gain is left aside."""
    folder, new = firmware(net(128), tmp_path / "firmware"), graph.load(net(60))
    assert kernels(new, folder) == ["kernels_matmul_s8"] != kernels(new, None)
    made = build.pack(build.load(folder), new, 2, {}, None)
    assert header.check(made, build.load(folder).plan.hash).sequence == 2


def test_a_firmware_for_any_weights(tmp_path: Path) -> None:
    folder = firmware(net(60), tmp_path / "firmware", build.Split(any_weights=True))
    for amplitude in (1, 60, 127, 128):
        made = build.pack(build.load(folder), graph.load(net(amplitude)), 2, {}, None)
        assert header.check(made, build.load(folder).plan.hash).sequence == 2


@pytest.mark.parametrize("mode", ["int4", "bitmap", "rans"])
def test_streams_of_other_weights_go_into_the_same_firmware(mode: str, tmp_path: Path) -> None:
    folder = firmware(net(7), tmp_path / "firmware", compress=Compress(mode))
    new = graph.load(net(7, seed=2))
    kept = kernels(new, folder)
    assert kept == kernels(graph.load(net(7)), folder) != kernels(new, None)
    made = build.pack(build.load(folder), new, 2, {}, None)
    assert header.check(made, build.load(folder).plan.hash).sequence == 2
    with pytest.raises(UsageError, match="this model needs new firmware"):
        build.pack(build.load(folder), graph.load(net(127) if mode == "int4" else net(7, columns=8)), 2, {}, None)


def test_formats_are_not_for_any_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave one of them out"):
        firmware(net(7), tmp_path / "firmware", build.Split(any_weights=True), Compress("int4"))


def test_weights_that_a_kernel_cannot_take_need_new_firmware(tmp_path: Path) -> None:
    folder = firmware(net(60), tmp_path / "small")
    (tmp_path / "new.tflite").write_bytes(net(127))
    result = command("pack", "--firmware", folder, "--model", tmp_path / "new.tflite", "--sequence", 2)
    assert result.exit_code == 2
    assert result.output == (
        "error: this model needs new firmware: operator 0 (FULLY_CONNECTED) takes the kernel "
        "kernels_m4_dense_long_tensor_s8 and the firmware calls kernels_m4_dense_direct_tensor_s8; build it with: "
        "python convert/build.py --split-weights\n"
    )


def test_an_image_is_packed_checked_and_the_same_each_time(tmp_path: Path) -> None:
    folder = firmware(net(60), tmp_path / "firmware")
    other = firmware(other_weights(net(60), 1), tmp_path / "other")
    out = [tmp_path / name for name in ("a.bin", "b.bin")]
    for model, path in zip((other, other / "model.tflite"), out, strict=True):
        result = command("pack", "--firmware", folder, "--model", model, "--sequence", 7, "--output", path)
        assert result.exit_code == 0, result.output
        assert "sequence number 7" in result.output and "not signed" in result.output
    assert out[0].read_bytes() == out[1].read_bytes()
    shown = command("check", out[0], "--firmware", folder)
    assert shown.exit_code == 0, shown.output
    assert shown.output.endswith(f"whole, and for the firmware in {folder}\n")
    # The first image of either build differs from what is packed in the sequence number and what follows from it.
    assert (other / "weights.bin").read_bytes()[128:] == out[0].read_bytes()[128:]


def test_signatures(tmp_path: Path) -> None:
    keys = [tmp_path / "key", tmp_path / "other_key"]
    for path in keys:
        made = command("key", path)
        assert made.exit_code == 0 and path.stat().st_mode & 0o777 == 0o600
        assert made.output.strip().endswith(ed25519.public_key(bytes.fromhex(path.read_text())).hex())
    again = command("key", keys[0])
    assert again.exit_code == 2 and "exists, and a key that is overwritten is lost" in again.output
    folder = firmware(net(60), tmp_path / "firmware", build.Split(keys[0]))
    out = tmp_path / "weights.bin"
    pack = ("pack", "--firmware", folder, "--model", folder, "--sequence", 2, "--output", out)
    assert "give it with --sign KEYFILE" in command(*pack).output
    assert "other_key holds another one" in command(*pack, "--sign", keys[1]).output
    assert not out.exists()
    assert command(*pack, "--sign", keys[0]).exit_code == 0
    assert command("check", out, "--firmware", folder).exit_code == 0
    unsigned = firmware(net(60), tmp_path / "unsigned")
    assert command("check", unsigned / "weights.bin", "--firmware", folder).output == (
        "error: this weights image is not signed and the firmware asks for it; make it with --sign KEYFILE\n"
    )
    foreign = firmware(net(60), tmp_path / "foreign", build.Split(keys[1]))
    assert command("check", foreign / "weights.bin", "--firmware", folder).output == (
        "error: this weights image's signature is not that of the key; sign it with the firmware's key\n"
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda image: image[:-4], "this weights image is cut or has grown"),
        (lambda image: image + b"....", "this weights image is cut or has grown"),
        (lambda image: image[:100], "a weights image has at least 128 bytes and this file has 100"),
        (lambda image: b"TFL3" + image[4:], "this is no weights image: it does not begin with TMLW"),
        (lambda image: image[:4] + b"\2" + image[5:], "this weights image has format 2"),
        (lambda image: image[:-1] + bytes([image[-1] ^ 1]), "this weights image is damaged: its CRC is wrong"),
        (lambda image: image[:16] + b"\5" + image[17:], "this weights image is damaged: its CRC is wrong"),
    ],
)
def test_files_that_are_no_whole_image(damage: object, message: str, tmp_path: Path) -> None:
    whole = header.make(bytes(256), 1, bytes(32), bytes(32), None)
    path = tmp_path / "weights.bin"
    path.write_bytes(damage(whole))  # type: ignore[operator]
    for arguments in (("check", path), ("send", path, "--port", "emulator")):
        result = command(*arguments)
        assert result.exit_code == 2
        assert message in result.output and "Traceback" not in result.output


def test_an_image_for_another_firmware(tmp_path: Path) -> None:
    folder = firmware(net(60), tmp_path / "firmware")
    path = tmp_path / "weights.bin"
    path.write_bytes(header.make(bytes(256), 1, bytes(32), bytes(32), None))
    result = command("check", path, "--firmware", folder)
    assert result.exit_code == 2
    assert "this weights image is for another firmware: its graph hash is 0000000000000000" in result.output


def test_what_is_no_split_build(tmp_path: Path) -> None:
    result = command("pack", "--firmware", tmp_path, "--model", tmp_path, "--sequence", 2)
    assert result.exit_code == 2
    assert "holds no model.tflite" in result.output
    (tmp_path / "model.tflite").write_bytes(net(60))
    result = command("pack", "--firmware", tmp_path, "--model", tmp_path, "--sequence", 2)
    assert "does not tell of a firmware whose weights lie apart" in result.output
    folder = firmware(net(60), tmp_path / "firmware")
    manifest = folder / build.MANIFEST
    manifest.write_text(manifest.read_text().replace('"arena_bytes": ', '"arena_bytes": 1'))
    with pytest.raises(UsageError, match="was changed by hand"):
        build.load(folder)


def test_an_image_that_is_larger_than_a_slot(tmp_path: Path) -> None:
    folder = firmware(net(60), tmp_path / "firmware")
    known = build.load(folder)
    manifest = folder / build.MANIFEST
    manifest.write_text(manifest.read_text().replace(f'"slot_bytes": {known.slot_bytes}', '"slot_bytes": 4096'))
    result = command("pack", "--firmware", folder, "--model", folder, "--sequence", 2)
    assert result.exit_code == 3
    assert "and a slot of the firmware 4,096 B" in result.output


@pytest.mark.parametrize(
    ("size", "message"), [(4096, "take --slot-bytes 16384"), (20481, "flash pages of 4,096 B"), (20480, "")]
)
def test_slots_are_whole_pages_with_room(size: int, message: str, tmp_path: Path) -> None:
    if not message:
        assert build.load(firmware(net(60), tmp_path / "firmware", build.Split(None, size))).slot_bytes == size
        return
    with pytest.raises(UsageError) as e:
        firmware(net(60), tmp_path / "firmware", build.Split(None, size))
    assert message in str(e.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--board", "uno", "--split-weights"),
            "cannot keep weights apart from the firmware; --split-weights goes with",
        ),
        (
            ("--board", "pico", "--split-weights"),
            "cannot keep weights apart from the firmware; --split-weights goes with",
        ),
        (("--board", "qemu_m4", "--slot-bytes", "4096"), "add --split-weights"),
    ],
)
def test_builds_that_cannot_be_split(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(net(60))
    words = [*arguments, "--model", str(tmp_path / "net.tflite"), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(build_command.main, words, catch_exceptions=False)
    assert result.exit_code == 2, result.output
    assert message in result.output


def test_a_board_without_slots_is_refused_where_nothing_can_be_built() -> None:
    with pytest.raises(UsageError, match="board uno cannot keep weights apart from the firmware; --split-weights goes"):
        build.check(boards.load("uno"), None, "auto")
    build.check(NANO, None, "auto")
    assert NANO.tinyml.bare is not None and NANO.tinyml.official is not None
    build.check(NANO, NANO.tinyml.bare, "compiled")
    with pytest.raises(UsageError, match="board nano33, environment nano33, cannot keep weights apart"):
        build.check(NANO, NANO.tinyml.official, "compiled")
    with pytest.raises(UsageError, match="goes with the compiled runtime, not with tflm; add --runtime compiled"):
        build.check(NANO, NANO.tinyml.bare, "tflm")


def test_a_sequence_number_that_is_none() -> None:
    with pytest.raises(UsageError, match="sequence number 0 is none; allowed are 1 to 4294967295"):
        header.make(b"", 0, bytes(32), bytes(32), None)
