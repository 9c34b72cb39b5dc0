"""How long an inference takes on a board, as far as that can be said without one.

Two ways, never mixed: cycles that an emulator counts as the hardware does (simavr), or instructions times the cycles
that an instruction takes on average, which the board's JSON states with its source. Where neither is known, the
latency is unknown.
"""

from pydantic import BaseModel, ConfigDict

from convert.boards import Board


class Latency(BaseModel):
    """Time of one inference; all None where it is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    milliseconds: float | None = None
    cycles: int | None = None
    clock_hz: int | None = None
    estimate: bool | None = None  # False: the cycles were counted
    source: str | None = None
    date: str | None = None  # of the source; None where the cycles were counted in this run


def of(board: Board, instructions: int | None, cycles: int | None = None) -> Latency:
    """The latency of an inference of so many instructions, or of cycles that were counted, at the board's clock."""
    clock, known = board.build.clock_hz, board.tinyml.latency
    if cycles is not None:
        return Latency(
            milliseconds=1000 * cycles / clock,
            cycles=cycles,
            clock_hz=clock,
            estimate=False,
            source="cycles counted by the emulator",
        )
    if instructions is None or known is None:
        return Latency()
    estimated = round(instructions * known.cycles_per_instruction)
    return Latency(
        milliseconds=1000 * estimated / clock,
        cycles=estimated,
        clock_hz=clock,
        estimate=True,
        source=f"{known.cycles_per_instruction:g} cycles an instruction: {known.source}",
        date=known.date,
    )


def text(latency: Latency) -> str | None:
    """One sentence without the source, None where the latency is unknown: `21.3 ms, estimated from ... at 64 MHz`."""
    if latency.milliseconds is None or latency.cycles is None or latency.clock_hz is None:
        return None
    how = "an estimate" if latency.estimate else "counted"
    return f"{number(latency.milliseconds)} ms: {latency.cycles:,} cycles ({how}) at {latency.clock_hz / 1e6:g} MHz"


def number(value: float) -> str:
    """Three significant digits, without an exponent: 0.0123, 1.23, 1,230."""
    rounded = float(f"{value:.3g}")
    if rounded >= 100:
        return f"{rounded:,.0f}"
    return f"{rounded:.12f}".rstrip("0").rstrip(".")
