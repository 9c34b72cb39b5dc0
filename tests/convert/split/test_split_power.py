"""Power that goes in every single operation on the flash, once before it, after it, with either half done, and with
random bits.

The updater is the firmware's own C over a simulated flash, which ends the program where the slot in use is touched or a
word is written twice. After each cut the board boots with one whole model, the old one or the new one, and answers with
its bytes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from split_host import CORPUS, CUTS, DARK, PAGE, Firmware, other_weights, pack_image
from tflite_builder import needs_compiler

from convert import golden, graph, vectors
from convert.graph import Graph

SECRET = bytes(range(32))
pytestmark = needs_compiler


@dataclass
class Case:
    """A firmware, two models of its graph, and what they answer to one vector."""

    firmware: Firmware
    old: Graph
    new: Graph
    inputs: np.ndarray
    old_answer: bytes
    new_answer: bytes
    secret: bytes | None = None

    def image(self, g: Graph, sequence: int) -> bytes:
        return pack_image(g, sequence, self.secret)

    def answer(self) -> bytes:
        """What the board answers after power has come."""
        assert self.firmware.boot() == ""
        return self.firmware.infer(self.inputs)


def case(folder: Path, name: str, secret: bytes | None = None) -> Case:
    data = (CORPUS / f"{name}.tflite").read_bytes()
    old, new = graph.load(data), graph.load(other_weights(data, 1))
    inputs = vectors.computed(old, 0).inputs
    size = -(-len(pack_image(old, 1)) // PAGE) * PAGE + PAGE
    made = Firmware(old, folder, size, secret)
    before, after = (golden.run(g, inputs).outputs[0].tobytes() for g in (old, new))
    assert before != after
    return Case(made, old, new, inputs[0], before, after, secret)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("plain"), "convolution")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return case(tmp_path_factory.mktemp("signed"), "dense", SECRET)


def every_cut(c: Case, *slots: bytes, image: bytes, hows: range) -> int:
    """Cut the power everywhere; returns the number of operations of a whole update."""
    c.firmware.clear(*slots)
    assert c.firmware.update(image) == 0
    total = int(c.firmware.library.host_operations())
    assert c.answer() == c.new_answer
    for after in range(total):
        for how in hows:
            c.firmware.clear(*slots)
            assert c.firmware.update(image, after, how) == DARK
            found = c.answer()
            # Only the very last operation, the magic's, makes the image one.
            assert found == c.old_answer or (found == c.new_answer and after == total - 1), (after, how)
            if found == c.old_answer:
                assert c.firmware.update(image) == 0, (after, how)
                assert c.answer() == c.new_answer
    return total


def test_every_cut_into_the_second_slot(plain: Case) -> None:
    """As after the first flashing: the other slot is erased."""
    image = plain.image(plain.new, 2)
    total = every_cut(plain, plain.image(plain.old, 1), image=image, hows=range(CUTS))
    pages = -(-len(image) // PAGE)
    assert total == len(image) // 4 + pages


def test_every_cut_over_an_older_image(plain: Case) -> None:
    """As after a first update: an image that was good lies where the new one goes, in the first slot."""
    slots = plain.image(plain.new, 5), plain.image(plain.old, 6)
    every_cut(plain, *slots, image=plain.image(plain.new, 7), hows=range(CUTS))


def test_every_cut_with_signatures(signed: Case) -> None:
    every_cut(signed, signed.image(signed.old, 1), image=signed.image(signed.new, 2), hows=range(3, 5))


def test_cuts_one_after_the_other(plain: Case) -> None:
    """The flash as cut after cut has left it; the first attempt that is let through succeeds."""
    source = np.random.default_rng(1)
    image, total = plain.image(plain.new, 2), 0
    for _ in range(20):
        plain.firmware.clear(plain.image(plain.old, 1))
        for _ in range(8):
            after, how = int(source.integers(0, 150)), int(source.integers(0, CUTS))
            if plain.firmware.update(image, after, how) != DARK:
                assert plain.answer() == plain.new_answer
                break
            total += 1
            assert plain.answer() == plain.old_answer
        else:
            assert plain.firmware.update(image) == 0
            assert plain.answer() == plain.new_answer
    assert total > 40


def test_a_board_without_any_image_says_so_and_takes_one(plain: Case) -> None:
    plain.firmware.clear()
    assert plain.firmware.boot() == "no whole model: slot 0: empty; slot 1: empty"
    assert plain.firmware.update(plain.image(plain.new, 1)) == 0
    assert plain.answer() == plain.new_answer


def test_slots_change_places(plain: Case) -> None:
    plain.firmware.clear(plain.image(plain.old, 1))
    for sequence in range(2, 6):
        g, answer = (plain.new, plain.new_answer) if sequence % 2 == 0 else (plain.old, plain.old_answer)
        assert plain.firmware.update(plain.image(g, sequence)) == 0
        assert plain.answer() == answer


def damaged(image: bytes, at: int) -> bytes:
    return image[:at] + bytes([image[at] ^ 0x10]) + image[at + 1 :]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("another graph", "the image is for another firmware: its graph hash differs"),
        ("payload", "the image is damaged: its CRC is wrong"),
        ("sequence", "the image is damaged: its CRC is wrong"),
        ("truncated", "the image ends early"),
        ("empty", "no image, or one whose writing did not end"),
        ("format", "another format of image than this firmware reads"),
        ("too long", "the image's length does not fit the slot"),
        ("as old", "the image is not newer than the present one"),
        ("older", "the image is not newer than the present one"),
    ],
)
def test_what_is_refused_and_the_old_model_kept(plain: Case, what: str, message: str) -> None:
    good = plain.image(plain.new, 9)
    other = graph.load((CORPUS / "depthwise.tflite").read_bytes())
    image = {
        "another graph": lambda: pack_image(other, 9),
        "payload": lambda: damaged(good, 200),
        "sequence": lambda: damaged(good, 17),
        "truncated": lambda: good[:-8],
        "empty": lambda: b"\xff" * len(good),
        "format": lambda: good[:4] + b"\2" + good[5:],
        "too long": lambda: good[:8] + (1 << 20).to_bytes(4, "little") + good[12:],
        "as old": lambda: plain.image(plain.new, 5),
        "older": lambda: plain.image(plain.new, 4),
    }[what]()
    plain.firmware.clear(plain.image(plain.old, 5))
    assert plain.firmware.message(plain.firmware.update(image)) == message
    assert plain.answer() == plain.old_answer


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("unsigned", "the image is not signed and this firmware asks for a signature"),
        ("another key", "the image's signature is not that of this firmware's key"),
    ],
)
def test_a_signature_that_is_not_right(signed: Case, what: str, message: str) -> None:
    image = pack_image(signed.new, 9, None if what == "unsigned" else bytes(32))
    signed.firmware.clear(signed.image(signed.old, 5))
    assert signed.firmware.message(signed.firmware.update(image)) == message
    assert signed.answer() == signed.old_answer
    # Nor does one that somebody wrote into the flash by other means.
    signed.firmware.clear(signed.image(signed.old, 5), image)
    assert signed.answer() == signed.old_answer
    signed.firmware.clear(image)
    assert signed.firmware.boot() == f"no whole model: slot 0: {message}; slot 1: empty"
