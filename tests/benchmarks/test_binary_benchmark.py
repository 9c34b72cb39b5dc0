"""The benchmark of networks of bits: what it measures, and what it says of outputs that differ."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import binary
from convert.binary import container, reference
from convert.binary.net import BitConv, ImageConv, Int8, Net, Pool, Scores, Window
from convert.errors import OutputsDifferError

needs_emulator = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None or not pytest.importorskip("unicorn"), reason="needs gcc-arm-none-eabi"
)


def network() -> Net:
    rng = np.random.default_rng(3)

    def signs(*shape: int) -> Int8:
        return rng.choice([-1, 1], shape).astype(np.int8)

    first = ImageConv(signs(32, 3, 3, 1), rng.integers(-300, 300, 32).astype(np.int32), (1, 1), True)
    pool = Pool(Window((2, 2), (2, 2), same=False), rng.random(32) < 0.5)
    second = BitConv(signs(32, 3, 3, 32), rng.integers(-20, 20, 32).astype(np.int32), (1, 1), True, False)
    last = Scores(signs(4, 512), np.full(4, 3, np.int16), np.arange(4, dtype=np.int32))
    return Net((8, 8, 1), 1 / 255, -2, (first, pool, second, last))


@needs_emulator
def test_a_network_is_counted_on_images_and_with_every_bit_set(tmp_path: Path) -> None:
    net = network()
    x = np.random.default_rng(1).integers(-128, 128, (3, 64)).astype(np.int8)
    found = binary.measure(net, x[0], x, 0.5)
    assert found.weights == net.constant_bytes and found.probe == found.images[0]
    assert found.worst is not None and found.worst > max(found.images) > min(found.images)
    assert len(found.layers) == 4 and sum(found.layers) < max(found.images)
    full = binary.all_set(net)
    assert container.unpack_net(container.pack_net(full)).macs == net.macs
    path = tmp_path / "table.txt"
    with path.open("w") as file:
        binary.show(found, found, net.macs, Console(file=file, width=120))
    assert f"{net.constant_bytes:,}" in path.read_text() and "1.00" in path.read_text()


def test_every_bit_is_set() -> None:
    full = binary.all_set(network())
    inner = Net(full.shape, full.scale, full.exponent, (*full.layers[:-1], Scores(np.ones((1, 512), np.int8), *ONE)))
    x = np.random.default_rng(1).integers(-128, 128, (5, 64)).astype(np.int8)
    assert reference.run(inner, x).tolist() == [[512]] * 5


ONE = (np.ones(1, np.int16), np.zeros(1, np.int32))


def test_outputs_that_differ_from_the_trained_model_are_said() -> None:
    net = network()
    x = np.random.default_rng(1).integers(-128, 128, (6, 64)).astype(np.int8)
    wanted = reference.run(net, x).astype(np.float32) * np.float32(0.25)
    binary.check(net, x, wanted)
    wanted[2, 1] += 0.25
    with pytest.raises(OutputsDifferError, match="differs from the trained model on 1 of 6 samples"):
        binary.check(net, x, wanted)
