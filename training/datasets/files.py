"""Checksums of data sets, and the message when one does not hold."""

import hashlib
from pathlib import Path

from convert.errors import UsageError
from training.datasets import Card


def verify(card: Card, piece: str, content: bytes, found_in: Path | str) -> None:
    """Compare a piece's uncompressed bytes with the card's SHA-256; raises UsageError."""
    actual = hashlib.sha256(content).hexdigest()
    if actual != card.sha256[piece]:
        raise UsageError(
            f"{card.title}: {piece} in {found_in} has SHA-256 {actual}, expected {card.sha256[piece]}; "
            "the file is damaged or of another release: remove it, or put the original in its place"
        )
