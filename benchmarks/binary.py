"""A network of bits beside its int8 twin of the same shapes, on an emulated Cortex-M4.

    python benchmarks/binary.py [--recipe NAME] [--images N]

Trains the recipe where it is not cached, compares the packed network with the Keras model and the C with both on the
whole test set, and counts instructions in Unicorn: on the probe, on real images, and with every bit set, which is the
most that the kernels can have to do. The twin is the recipe's float model, before binarize, as full-integer int8
through the compiled runtime for the same processor. Exit codes: 0 done, 4 outputs differ, 5 a tool is missing or
failed.
"""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from convert import accuracy, compiled, graph, vectors
from convert.binary import container, device, family, host, reference, view
from convert.binary.net import BitConv, ImageConv, Int8, Layer, Net, Pool
from convert.cache import Cache
from convert.compiled import device as int8_device
from convert.errors import OutputsDifferError, PipelineError


@dataclass(frozen=True)
class Figures:
    """What a network takes; instructions of one inference."""

    weights: int  # bytes of constants
    probe: int
    images: tuple[int, ...]
    worst: int | None  # None: the same for every input
    layers: tuple[int, ...]  # mean over the images
    accuracy: float


def all_set(net: Net) -> Net:
    """The network with limits that every sum reaches and nothing that falls: all bits are set."""

    def layer(old: Layer) -> Layer:
        if isinstance(old, ImageConv | BitConv):
            return replace(
                old, limits=np.full_like(old.limits, -(old.taps * (255 if isinstance(old, ImageConv) else 1)))
            )
        return replace(old, falling=np.zeros_like(old.falling)) if isinstance(old, Pool) else old

    return replace(net, layers=tuple(layer(old) for old in net.layers))


def measure(net: Net, probe: Int8, images: Int8, top1: float) -> Figures:
    """Counts of a network on the probe, on images int8 (n, features), and with every bit set."""
    counter = device.Counter4(net)
    counts = [counter.count(x) for x in images]
    worst = device.Counter4(all_set(net)).count(np.full(net.features, 127, np.int8))
    layers = np.mean([c.layers for c in counts], axis=0)
    found = [counter.count(probe).instructions, *(c.instructions for c in counts)]
    return Figures(
        net.constant_bytes,
        found[0],
        tuple(found[1:]),
        worst.instructions,
        tuple(round(float(n)) for n in layers),
        top1,
    )


def twin(g: graph.Graph, images: np.ndarray, top1: float) -> Figures:
    """The int8 model's counts through the compiled runtime, on the probe and an image."""
    model = compiled.compile_model(g, "cortex_m4")
    probe = int8_device.profile(model, vectors.computed(g, 0).inputs[0])
    image = int8_device.profile(model, images[0])
    layers = tuple(0 if layer is None else layer.instructions for layer in image.layers)
    return Figures(model.weight_bytes, probe.total.instructions, (image.total.instructions,), None, layers, top1)


def check(net: Net, x: Int8, wanted: np.ndarray) -> None:
    """Raises OutputsDifferError unless reference and C give the trained model's scores for all samples."""
    unit = np.float32(2.0**net.exponent)
    with tempfile.TemporaryDirectory(prefix="binary-") as folder:
        found = {
            "NumPy reference": reference.run(net, x),
            "C": host.call_program(host.build(net, Path(folder)), net, x),
        }
    for name, scores in found.items():
        different = int((scores.astype(np.float32) * unit != wanted).any(1).sum())
        if different:
            raise OutputsDifferError(f"the {name} differs from the trained model on {different} of {len(x)} samples")


def run(recipe_name: str, count: int, console: Console) -> tuple[Figures, Figures]:
    """(the network of bits, its int8 twin); prints both."""
    from training import binary_deploy, train
    from training import recipe as recipes

    recipe = recipes.load(recipe_name)
    trained = train.run(recipe, Cache(), console)
    plain = train.run(recipe.model_copy(update={"compress": []}), Cache(), console)
    data = trained.dataset()
    model = trained.model()
    net = family.net_of_parts(binary_deploy.parts(model))
    g = view.load(container.pack_net(net))
    x = vectors.quantize_inputs(g, data.x_test).view(np.int8)
    check(net, x, binary_deploy.scores(model, data.x_test))
    console.print(f"Keras, NumPy and C: every score of {len(x):,} test images is the same")
    chosen = vectors.spread(len(x), count)
    top1 = accuracy.top1(g, np.ascontiguousarray(reference.run(net, x)).view(np.uint8), data.y_test)
    bits = measure(net, vectors.computed(g, 0).inputs[0].view(np.int8), x[chosen], top1)
    int8 = graph.load(_tflite(plain.model(), data.x_train))
    other = twin(int8, vectors.quantize_inputs(int8, data.x_test[chosen]), plain.float_accuracy)
    show(bits, other, net.macs, console)
    names = [op.name for op in g.operators]
    console.print("layers, mean: " + ", ".join(f"{n} {c:,}" for n, c in zip(names, bits.layers, strict=True)))
    console.print("int8, layers: " + ", ".join(f"{c:,}" for c in other.layers if c))
    return bits, other


def _tflite(model: object, x: np.ndarray) -> bytes:
    from convert import quantize

    return quantize.to_int8(model, x[:: len(x) // 200])


def show(bits: Figures, int8: Figures, macs: int, console: Console) -> None:
    """Print the table."""
    table = Table("", "bits", "int8", "int8 / bits")

    def row(name: str, ours: float, theirs: float, form: str = ",.0f") -> None:
        table.add_row(name, f"{ours:{form}}", f"{theirs:{form}}", f"{theirs / ours:.2f}")

    row("bytes of weights and thresholds", bits.weights, int8.weights)
    mean = float(np.mean(bits.images))
    typical = int8.images[0]
    row(f"instructions, mean of {len(bits.images)} images", mean, typical)
    row("instructions, worst of these", max(bits.images), typical)
    row("instructions, probe", bits.probe, int8.probe)
    if bits.worst is not None:
        row("instructions, every bit set", bits.worst, typical)
    row("instructions a MAC, mean", mean / macs, typical / macs, ".3f")
    console.print(table)
    console.print(
        f"accuracy: {100 * bits.accuracy:.2f} %; the float model that it began with {100 * int8.accuracy:.2f} %"
    )


@click.command()
@click.option(
    "--recipe", default="binary_lenet", show_default=True, help="Recipe whose last step is an integer scheme."
)
@click.option("--images", default=50, show_default=True, help="Test images to count on, spread over the test set.")
def main(recipe: str, images: int) -> None:
    """Measure a network of bits beside its int8 twin."""
    try:
        run(recipe, images, Console(width=None if sys.stdout.isatty() else 120))
    except PipelineError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(e.exit_code)


if __name__ == "__main__":
    main()
