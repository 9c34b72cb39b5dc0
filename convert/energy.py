"""What an inference costs in energy: voltage times current of the running core times the latency.

An estimate in any case: voltage and current are the data sheet's, for another program and mostly without what else is
on the board. The board's JSON states them with their source; without them, or without a latency, it is unknown.
"""

from pydantic import BaseModel, ConfigDict

from convert.boards import Board
from convert.latency import Latency, number


class Energy(BaseModel):
    """Energy of one inference; what is unknown is None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    microjoules: float | None = None
    volts: float | None = None
    milliamps: float | None = None
    source: str | None = None
    date: str | None = None


def of(board: Board, latency: Latency) -> Energy:
    """The energy of an inference that takes `latency`; volts and milliamperes also where the latency is unknown."""
    known = board.tinyml.energy
    if known is None:
        return Energy()
    milliseconds = latency.milliseconds
    return Energy(
        microjoules=None if milliseconds is None else known.volts * known.milliamps * milliseconds,
        volts=known.volts,
        milliamps=known.milliamps,
        source=known.source,
        date=known.date,
    )


def text(energy: Energy) -> str | None:
    """One sentence without the source, None where the energy is unknown: `171 uJ, an estimate: 3.3 mA at 3 V`."""
    if energy.microjoules is None:
        return None
    small = energy.microjoules < 1000
    amount = f"{number(energy.microjoules)} uJ" if small else f"{number(energy.microjoules / 1000)} mJ"
    return f"{amount}, an estimate: {energy.milliamps:g} mA at {energy.volts:g} V while it runs"
