"""What others need for the same models: recorded figures, and TFLite Micro measured here where a tree is given."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from convert.errors import ToolError
from convert.graph import Graph
from convert.paths import ROOT

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
    return Tflm(f["instructions"], f["arena"], f["code_speed"], None, None, f["fnv"], recorded=True)


def published(name: str, graph: Graph) -> list[Published]:
    """MLPerf Tiny's results for the task that this model solves, or whose reference network has its architecture."""
    found = _RECORDED["models"].get(graph.sha256)
    task = found["task"] if found else _RECORDED["architectures"].get(name)
    return [Published(entry, *figures) for entry, figures in _RECORDED["tasks"].get(task, {}).items()]


def conditions() -> dict[str, str]:
    """Under which conditions the recorded figures were taken."""
    return {name: _RECORDED[name]["conditions"] for name in ("tflm", "mlperf")}


def measured(name: str, graph: Graph, tree: Path) -> Tflm:
    """Build the model with TFLite Micro from `tree` for the emulated board and run it there.

    Raises ToolError where that fails.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-tflm-") as folder:
        model, output = Path(folder) / f"{name}.tflite", Path(folder) / "out"
        model.write_bytes(graph.data)
        command = [sys.executable, str(ROOT / "convert" / "build.py"), "--board", "qemu_m4", "--model", str(model)]
        command += ["--runtime", "tflm", "--tflm-dir", str(tree), "--output", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        file = output / "report.json"
        if done.returncode or not file.is_file():
            raise ToolError(f"TFLite Micro from {tree} could not be measured on {name}: {done.stderr[-1500:]}")
        report = json.loads(file.read_text())
    memory, smoke = report["memory"], report["smoke"]
    return Tflm(
        smoke["instructions_per_inference"],
        memory["arena"],
        memory["code"],
        memory["stack"],
        memory["static_ram"],
        smoke["probe_fnv"],
        recorded=False,
    )
