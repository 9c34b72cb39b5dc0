"""What others need for the same models: recorded figures, and TFLite Micro measured here where a tree is given."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from convert import boards
from convert.emulate import figure, qemu_mps2
from convert.errors import ToolError
from convert.graph import Graph
from convert.paths import ROOT

_TIMEOUT_S = 300.0
_RECORDED = json.loads((Path(__file__).resolve().parent / "peers.json").read_text())


@dataclass(frozen=True)
class Tflm:
    """TFLite Micro with CMSIS-NN on the same model; sizes in bytes, None where it is not known."""

    instructions: int
    arena: int | None
    code: int | None
    stack: int | None
    static_ram: int | None
    fnv: str | None
    recorded: bool  # False: measured in this run


@dataclass(frozen=True)
class Published:
    """A published MLPerf Tiny result on real silicon."""

    entry: str
    milliseconds: float
    megacycles: float


def recorded(graph: Graph) -> Tflm | None:
    """The recorded figures of TFLite Micro for this very file."""
    found = _RECORDED["models"].get(graph.sha256)
    if found is None:
        return None
    f = found["tflm"]
    return Tflm(f["instructions"], f["arena"], f.get("code_speed"), f.get("stack"), None, f["fnv"], recorded=True)


def published(name: str, graph: Graph) -> list[Published]:
    """MLPerf Tiny's results for the task that this model solves, or whose reference network has its architecture."""
    found = _RECORDED["models"].get(graph.sha256)
    task = (found or {}).get("task") or _RECORDED["architectures"].get(name)
    return [Published(entry, *figures) for entry, figures in _RECORDED["tasks"].get(task, {}).items()]


def conditions() -> dict[str, str]:
    """Under which conditions the recorded figures were taken."""
    return {name: _RECORDED[name]["conditions"] for name in ("tflm", "mlperf")}


def measured(name: str, graph: Graph, tree: Path, folder: Path) -> Tflm:
    """Build the model with TFLite Micro from `tree` for the emulated board, in `folder`, and run it there.

    Its code is not taken from there, because that build carries messages for every failure and the test program; where
    it was recorded, that figure stands. The folder is best kept for the next model: what both need is compiled once.
    Raises ToolError where something fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, output = folder / "model.tflite", folder / "out"
    model.write_bytes(graph.data)
    command = [sys.executable, str(ROOT / "convert" / "build.py"), "--board", "qemu_m4", "--model", str(model)]
    command += ["--runtime", "tflm", "--tflm-dir", str(tree), "--vectors", "1", "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    file = output / "report.json"
    if done.returncode or not file.is_file():
        raise ToolError(
            f"TFLite Micro from {tree} could not be measured on {name}: {(done.stdout + done.stderr)[-1500:]}"
        )
    report = json.loads(file.read_text())
    board = boards.load("qemu_m4")
    image = output / "pio" / "qemu_m4" / "firmware.elf"
    transcript = qemu_mps2.run(image, board, board.environments[0], _TIMEOUT_S)
    known = recorded(graph)
    memory, smoke = report["memory"], report["smoke"]
    return Tflm(
        smoke["instructions_per_inference"],
        figure(transcript.text, "arena"),  # what the interpreter says it used, without the margin of the build
        known.code if known else None,
        memory["stack"],
        None,
        smoke["probe_fnv"],
        recorded=False,
    )
