"""The serial protocol: the firmware's C on this machine against the host's Python, over good lines and bad ones."""

import ctypes
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import serial_device
from hypothesis import given, settings
from hypothesis import strategies as st
from serial_device import FIGURES, INPUT_BYTES, OUTPUT_BYTES, SERIAL, Noisy, Process, answer

from convert import evaluate, evaluation
from convert import serial_protocol as protocol
from convert.built import Session
from convert.compiled import host
from convert.evaluate import Job
from convert.samples import About, Samples
from convert.serial_client import Client, DeviceError
from convert.serial_protocol import Code, Command, Counters, Flags, Region

CONTENTS = st.one_of(
    st.binary(max_size=700),
    st.lists(st.sampled_from([0, 1, 255]), max_size=700).map(bytes),
    st.integers(250, 260).flatmap(lambda n: st.integers(1, 255).map(lambda b: bytes([b]) * n)),
    st.integers(500, 515).flatmap(lambda n: st.binary(max_size=3).map(lambda tail: b"\x07" * n + tail)),
)


# Frames, C against Python


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("frames") / "frame.so"
    flags = ["-std=c99", "-O1", *host.WARNINGS, "-shared", "-fPIC", f"-I{SERIAL / 'include'}"]
    host.call([host.compiler(), *flags, str(SERIAL / "src" / "frame.c"), "-o", str(library)], "compiling the frames")
    return ctypes.CDLL(str(library))


class Piece(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_char_p), ("count", ctypes.c_size_t)]


WRITE = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_char), ctypes.c_size_t)


def send_in_c(frames: ctypes.CDLL, parts: list[bytes]) -> bytes:
    out = bytearray()
    write = WRITE(lambda data, count: out.extend(ctypes.string_at(data, count)))
    pieces = (Piece * (len(parts) + 1))(*(Piece(part, len(part)) for part in parts))
    frames.frame_send(pieces, len(parts) + 1, write)
    return bytes(out)


def decode_in_c(frames: ctypes.CDLL, line: bytes) -> list[bytes | None]:
    """Contents with their checksums, None where a frame is cut."""
    decoder = (ctypes.c_uint8 * 2)()
    frames.frame_decoder_start(decoder)
    found: list[bytes | None] = []
    content = bytearray()
    for byte in line:
        got = frames.frame_decode(decoder, ctypes.c_uint8(byte))
        if got >= 0:
            content.append(got)
        elif got != -1:
            found.append(bytes(content) if got == -2 else None)
            content.clear()
    return found


@settings(max_examples=150, deadline=None)
@given(content=CONTENTS, cut=st.integers(0, 700))
def test_c_sends_what_python_sends(frames: ctypes.CDLL, content: bytes, cut: int) -> None:
    expected = protocol.frame(content)
    assert send_in_c(frames, [content]) == expected
    assert send_in_c(frames, [content[:cut], b"", content[cut:]]) == expected
    assert 0 not in expected[1:-1]


@settings(max_examples=150, deadline=None)
@given(contents=st.lists(CONTENTS, max_size=3))
def test_both_read_what_was_sent(frames: ctypes.CDLL, contents: list[bytes]) -> None:
    line = b"".join(map(protocol.frame, contents))
    assert protocol.Receiver().feed(line) == contents
    whole = [c for c in decode_in_c(frames, line) if c]
    assert whole == [c + serial_device.crc(c).to_bytes(4, "little") for c in contents]


@settings(max_examples=150, deadline=None)
@given(line=st.binary(max_size=400), content=CONTENTS)
def test_both_are_in_step_again_after_garbage(frames: ctypes.CDLL, line: bytes, content: bytes) -> None:
    line += protocol.frame(content)
    assert protocol.Receiver().feed(line)[-1] == content
    assert decode_in_c(frames, line)[-1] == content + serial_device.crc(content).to_bytes(4, "little")


@settings(max_examples=100, deadline=None)
@given(coded=st.binary(max_size=300))
def test_both_take_the_same_codings(frames: ctypes.CDLL, coded: bytes) -> None:
    coded = coded.replace(b"\0", b"\1")
    try:
        expected: bytes | None = protocol.cobs_decode(coded)
    except protocol.ProtocolError:
        expected = None
    assert decode_in_c(frames, coded + b"\0") == [expected]


@pytest.mark.parametrize(
    ("content", "coded"),
    [
        ("", "01"),
        ("00", "0101"),
        ("0000", "010101"),
        ("11220033", "0311220233"),
        ("11223344", "0511223344"),
        ("11000000", "0211010101"),
        ("01" * 254, "ff" + "01" * 254),
        ("00" + "01" * 254, "01ff" + "01" * 254),
        ("01" * 255, "ff" + "01" * 254 + "0201"),
        ("01" * 254 + "00", "ff" + "01" * 254 + "0101"),
    ],
)
def test_examples_of_the_coding(frames: ctypes.CDLL, content: str, coded: str) -> None:
    """As published with the algorithm."""
    assert protocol.cobs_encode(bytes.fromhex(content)).hex() == coded
    assert protocol.cobs_decode(bytes.fromhex(coded)).hex() == content
    assert decode_in_c(frames, bytes.fromhex(coded) + b"\0") == [bytes.fromhex(content)]


def test_bytes_split_anywhere_give_the_same_frames() -> None:
    line = protocol.frame(b"one") + b"noise" + protocol.frame(b"two\0")
    whole = protocol.Receiver()
    assert whole.feed(line) == [b"one", b"two\0"]
    assert (whole.damaged, whole.text) == (1, "noise")
    single = protocol.Receiver()
    assert [f for byte in line for f in single.feed(bytes([byte]))] == [b"one", b"two\0"]


# The device


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("device")
    return {
        "serve": serial_device.build(root / "serve"),
        "trace": serial_device.build(root / "trace", tracing=True),
        "no_init": serial_device.build(root / "no_init", init=1),
        "no_run": serial_device.build(root / "no_run", run=1),
    }


@pytest.fixture
def device(programs: dict[str, Path]) -> Iterator[Process]:
    with Process(programs["serve"]) as link:
        yield link


def samples(n: int, seed: int = 1) -> list[bytes]:
    rng = random.Random(seed)
    return [bytes(rng.choices([0, 1, 127, 128, 255], k=INPUT_BYTES)) for _ in range(n)]


def ask(link: Process, request: bytes) -> list[bytes]:
    """Every frame that comes within a moment after a request."""
    receiver = protocol.Receiver()
    link.write(protocol.frame(request))
    found = receiver.feed(link.read(2.0))
    while data := link.read(0.05):
        found += receiver.feed(data)
    return found


def refused(link: Process, request: bytes) -> int:
    (content,) = ask(link, request)
    refusal = protocol.refusal(content)
    assert refusal is not None
    return refusal.code


def test_who_is_there(device: Process) -> None:
    info = Client(device, "here").hello()
    assert (info.board, info.model, info.model_hash, info.runtime) == ("host", "fake model", "0123456789abcdef", "fake")
    assert (info.input_bytes, info.output_bytes, info.arena_bytes) == (INPUT_BYTES, OUTPUT_BYTES, 320)
    assert (info.counters, info.flags) == (Counters.MICROSECONDS, Flags(0))


def test_inferences_and_a_reset(device: Process) -> None:
    client = Client(device, "here")
    client.hello()
    for k, inputs in enumerate(samples(4)):
        ran = client.infer(inputs, OUTPUT_BYTES)
        assert ran.outputs == answer(inputs, k)
        assert (ran.instructions, ran.microseconds) == (0, 7)
        assert client.infer(inputs, OUTPUT_BYTES, reset=True).outputs == answer(inputs, 0)
        for _ in range(k):
            client.infer(inputs, OUTPUT_BYTES)
    assert client.statistics.repeated == client.statistics.damaged == 0


def test_small_chunks_reach_across_inputs_and_outputs(device: Process) -> None:
    client = Client(device, "here")
    client._chunk = 3
    (inputs,) = samples(1)
    assert client.infer(inputs, OUTPUT_BYTES).outputs == answer(inputs, 0)
    client._careful = True
    assert client.infer(inputs, OUTPUT_BYTES).outputs == answer(inputs, 1)


def test_a_repeated_run_is_answered_and_not_run_again(device: Process) -> None:
    inputs, other = samples(2)
    device.write(protocol.frame(protocol.write(1, 0, inputs)))
    run = protocol.run(2, inputs, OUTPUT_BYTES)
    (first,) = ask(device, run)
    assert ask(device, run) == [first]
    device.write(protocol.frame(protocol.write(3, 0, other)))
    (second,) = ask(device, protocol.run(4, other, OUTPUT_BYTES))
    assert protocol.ran(second[2:]).outputs == answer(other, 1)


def test_outputs_that_are_overwritten_are_not_answered_again(device: Process) -> None:
    (inputs,) = samples(1)
    device.write(protocol.frame(protocol.write(1, 0, inputs)))
    run = protocol.run(2, inputs, OUTPUT_BYTES)
    ask(device, run)
    # A damaged WRITE: its bytes are in the inputs, and so in the outputs that share their memory.
    damaged = bytearray(protocol.frame(protocol.write(3, 100, b"\x99" * 20)))
    damaged[-3] ^= 1
    device.write(bytes(damaged))
    codes = [r.code for content in ask(device, run) if (r := protocol.refusal(content)) is not None]
    assert codes == [Code.CHECKSUM, Code.OUTPUT]
    assert refused(device, protocol.read(4, Region.OUTPUTS, 0, 5)) == Code.OUTPUT


def test_wrong_requests_are_refused(device: Process) -> None:
    (inputs,) = samples(1)
    assert refused(device, bytes([9, 1])) == Code.COMMAND
    assert refused(device, bytes([0, 1])) == Code.COMMAND
    assert refused(device, protocol.hello(1) + b"more") == Code.LENGTH
    assert refused(device, protocol.run(1, inputs, 5)[:-1]) == Code.LENGTH
    assert refused(device, protocol.write(1, 0, b"abc") + b"d") == Code.LENGTH
    assert refused(device, protocol.write(1, 0, b"abc")[:-1]) == Code.LENGTH
    assert refused(device, protocol.write(1, INPUT_BYTES - 2, b"abc")) == Code.RANGE
    assert refused(device, protocol.write(1, 0xFFFFFFFF, b"abc")) == Code.RANGE
    assert refused(device, protocol.run(1, inputs, 5)) == Code.INPUT
    assert refused(device, protocol.read(1, Region.OUTPUTS, 0, 5)) == Code.OUTPUT
    assert refused(device, protocol.read(1, Region.OUTPUTS, OUTPUT_BYTES, 1)) == Code.RANGE
    assert refused(device, protocol.read(1, Region.OUTPUTS, 0xFFFFFFFF, 2)) == Code.RANGE
    assert refused(device, protocol.read(1, Region.FIGURES, 0, 1)) == Code.RANGE
    assert refused(device, protocol.trace(1, True)) == Code.COMMAND
    device.write(b"\0\x05abcd\0")
    codes = [r.code for content in ask(device, bytes([9, 1])) if (r := protocol.refusal(content)) is not None]
    assert codes == [Code.CHECKSUM, Code.COMMAND]


def test_figures_of_a_firmware_that_traces(programs: dict[str, Path]) -> None:
    with Process(programs["trace"]) as link:
        client = Client(link, "here")
        assert client.hello().flags == Flags.TRACES
        client.trace(True)
        (inputs,) = samples(1)
        client.infer(inputs, OUTPUT_BYTES)
        assert struct.unpack("<3I", client.figures(4 * FIGURES)) == (1, 0, 0x01020304)
        with pytest.raises(DeviceError, match="refuses READ with RANGE"):
            client.figures(4 * FIGURES + 1)


@pytest.mark.parametrize("defect", ["no_init", "no_run"])
def test_a_model_that_fails_gives_its_reason(programs: dict[str, Path], defect: str) -> None:
    with Process(programs[defect]) as link:
        client = Client(link, "here")
        with pytest.raises(DeviceError, match="the model failed on here: the fake refuses"):
            client.hello()
            client.infer(samples(1)[0], OUTPUT_BYTES)


@settings(max_examples=40, deadline=None)
@given(garbage=st.one_of(st.binary(max_size=3000), st.lists(CONTENTS.map(protocol.frame)).map(b"".join)))
def test_no_bytes_bring_the_device_down(programs: dict[str, Path], garbage: bytes) -> None:
    with Process(programs["serve"]) as link:
        link.write(garbage)
        assert Client(link, "here").hello().board == "host"


COMMANDS = st.builds(
    lambda command, sequence, rest: bytes([command, sequence]) + rest,
    st.integers(0, 8),
    st.integers(0, 255),
    st.one_of(
        st.binary(max_size=40),
        st.builds(
            lambda offset, count, data: struct.pack("<IH", offset, count) + data,
            st.one_of(st.integers(0, INPUT_BYTES + 2), st.integers(0, 0xFFFFFFFF)),
            st.one_of(st.integers(0, INPUT_BYTES + 2), st.integers(0, 0xFFFF)),
            st.binary(max_size=INPUT_BYTES + 2),
        ),
        st.builds(
            lambda region, offset, count: struct.pack("<BIH", region, offset, count),
            st.integers(0, 2),
            st.integers(0, OUTPUT_BYTES + 1),
            st.integers(0, OUTPUT_BYTES + 1),
        ),
    ),
)


@settings(max_examples=60, deadline=None)
@given(contents=st.lists(COMMANDS, max_size=20))
def test_no_requests_bring_the_device_down(programs: dict[str, Path], contents: list[bytes]) -> None:
    with Process(programs["trace"]) as link:
        link.write(b"".join(map(protocol.frame, contents)))
        client = Client(link, "here")
        client.hello()
        (inputs,) = samples(1)
        assert client.infer(inputs, OUTPUT_BYTES, reset=True).outputs == answer(inputs, 0)


# Lines that lose and change bytes


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["drop", "flip", "double", "insert", "all"])
def test_a_bad_line_changes_no_answer(programs: dict[str, Path], kind: str, seed: int) -> None:
    """With a state: every inference runs exactly once, or its loss is told."""
    place = ["drop", "flip", "double", "insert"].index(kind) if kind != "all" else None
    rates = [0.0005] * 4 if place is None else [0.002 * (k == place) for k in range(4)]
    with Process(programs["serve"]) as clean:
        link = Noisy(clean, seed, rates)
        client = Client(link, "here", patience=0.02, limit=60)
        client.hello()
        client.reset()
        runs = 0
        for inputs in samples(12, seed):
            try:
                ran = client.infer(inputs, OUTPUT_BYTES, again=False)
            except DeviceError as e:
                assert "begin the sequence again" in str(e)
                client.reset()
                runs = 0
                continue
            assert ran.outputs == answer(inputs, runs)
            runs += 1
        for inputs in samples(8, seed + 100):
            assert client.infer(inputs, OUTPUT_BYTES, reset=True).outputs == answer(inputs, 0)
        assert link.faults > 3
        assert client.statistics.repeated > 0


class Dead:
    """A link on which nothing comes, or always the same."""

    def __init__(self, text: bytes = b"") -> None:
        self.text = text

    def __enter__(self) -> "Dead":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, data: bytes) -> None:
        pass

    def read(self, seconds: float) -> bytes:
        del seconds
        return self.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"no answer from COM9 within 0.1 s. Is it the board's port.*TINYML_APPLICATION=serve pio run"),
        (b"#tinyml 1 board=uno\n", r"another firmware runs on COM9: it prints '#tinyml 1 board=uno'"),
        (b"\xff\x81\0\x92", r"COM9 sends bytes that are no frames .* another baud rate: see --baud"),
        (protocol.frame(bytes([Command.HELLO | 0x80, 1, 7])), r"version 7 of the protocol, this is 1"),
    ],
    ids=["silent", "another_firmware", "another_baud_rate", "another_version"],
)
def test_who_does_not_answer(text: bytes, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Client(Dead(text), "COM9").hello(0.1)


def test_a_device_that_stops_is_given_up() -> None:
    client = Client(Dead(), "COM9", patience=0.01, deadline=0.2)
    with pytest.raises(DeviceError, match=r"no answer to RUN from COM9 after \d+ attempts .* check cable"):
        client.infer(b"abc", 1)
    client = Client(Dead(b"\n#error hard fault at pc=0x10\n"), "COM9", patience=0.01, deadline=0.1)
    with pytest.raises(
        DeviceError, match=r"no answer to RESET .*, and it printed '#error hard fault at pc=0x10'; the line"
    ):
        client.reset()
    client = Client(Dead(), "COM9", patience=0.001, limit=3)
    with pytest.raises(DeviceError, match="after 3 attempts"):
        client.reset()


# An evaluation of a model that keeps a state


@pytest.mark.parametrize("kind", ["reset", "sequence"])
def test_samples_of_a_model_with_a_state(programs: dict[str, Path], tmp_path: Path, kind: str) -> None:
    inputs = samples(9)
    golden = [answer(x, 0 if kind == "reset" else k) for k, x in enumerate(inputs)]
    about = About("fake model", "0123456789abcdef" * 4, None, (), kind == "reset", kind == "sequence")
    rows = [np.stack([np.frombuffer(row, np.uint8) for row in side]) for side in (inputs, golden)]
    test = Samples(about, rows[0], rows[1], None)
    for _ in range(2):  # the second one goes on where the first one ended, or begins the sequence anew
        with Process(programs["serve"]) as clean:
            link = Noisy(clean, 5, [0.0003] * 4)
            client = Client(link, "here", patience=0.02, limit=60)
            session = Session(client, client.hello(), link, None, "")
            log = evaluation.Log(tmp_path / "answers.bin", "same", OUTPUT_BYTES)
            seen: list[int] = []
            job = Job("here", None, 0)
            evaluate._send(session, test, log, job, lambda *_: None, lambda done, _, s=seen: s.append(done))
            outputs, amounts = log.all()
            log.close()
        np.testing.assert_array_equal(outputs, test.outputs)
        assert (amounts == -1).all()
    assert seen[0] == (len(inputs) if kind == "reset" else 0)
