"""Send a picture to a board that runs the application live_fashion, and print what it answers.

    python convert/send_image.py shoe.png --port /dev/ttyACM0 --invert

The picture may have any size; the board makes it the model's. The data set's clothes are bright on black: --invert is
for photographs on a bright ground. Exit codes: 0 answered, 2 wrong use, 5 the port or the device failed.
"""

import re
import sys
import time
from pathlib import Path

# Run as a script, Python puts convert/ first on its path, where our names would shadow others.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np
import numpy.typing as npt

from convert.emulate import Link
from convert.errors import PipelineError, ToolError, UsageError
from convert.serial_port import open_port

Bytes = npt.NDArray[np.uint8]

_BYTE_SECONDS = 1.5e-4  # what a byte may take at 115,200 baud, with a margin
_HEADER = re.compile(rb"P5(?:\s+#[^\n]*\n|\s)+(\d+)(?:\s+#[^\n]*\n|\s)+(\d+)(?:\s+#[^\n]*\n|\s)+255\s")


def read(path: Path) -> Bytes:
    """A picture as grey pixels, uint8 (height, width): binary PGM always, other formats where Pillow is installed.

    Colours become their luma (ITU-R BT.601). Raises UsageError for a file that is no picture.
    """
    try:
        content = path.read_bytes()
    except OSError as e:
        raise UsageError(f"{path} cannot be read: {e.strerror}; give a picture") from e
    header = _HEADER.match(content)
    if header is not None:
        width, height = int(header[1]), int(header[2])
        pixels = np.frombuffer(content, np.uint8, offset=header.end())
        if width * height == 0 or pixels.size < width * height:
            raise UsageError(f"{path} ends early: its header says {width} x {height} pixels, it has {pixels.size}")
        return pixels[: width * height].reshape(height, width)
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as e:
        raise UsageError(f"{path} is no binary PGM with 255 levels; for other formats run: pip install pillow") from e
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"), np.uint8)
    except (UnidentifiedImageError, OSError) as e:
        raise UsageError(f"{path} is no picture that Pillow can read ({e}); give PNG, JPEG or PGM") from e


def pgm(pixels: Bytes) -> bytes:
    """What live_fashion takes: a binary PGM file of uint8 (height, width)."""
    height, width = pixels.shape
    if max(height, width) > 65535:
        raise UsageError(f"a picture of {width} x {height} pixels is too large; sides go up to 65535: make it smaller")
    return f"P5 {width} {height} 255\n".encode() + pixels.tobytes()


def ask(link: Link, pixels: Bytes, name: str, patience: float = 10.0) -> str:
    """Send pixels and return the #answer line; `patience`: seconds beyond what the line takes.

    Raises ToolError where the device refuses the image or does not answer.
    """
    content = pgm(pixels)
    link.write(content)
    end = time.monotonic() + patience + len(content) * _BYTE_SECONDS
    text = b""
    while (left := end - time.monotonic()) > 0:
        text += link.read(min(left, 1.0))
        found = re.search(rb"^#(answer|refused|error) [^\n]*(?=\r?\n)", text, re.MULTILINE)
        if found is not None:
            line = found[0].decode("ascii", "replace").strip()
            if found[1] != b"answer":
                raise ToolError(f"{name} answers: {line.partition(' ')[2]}")
            return line
    raise ToolError(
        f"{name} does not answer; is it running live_fashion? Flash it with TINYML_APPLICATION=live_fashion"
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--port", required=True, help="/dev/ttyACM0, COM3, socket://HOST:PORT ...")
@click.option("--baud", default=115200, show_default=True)
@click.option("--invert", is_flag=True, help="Send the negative: for things that are dark on a bright ground.")
def main(picture: Path, port: str, baud: int, invert: bool) -> None:
    """Classify PICTURE on a board that runs live_fashion."""
    try:
        pixels = read(picture)
        with open_port(port, baud) as link:
            click.echo(ask(link, 255 - pixels if invert else pixels, port))
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)


if __name__ == "__main__":
    main()
