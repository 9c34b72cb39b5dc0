"""The benchmark command: figures that add up, the forms they are written in, and what a difference does."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from tflite_builder import Sweep

from benchmarks import chart, peers, result, run
from benchmarks.measure import CONFIGURATIONS, Measured, measure, reference
from convert import graph
from convert.compiled import device

needs_device = pytest.mark.skipif(not device.available(), reason="no cross compiler or QEMU")


def net() -> graph.Graph:
    s = Sweep(3)
    x = s.conv(s.input((1, 8, 6, 3)), 8, (3, 3), (2, 2), activation="relu", zero_point=-128)
    x = s.depthwise(x, activation="relu", zero_point=-128)
    x = s.conv(x, 8, (1, 1))
    s.unary("SOFTMAX", s.dense(s.reshape(s.pool(x, "AVERAGE", (4, 3), (4, 3)), (1, 8)), 4), 1 / 256, -128, beta=1.0)
    return s.build()


@pytest.fixture(scope="module")
def measured() -> dict[str, Measured]:
    g = net()
    probe, expected = reference(g)
    return {c.name: measure(g, c, probe, expected) for c in CONFIGURATIONS}


def made_result(measured: dict[str, Measured], **changes: object) -> result.Result:
    peer = peers.Tflm(60000, 3000, 45000, 600, 3300, "0x0", recorded=True)
    g = net()
    whole = result.Result("net", g.sha256, g.macs, len(g.data), "0x0", tuple(measured.values()), peer, ())
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


@needs_device
def test_figures_add_up(measured: dict[str, Measured]) -> None:
    for m in measured.values():
        assert m.equal
        counted = [layer for layer in m.layers if layer.instructions is not None]
        assert [layer.operator for layer in m.layers if layer.instructions is None] == ["RESHAPE"]
        calls = m.instructions - sum(layer.instructions or 0 for layer in counted)
        assert 0 < calls < 100 + 20 * len(counted)  # what compiled_model_run() itself does
        assert sum(m.histogram.values()) == m.instructions
        assert sum(layer.macs for layer in m.layers) == m.macs
        assert m.bound <= m.arena <= m.static_ram
        assert m.stack > 0


@needs_device
def test_sizes_leave_the_test_program_out(measured: dict[str, Measured]) -> None:
    small, fast = measured["portable -Os"], measured["portable -O2"]
    assert 0 < small.code < fast.code < 20_000
    # 8 channels of 3x3x3, of 3x3, of 8, and 4 of 8, each with its bias, multiplier and shift.
    weights = 8 * 27 + 8 * 9 + 8 * 8 + 4 * 8
    assert weights < small.weights < weights + 28 * 9 + 2048


@needs_device
def test_forms(measured: dict[str, Measured], tmp_path: Path) -> None:
    whole = made_result(measured)
    table = result.as_markdown([whole])
    assert f"| net | {whole.macs:,} | {whole.best.instructions:,} |" in table
    assert table.count("SOFTMAX") == 1
    widths = {}
    for block in re.findall(r"(?:^\|.*\n)+", table, re.M):
        widths[block[:20]] = {line.count("|") for line in block.splitlines()}
    assert all(len(w) == 1 for w in widths.values()), widths
    stored = json.loads(result.as_json([whole]))["models"][0]
    assert stored["measured"][0]["instructions"] == whole.best.instructions
    rows = list(csv.reader(io.StringIO(result.as_csv([whole]))))
    assert len(rows) == 1 + len(measured) + 1 and len({len(row) for row in rows}) == 1
    assert int(rows[1][2]) == whole.best.instructions
    assert chart.draw([whole], tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


@needs_device
def test_command(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(net().data)
    called = CliRunner().invoke(run.main, [str(tmp_path / "net.tflite"), "--quick", "--output", str(tmp_path / "out")])
    assert called.exit_code == 0, called.output
    assert "DEPTHWISE_CONV_2D" in called.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "benchmarks.csv",
        "benchmarks.json",
        "benchmarks.md",
    ]


@needs_device
def test_a_difference_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is damaged in one bit."""
    (tmp_path / "net.tflite").write_bytes(net().data)

    def damaged(g: graph.Graph) -> object:
        probe, expected = reference(g)
        expected = expected.copy()
        expected[0] ^= 1
        return probe, expected

    monkeypatch.setattr(run, "reference", damaged)
    called = CliRunner().invoke(run.main, [str(tmp_path / "net.tflite"), "--quick", "--output", str(tmp_path / "out")])
    assert called.exit_code == 4
    assert "DIFFERENT" in called.output


def test_no_models() -> None:
    called = CliRunner().invoke(run.main, [])
    assert called.exit_code == 2
    assert "no models" in called.output


def test_what_the_runtime_does_not_take_is_said(tmp_path: Path) -> None:
    s = Sweep()
    s.op("CUMSUM", [s.input((1, 4))], s.tensor((1, 4)), "CumsumOptions")
    (tmp_path / "sum.tflite").write_bytes(s.build().data)
    called = CliRunner().invoke(run.main, [str(tmp_path / "sum.tflite"), "--output", str(tmp_path / "out")])
    assert "CUMSUM" in (tmp_path / "out" / "benchmarks.md").read_text()
    assert called.exit_code == 0


def test_recorded_peers() -> None:
    recorded = json.loads((Path(peers.__file__).parent / "peers.json").read_text())
    for sha256, model in recorded["models"].items():
        assert re.fullmatch(r"[0-9a-f]{64}", sha256)
        assert model.get("task", "IC") in recorded["tasks"]
        assert model["tflm"]["instructions"] > 0
    for entries in recorded["tasks"].values():
        for milliseconds, megacycles in entries.values():
            # 120 MHz, rounded as published.
            assert megacycles == pytest.approx(milliseconds * 0.12, rel=0.02)
