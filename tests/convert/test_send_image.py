import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from convert import send_image
from convert.errors import ToolError, UsageError
from convert.paths import ROOT

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


class Line:
    """A link that answers with what it is given."""

    def __init__(self, *answers: bytes) -> None:
        self.answers, self.sent = list(answers), b""

    def write(self, data: bytes) -> None:
        self.sent += data

    def read(self, _: float) -> bytes:
        return self.answers.pop(0) if self.answers else b""


def test_pictures_are_sent_as_pgm(tmp_path: Path) -> None:
    content = send_image.pgm(PIXELS)
    assert content == b"P5 4 3 255\n" + bytes(range(12))
    for text in (b"P5 4 3 255\n", b"P5\n# made by hand\n4 3\n# of\n255\n"):
        (tmp_path / "a.pgm").write_bytes(text + bytes(range(12)))
        assert np.array_equal(send_image.read(tmp_path / "a.pgm"), PIXELS)


def test_other_formats(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(PIXELS).save(tmp_path / "a.png")
    assert np.array_equal(send_image.read(tmp_path / "a.png"), PIXELS)
    image.new("RGB", (2, 1), (255, 0, 0)).save(tmp_path / "red.png")
    assert send_image.read(tmp_path / "red.png").tolist() == [[76, 76]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory; give a picture"),
        (b"P5 4 3 255\nshort", "ends early: its header says 4 x 3 pixels, it has 5"),
        (b"no picture", "is no "),
    ],
)
def test_a_file_that_is_no_picture(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        send_image.read(path)


def test_the_answer_is_the_first_line_that_is_one() -> None:
    line = Line(b"#tinyml 1 board=x\r\n#ans", b'wer 0 label="bag" score=9 input=00000000 output=00\r\n')
    assert send_image.ask(line, PIXELS, "port") == '#answer 0 label="bag" score=9 input=00000000 output=00'
    assert line.sent == send_image.pgm(PIXELS)


def test_refusals_and_silence() -> None:
    with pytest.raises(ToolError, match="port answers: an image without pixels, or with too many"):
        send_image.ask(Line(b"#refused an image without pixels, or with too many\n"), PIXELS, "port")
    with pytest.raises(ToolError, match="port does not answer; is it running live_fashion"):
        send_image.ask(Line(), PIXELS, "port", patience=0.01)


@pytest.fixture
def device() -> Iterator[tuple[str, list[bytes]]]:
    """A socket that answers after 12 pixels."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while sum(map(len, received)) < 11 + 12:
                    received.append(connection.recv(100))
                connection.sendall(b'#answer 0 label="bag" score=900 input=00000000 output=00\n')
                connection.recv(1)  # until the other side closes

        threading.Thread(target=serve, daemon=True).start()
        yield f"socket://127.0.0.1:{server.getsockname()[1]}", received


def test_the_command(device: tuple[str, list[bytes]], tmp_path: Path) -> None:
    port, received = device
    (tmp_path / "a.pgm").write_bytes(send_image.pgm(PIXELS))
    command = [sys.executable, str(ROOT / "convert" / "send_image.py"), str(tmp_path / "a.pgm"), "--port", port]
    done = subprocess.run([*command, "--invert"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('#answer 0 label="bag"')
    assert b"".join(received) == send_image.pgm(255 - PIXELS)


def test_a_port_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(send_image.pgm(PIXELS))
    command = [sys.executable, str(ROOT / "convert" / "send_image.py"), str(tmp_path / "a.pgm")]
    done = subprocess.run([*command, "--port", "/dev/ttyNone"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 5
    assert done.stderr.startswith("error: there is no serial port /dev/ttyNone") and done.stderr.count("\n") == 1
