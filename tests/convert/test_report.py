import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from convert import report
from convert.energy import Energy
from convert.latency import Latency

MODEL = report.Model(name="m<x>", sha256="ab" * 32, macs=1000, parameters=10, tflite_bytes=99)
FULL = report.Report(
    board="nano33",
    board_name="Arduino Nano 33 BLE",
    runtime="compiled",
    environment="nano33_bare",
    model=MODEL,
    accuracy=report.Accuracy(metric="accuracy", samples=100, float_=0.92, pruned=0.91, int8=0.905, sparsity=0.66),
    memory=report.Memory(
        arena=200,
        static_ram=300,
        stack=80,
        stack_reserve=100,
        ram_budget=1000,
        weights=50,
        code=30,
        vectors=5,
        flash=85,
        flash_budget=170,
        arena_budget=800,
        lower_bound=250,
        plan="optimal",
    ),
    smoke=report.Smoke(
        emulator="unicorn", passed=True, vectors=21, mismatches=0, instructions_per_inference=5000, probe_fnv="0x01"
    ),
    latency=Latency(
        milliseconds=0.117, cycles=7500, clock_hz=64_000_000, estimate=True, source="<a manual>", date="2026-11-23"
    ),
    energy=Energy(microjoules=1.16, volts=3.0, milliamps=3.3, source="<a data sheet>", date="2026-11-23"),
    stages=(report.Stage(name="train", seconds=1.0, cached=False),),
    layers=(report.Layer(index=0, operator="CONV_2D", output=(1, 2), macs=1000, weight_bytes=9, output_bytes=2),),
)
BARE = report.Report(board="b", board_name="B", runtime=None, environment=None, model=MODEL)


def test_report_json_keeps_the_contract(tmp_path: Path) -> None:
    FULL.write(tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["schema"] == 1
    assert {
        "board",
        "runtime",
        "environment",
        "model",
        "accuracy",
        "memory",
        "smoke",
        "latency",
        "energy",
        "stages",
        "artifacts",
        "peers",
    } <= set(written)
    assert set(written["model"]) == {"name", "sha256", "macs", "parameters", "tflite_bytes"}
    assert {"metric", "samples", "float", "int8", "device"} <= set(written["accuracy"])
    assert {
        "arena",
        "arena_budget",
        "static_ram",
        "stack",
        "ram_budget",
        "code",
        "weights",
        "flash",
        "flash_budget",
    } <= set(written["memory"])
    assert set(written["smoke"]) == {
        "emulator",
        "passed",
        "vectors",
        "mismatches",
        "instructions_per_inference",
        "cycles_per_inference",
        "probe_fnv",
    }
    assert report.Report.model_validate(written) == FULL


def test_unknown_is_null(tmp_path: Path) -> None:
    BARE.write(tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["accuracy"]["int8"] is None
    assert written["smoke"]["passed"] is None
    assert written["memory"]["flash"] is None
    assert set(written["latency"].values()) == set(written["energy"].values()) == {None}


@pytest.mark.parametrize("r", [FULL, BARE], ids=["full", "bare"])
def test_page_and_summary_are_drawn_from_it(tmp_path: Path, r: report.Report) -> None:
    r.write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "m&lt;x&gt;" in page and "<x>" not in page
    out = io.StringIO()
    report.show(r, tmp_path, Console(file=out, width=120))
    assert "m<x>" in out.getvalue()
    if r is FULL:
        assert "5,000 instructions an inference (5.00 a MAC)" in out.getvalue()
        assert "0.117 ms: 7,500 cycles (an estimate) at 64 MHz" in out.getvalue()
        assert "1.16 uJ, an estimate: 3.3 mA at 3 V while it runs" in out.getvalue()
        assert "from <a manual> (2026-11-23)" in out.getvalue() and "from &lt;a data sheet&gt; (2026-11-23)" in page
        assert "every byte equal to TFLite Micro" in out.getvalue()
        assert "400 of 1,000 B" in out.getvalue()
        assert "200 B, optimal; the largest live set is 250 B" in out.getvalue()
        assert "Arena: 200 B, optimal; the largest live set is 250 B." in page


def test_counted_cycles_need_no_source() -> None:
    counted = Latency(milliseconds=1.0, cycles=16000, clock_hz=16_000_000, estimate=False, source="counted")
    assert report.estimates(BARE.model_copy(update={"latency": counted})) == [
        ("latency", "1 ms: 16,000 cycles (counted) at 16 MHz")
    ]


def test_what_is_not_known_is_not_said(tmp_path: Path) -> None:
    BARE.write(tmp_path)
    assert "Latency and energy" not in (tmp_path / "report.html").read_text()
    assert report.estimates(BARE) == []


def test_a_failure_is_said(tmp_path: Path) -> None:
    BARE.model_copy(update={"failure": report.Failure(exit_code=3, message="RAM is exceeded")}).write(tmp_path)
    assert "exit code 3: RAM is exceeded" in (tmp_path / "report.html").read_text()


def test_decoded_weights_are_a_part_of_the_ram() -> None:
    memory = FULL.memory.model_copy(update={"decompression": 60})
    bar, _ = report._bars(FULL.model_copy(update={"memory": memory}))
    parts = (("arena", 200), ("decoded weights", 60), ("other static data", 40), ("stack reserve", 100))
    assert (bar.used, bar.parts) == (400, parts)
    plain, _ = report._bars(FULL)
    assert (plain.used, plain.parts[1]) == (400, ("other static data", 100))
