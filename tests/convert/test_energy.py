"""Latency and energy: arithmetic, what stays unknown, and that every figure in boards/ says where it is from."""

import pytest

from convert import boards, energy, latency
from convert.boards import Board

MEGA = 1_000_000


def board(clock: str = "64000000L", cycles: float | None = None, power: tuple[float, float] | None = None) -> Board:
    raw = boards.load("nano33").model_dump(mode="json")
    raw["build"]["f_cpu"] = clock
    about = {"source": "a table", "date": "2026-11-23"}
    raw["tinyml"]["latency"] = None if cycles is None else {"cycles_per_instruction": cycles, **about}
    raw["tinyml"]["energy"] = None if power is None else {"volts": power[0], "milliamps": power[1], **about}
    return Board.model_validate(raw)


def test_instructions_become_cycles_and_time() -> None:
    found = latency.of(board(cycles=1.5), 2 * MEGA)
    assert found.cycles == 3 * MEGA
    assert found.milliseconds == pytest.approx(1000 * 3 / 64)
    assert found.estimate is True and found.date == "2026-11-23"
    assert found.source == "1.5 cycles an instruction: a table"


def test_counted_cycles_come_before_an_estimate() -> None:
    found = latency.of(board("16000000L", cycles=9.0), 1000, 1600)
    assert (found.milliseconds, found.cycles, found.estimate) == (0.1, 1600, False)


@pytest.mark.parametrize(("cycles", "instructions"), [(None, 1000), (1.5, None), (None, None)])
def test_latency_is_unknown_without_cycles_or_instructions(cycles: float | None, instructions: int | None) -> None:
    assert latency.of(board(cycles=cycles), instructions) == latency.Latency()
    assert latency.text(latency.Latency()) is None


def test_energy_is_volts_times_amperes_times_seconds() -> None:
    made = board("1000000L", power=(3.0, 4.0))
    found = energy.of(made, latency.of(made, None, 500_000))
    assert found.microjoules == pytest.approx(3.0 * 0.004 * 0.5 * 1e6)
    assert (found.volts, found.milliamps, found.source) == (3.0, 4.0, "a table")


def test_energy_is_unknown_without_latency_or_current() -> None:
    assert energy.of(board(power=(3.0, 4.0)), latency.Latency()).microjoules is None
    assert energy.of(board(power=(3.0, 4.0)), latency.Latency()).milliamps == 4.0
    assert energy.of(board(), latency.of(board(), None, 5)) == energy.Energy()
    assert energy.text(energy.Energy()) is None


def test_the_texts_say_that_they_are_estimates() -> None:
    made = board(cycles=1.46, power=(3.0, 3.3))
    time = latency.of(made, 918_470)
    assert latency.text(time) == "21 ms: 1,340,966 cycles (an estimate) at 64 MHz"
    assert energy.text(energy.of(made, time)) == "207 uJ, an estimate: 3.3 mA at 3 V while it runs"
    assert "(counted)" in str(latency.text(latency.of(made, None, 64)))
    slow = latency.of(made, None, 64 * MEGA)
    assert str(energy.text(energy.of(made, slow))).startswith("9.9 mJ, an estimate")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.012345, "0.0123"),
        (1.2345, "1.23"),
        (99.95, "100"),
        (1234.5, "1,230"),
        (20.0, "20"),
        (1e-9, "0.000000001"),
    ],
)
def test_numbers_have_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert latency.number(value) == text


@pytest.mark.parametrize("name", boards.names())
def test_every_stated_figure_names_a_source_and_a_date(name: str) -> None:
    section = boards.load(name).tinyml
    for known in (section.latency, section.energy):
        if known is not None:
            assert len(known.source) > 20 and any(digit in known.source for digit in "0123456789")
            assert known.date >= "2026-11-23"
    if section.energy is not None:
        assert 1.7 <= section.energy.volts <= 5.5
        assert 0.5 <= section.energy.milliamps <= 500
    if section.latency is not None:
        assert 1 <= section.latency.cycles_per_instruction <= 4


def test_an_emulated_machine_states_neither() -> None:
    for name in boards.names():
        loaded = boards.load(name)
        if loaded.vendor == "QEMU":
            assert loaded.tinyml.latency is None and loaded.tinyml.energy is None
