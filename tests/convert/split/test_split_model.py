"""Every family of operators with its weights apart: the same bytes as TFLite Micro, from either slot."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from split_host import CORPUS, MODELS, PAGE, Firmware, other_weights, pack_image, split
from tflite_builder import needs_compiler

from convert import golden, graph, vectors
from convert.compiled import compile_model, host
from convert.compiled.layer import Constant
from convert.errors import UsageError
from convert.graph import Graph
from convert.split import header, image
from convert.split.model import Plan, without_comments


def room(content: bytes) -> int:
    return -(-len(content) // PAGE) * PAGE


def answers(firmware: Firmware, inputs: np.ndarray) -> list[bytes]:
    return [firmware.infer(row) for row in inputs]


def expected(g: Graph, inputs: np.ndarray) -> list[bytes]:
    try:
        outputs = golden.run(g, inputs).outputs
    except UsageError:  # it refuses a few models that the compiled runtime takes
        outputs, _ = host.run(compile_model(g), inputs)
    return [row.tobytes() for row in outputs]


@needs_compiler
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_an_image_answers_like_tflite_micro_from_either_slot(path: Path, tmp_path: Path) -> None:
    g = graph.load(path.read_bytes())
    inputs = vectors.computed(g, 2).inputs
    first, second = pack_image(g, 1), pack_image(g, 2)
    firmware = Firmware(g, tmp_path, room(first), sanitize=True)
    for slots in ((first,), (b"", second)):
        firmware.clear(*slots)
        assert firmware.boot() == ""
        assert answers(firmware, inputs) == expected(g, inputs)


@needs_compiler
@pytest.mark.parametrize("name", ["convolution", "residual", "recurrent", "depthwise"])
def test_other_weights_go_into_the_same_firmware(name: str, tmp_path: Path) -> None:
    data = (CORPUS / f"{name}.tflite").read_bytes()
    old, new = graph.load(data), graph.load(other_weights(data, 3))
    assert split(old)[1] == split(new)[1]
    inputs = vectors.computed(old, 2).inputs
    content = pack_image(new, 2)
    firmware = Firmware(old, tmp_path, room(content))
    firmware.clear(pack_image(old, 1))
    assert firmware.update(content) == 0
    assert firmware.boot() == ""
    assert answers(firmware, inputs) == expected(new, inputs) != expected(old, inputs)


@needs_compiler
def test_an_image_is_the_same_each_time() -> None:
    g = graph.load((CORPUS / "recurrent.tflite").read_bytes())
    assert pack_image(g, 1) == pack_image(g, 1)


@needs_compiler
def test_streams_of_another_length_go_into_the_same_firmware(tmp_path: Path) -> None:
    """As those of compressed weights have: what follows lies elsewhere, and the firmware finds it."""
    g = graph.load((CORPUS / "dense.tflite").read_bytes())
    model, plan = split(g)
    first = model.lowered[1]
    kept = first.params["weights"]
    assert isinstance(kept, Constant)
    longer = replace(kept, values=np.append(kept.values.reshape(-1), np.ones(100, kept.values.dtype)))
    layer = replace(first, params={**first.params, "weights": longer}, constants=(longer, *first.constants[1:]))
    other = replace(model, lowered=(model.lowered[0], layer, *model.lowered[2:]))
    machine = image.this_machine()
    assert other.plan_of(machine.abi, {}) == plan
    payload = image.payload(other, plan, machine)
    assert len(payload) >= len(image.payload(model, plan, machine)) + 96
    content = header.make(payload, 1, bytes.fromhex(g.sha256), plan.hash, None)
    firmware = Firmware(g, tmp_path, room(content))
    firmware.clear(content)
    assert firmware.boot() == ""
    inputs = vectors.computed(g, 2).inputs
    assert answers(firmware, inputs) == expected(g, inputs)


def test_the_firmware_is_written_from_the_plan_alone() -> None:
    """Nothing of the weights gets into it."""
    data = (CORPUS / "convolution.tflite").read_bytes()
    old, new = graph.load(data), graph.load(other_weights(data, 3))
    assert split(old)[1].render() == split(new)[1].render()
    assert split(old)[0].render_weights() != split(new)[0].render_weights()


def test_comments_of_the_kernel_library_do_not_count() -> None:
    before = "/* one */\ntypedef struct { // two\n  int a;\n} t; /* three\n four */\n"
    assert (
        without_comments(before)
        == without_comments("typedef struct {\n  int a; } t;\n")
        == "typedef struct { int a; } t;"
    )
    assert without_comments(before) != without_comments(before.replace("int a", "int b"))


def test_how_inputs_are_prepared_counts_and_which_model_it_is_does_not() -> None:
    model, _ = split(graph.load((CORPUS / "dense.tflite").read_bytes()))
    known = {"labels.h": "/* model sha256 1 */ #define MODEL_LABELS 7", "recording.c": "1, 2"}
    plan = model.plan_of("abi", known)
    assert plan == model.plan_of("abi", {"labels.h": "/* model sha256 2 */ #define MODEL_LABELS 7", "recording.c": "3"})
    for other in ({}, {**known, "labels.h": "#define MODEL_LABELS 8"}):
        with pytest.raises(UsageError, match="its inputs are prepared in another way than the firmware does"):
            plan.require(model.plan_of("abi", other))


def test_every_pair_of_other_graphs_has_other_hashes() -> None:
    plans = [split(graph.load(path.read_bytes()))[1] for path in MODELS]
    assert len({plan.hash for plan in plans}) == len(plans)
    for plan in plans[1:]:
        with pytest.raises(UsageError, match=r"this model needs new firmware: .*build it with"):
            plans[0].require(plan)


def changed(**values: object) -> Plan:
    plan = split(graph.load((CORPUS / "convolution.tflite").read_bytes()))[1]
    return Plan({**plan.fixed, **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"abi": "armv7e-m"}, "it is compiled for armv7e-m and the firmware for"),
        ({"target": "cortex_m4"}, "it takes the kernels of cortex_m4 and the firmware those of portable"),
        ({"library": "0"}, "the firmware was built with another version of the kernel library"),
        ({"features": "0"}, "its inputs are prepared in another way than the firmware does"),
        ({"agreement": 0}, "the firmware is of another version of this project"),
        ({"arena_bytes": 7}, "its arena takes 7 B and the firmware's"),
        ({"inputs": []}, "its inputs are"),
    ],
)
def test_what_differs_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as e:
        changed().require(changed(**values))
    assert message in str(e.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kernel": "kernels_other"}, "operator 1 (CONV_2D) takes the kernel kernels_other and the firmware calls "),
        ({"pointers": {".weights": ["weights", "uint8", "bitmap"]}}, "keeps its weights in another way (bitmap)"),
        ({"fields": []}, "operator 1 (CONV_2D) has other parameters"),
        ({"arguments": "elsewhere"}, "operator 1 (CONV_2D) has its tensors in other places of the arena"),
        ({"name": "ADD"}, "operator 1 (ADD) stands where the firmware has operator 1 (CONV_2D)"),
    ],
)
def test_the_operator_that_differs_is_named(values: dict[str, object], message: str) -> None:
    plan = changed()
    *before, last = plan.fixed["layers"]
    with pytest.raises(UsageError) as e:
        plan.require(changed(layers=[*before, {**last, **values}]))
    assert message in str(e.value)
    with pytest.raises(UsageError, match="it has 1 operators and the firmware 2"):
        plan.require(changed(layers=before))
