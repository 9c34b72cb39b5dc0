"""What a PlatformIO environment builds: its board, the generated folder, the runtime. Standard library only."""

import json
import os
from pathlib import Path

from convert import compilers

ROOT = Path(__file__).resolve().parents[3]
FIRMWARE = ROOT / "firmware"
SLOTS = FIRMWARE / "lib" / "slots"

# How a line begins that convert/toolchain.py turns into exit code 3.
BUDGET_MARK = "Error: over budget: "


class ProjectError(Exception):
    """A failure with one line for the user."""


class Project:
    """The pieces of one environment.

    board: the board's JSON; entry: its section for this environment; output: what convert/build.py wrote;
    build: output's build.json; runtime: "compiled" or "tflm"; application: the folder of firmware/src that is built.
    """

    def __init__(self, environment, boards=None):
        self.environment = environment
        boards = Path(boards or ROOT / "boards")
        self.name, self.board, self.entry = _board(environment, boards)
        self.output = _output(self.name)
        self.generated = self.output / "generated"
        self.application = _application()
        self.build = _build_json(self.generated, self.name)
        if self.application != "golden":
            self.build["vector_bytes"] = 0  # the test vectors travel with the golden application alone
        self.runtime = self.build["runtimes"].get(environment)
        if self.runtime is None:
            raise ProjectError(
                f"{self.generated / 'build.json'} names no runtime for environment {environment}; "
                f"run: python convert/build.py --board {self.name}"
            )
        if self.live and not (self.generated / "features").is_dir():
            raise ProjectError(
                f"application {self.application} needs a model whose recipe has a preprocessing, and "
                f"{self.build['model']} has none; "
                f"run: python convert/build.py --board {self.name} --recipe {self.application[5:]}"
            )

    @property
    def tflm_dir(self):
        """A TFLite Micro source tree to build with, or None."""
        folder = self.build.get("tflm_dir")
        return Path(folder) if folder else None

    @property
    def split(self):
        """Where the weights lie that are apart from the firmware, or None."""
        return self.build.get("split") if self.runtime == "compiled" else None

    @property
    def serial(self):
        """Whether a host drives the model over the serial protocol."""
        return self.application in ("serve", "profile")

    @property
    def live(self):
        """Whether the application takes samples or images: those need the recipe's preprocessing."""
        return self.application.startswith("live_")

    def source_folders(self):
        """(folder, whether --optimize says how it is compiled) of everything but src_dir."""
        folders = [
            (self.generated / "common", False),
            (self.generated / self.runtime, True),
            (FIRMWARE / "runtimes" / ("split" if self.split else self.runtime), True),
            (FIRMWARE / "ports" / self.entry["port"], False),
        ]
        if self.runtime in ("compiled", "binary"):
            folders.append((FIRMWARE / "lib" / "kernels" / "src", True))
        shared = compilers.COMPILERS[self.board["tinyml"]["architecture"]].shared
        if self.entry["platform"] == "bare" and shared is not None:
            folders.append((FIRMWARE / "ports" / shared, False))
        if self.split:
            folders.append((SLOTS / "src", False))
            folders.append((SLOTS / "ports" / self.entry["port"], False))
        if self.serial:
            folders.append((FIRMWARE / "lib" / "serial" / "src", False))
        if self.live:
            folders.append((self.generated / "features", True))
            folders.append((FIRMWARE / "lib" / "features" / "src", True))
            folders.append((FIRMWARE / "lib" / "live" / "src", False))
        return [(folder, fast) for folder, fast in folders if folder.is_dir()]

    def include_folders(self):
        """Folders for -I."""
        libraries = ["kernels", *(["serial"] if self.serial else []), *(["features", "live"] if self.live else [])]
        libraries += ["slots"] if self.split else []
        own = [FIRMWARE / "include", *(FIRMWARE / "lib" / name / "include" for name in libraries)]
        return [*own, *(folder for folder, _ in self.source_folders())]


def _board(environment, boards):
    for path in sorted(boards.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        for kind in ("official", "bare", "twin"):
            entry = board.get("tinyml", {}).get(kind)
            if entry and entry["name"] == environment:
                return path.stem, board, entry
    raise ProjectError(f"no file in {boards} describes environment {environment}; see docs/adding_a_board.md")


def _application():
    """What is built: $TINYML_APPLICATION, by default the golden vectors."""
    name = os.environ.get("TINYML_APPLICATION") or "golden"
    allowed = sorted(path.name for path in (FIRMWARE / "src").iterdir() if path.is_dir())
    if name not in allowed:
        raise ProjectError(f"TINYML_APPLICATION is {name!r}; allowed are {', '.join(allowed)}")
    return name


def _output(board):
    given = os.environ.get("TINYML_OUTPUT")
    if given:
        return (ROOT / given).resolve()
    pointer = ROOT / "build" / board / "active.json"
    try:
        return (ROOT / json.loads(pointer.read_text(encoding="utf-8"))["output"]).resolve()
    except (OSError, ValueError, KeyError):
        raise ProjectError(
            f"nothing is generated yet for board {board}; run: python convert/build.py --board {board}"
        ) from None


def _build_json(generated, board):
    path = generated / "build.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ProjectError(f"{path} is missing or unreadable; run: python convert/build.py --board {board}") from None
