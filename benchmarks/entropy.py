"""What entropy coding saves of a model's weights: rANS against the entropy and against canonical Huffman codes.

    python benchmarks/entropy.py MODEL.tflite...

Of every dense layer and convolution two texts are coded: all weights, a symbol each; and the gaps between weights that
are not zero with these weights. Bytes are exact and tables are in them; nothing of the layer's biases and multipliers.
"""

import heapq
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from convert import graph  # noqa: E402
from convert.compiled.formats import rans  # noqa: E402

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sizes:
    """Bytes of one or several texts that make up one layer."""

    entropy: float
    stream: int  # rANS, all texts in one stream
    tables: int
    huffman: int  # codes, each text padded to a byte
    huffman_tables: int

    def __add__(self, other: "Sizes") -> "Sizes":
        return Sizes(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))


def huffman_bits(counts: Sequence[int]) -> int:
    """Bits of a text in Huffman codes; of one symbol only, a bit each."""
    used = [count for count in counts if count]
    if len(used) == 1:
        return used[0]
    heapq.heapify(used)
    bits = 0
    while len(used) > 1:
        both = heapq.heappop(used) + heapq.heappop(used)
        bits += both
        heapq.heappush(used, both)
    return bits


def sizes(texts: Sequence[Bytes]) -> Sizes:
    """What texts of equal lengths take, whose symbols alternate in one stream."""
    models = [rans.fit(text) for text in texts]
    both = np.stack(texts, axis=1)
    stream = rans.encode(both, models, np.tile(np.arange(len(texts)), len(both)))
    counts = [np.bincount(text, minlength=256) for text in texts]
    shares = [c[c > 0] / max(1, c.sum()) for c in counts]
    return Sizes(
        sum(float(-(s * np.log2(s)).sum()) * len(text) / 8 for s, text in zip(shares, texts, strict=True)),
        stream.nbytes,
        sum(model.nbytes for model in models),
        sum(-(-huffman_bits(c.tolist()) // 8) for c in counts),
        # How many codes have each length up to 16 bits, and the symbols in the order of their codes.
        sum(16 + int(np.count_nonzero(c)) for c in counts),
    )


def gaps_and_values(weights: npt.NDArray[np.int8]) -> list[Bytes]:
    """The two texts of weights (channels, depth): of each that is not 0 how many lie before it, and the weight itself.

    A gap above 255 is bridged by weights of zero, each behind 255 others.
    """
    pairs: list[tuple[int, int]] = []
    for channel in weights:
        places = np.flatnonzero(channel)
        gaps = np.diff(places, prepend=-1) - 1
        for gap, value in zip(gaps.tolist(), channel[places].view(np.uint8).tolist(), strict=True):
            pairs += [(255, 0)] * (gap >> 8) + [(gap & 255, value)]
    return list(np.array(pairs, np.uint8).reshape(-1, 2).T)


def layers(path: Path) -> list[npt.NDArray[np.int8]]:
    """Weights (channels, depth) of dense layers and convolutions, in the model's order."""
    model = graph.load(path.read_bytes())
    found = []
    for op in model.operators:
        weights = model.tensors[op.inputs[1]].data if op.name in ("FULLY_CONNECTED", "CONV_2D") else None
        if weights is not None and weights.dtype == np.int8:
            found.append(np.ascontiguousarray(weights).reshape(weights.shape[0], -1))
    return found


def row(name: str, weights: int, kept: int, texts: str, s: Sizes) -> str:
    """A row of the table; how much larger than the entropy each code is, with its tables."""
    ours, theirs = s.stream + s.tables, s.huffman + s.huffman_tables
    return (
        f"| {name} | {weights:,} | {kept:,} | {texts} | {s.entropy:,.0f} | {s.stream:,} + {s.tables:,} | "
        f"{ours / s.entropy - 1:+.1%} | {s.huffman:,} + {s.huffman_tables:,} | {theirs / s.entropy - 1:+.1%} |"
    )


@click.command(help=__doc__)
@click.argument("models", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
def main(models: Sequence[Path]) -> None:
    """Print a table for each model."""
    for path in models:
        click.echo(f"{path.name}\n")
        click.echo("| layer | weights | not 0 | symbols | entropy B | rANS + tables B | | Huffman + tables B | |")
        click.echo("|---|---|---|---|---|---|---|---|---|")
        found = layers(path)
        totals: dict[str, list[Sizes]] = {"all": [], "gaps, values": []}
        for number, weights in enumerate(found):
            texts = {"all": [weights.reshape(-1).view(np.uint8)], "gaps, values": gaps_and_values(weights)}
            for name, text in texts.items():
                totals[name].append(sizes(text))
                label = f"{number}: {weights.shape[0]} x {weights.shape[1]}"
                click.echo(row(label, weights.size, int(np.count_nonzero(weights)), name, totals[name][-1]))
        for name, parts in totals.items():
            total = sum(parts[1:], parts[0])
            kept = sum(int(np.count_nonzero(w)) for w in found)
            click.echo(row("**sum**", sum(w.size for w in found), kept, name, total))
        click.echo()


if __name__ == "__main__":
    main()
