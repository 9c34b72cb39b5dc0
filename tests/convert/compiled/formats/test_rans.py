"""rANS: what was coded comes back, in Python, in C with sanitizers and on a Cortex-M4, in about as many bits as its
entropy."""

import math
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import on_m4
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert import emit
from convert.compiled import avr, device, host
from convert.compiled.formats import rans
from convert.emulate import simavr

HERE = Path(__file__).parent
Bytes = np.ndarray


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("rans") / "rans"
    flags = ["-std=c99", "-O1", *host.WARNINGS, *host.SANITIZERS, "-I", str(host.KERNELS / "include")]
    host.call([host.compiler(), *flags, str(HERE / "rans_calls.c"), "-o", str(target)], "compiling rans_calls.c")
    return target


def in_c(program: Path, stream: Bytes, models: Sequence[rans.Model], which: Bytes) -> Bytes:
    """The symbols that kernels/rans.h decodes; the program also checks that the stream ends behind them."""
    parts = [struct.pack("<I", len(models))]
    for model in models:
        tables = model.tables
        parts += [struct.pack("<II", model.shift, len(tables["entries"])), tables["slots"].tobytes()]
        parts.append(tables["entries"].tobytes())
    parts += [struct.pack("<I", len(which)), which.astype(np.uint8).tobytes()]
    parts += [struct.pack("<I", len(stream)), stream.tobytes()]
    done = subprocess.run([str(program)], input=b"".join(parts), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return np.frombuffer(done.stdout, np.uint8)


def entropy(symbols: Bytes) -> float:
    """Bits a symbol."""
    counts = np.bincount(symbols, minlength=256)
    shares = counts[counts > 0] / symbols.size
    return float(-(shares * np.log2(shares)).sum())


def skewed(rest: float, count: int, seed: int = 0) -> Bytes:
    """Zeros, but a share `rest` of other bytes."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(count) < rest, rng.integers(1, 256, count), 0).astype(np.uint8)


TEXTS = st.one_of(
    st.binary(max_size=300),
    st.binary(min_size=1, max_size=1).flatmap(lambda b: st.integers(0, 2000).map(lambda n: b * n)),
    st.tuples(st.floats(0, 0.2), st.integers(0, 3000), st.integers(0, 99)).map(lambda a: skewed(*a).tobytes()),
    st.permutations(range(256)).map(bytes),
).map(lambda data: np.frombuffer(data, np.uint8))


@settings(deadline=None)
@given(TEXTS)
def test_what_was_coded_comes_back(program: Path, text: Bytes) -> None:
    model = rans.fit(text)
    stream = rans.encode(text, [model])
    assert np.array_equal(rans.decode(stream, len(text), [model]), text)
    assert np.array_equal(in_c(program, stream, [model], np.zeros(len(text))), text)


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_several_models_share_a_stream(program: Path, texts: list[Bytes], random: object) -> None:
    models = [rans.fit(text) for text in texts]
    which = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    random.shuffle(which)  # type: ignore[attr-defined]
    text = np.zeros(len(which), np.uint8)
    for number, part in enumerate(texts):
        text[which == number] = part
    stream = rans.encode(text, models, which)
    assert np.array_equal(rans.decode(stream, len(text), models, which), text)
    assert np.array_equal(in_c(program, stream, models, which), text)


@settings(deadline=None)
@given(TEXTS)
def test_models_are_sound(text: Bytes) -> None:
    model = rans.fit(text)
    frequencies, starts = model.places
    assert model.widths.sum() == frequencies.sum() == 4096
    assert (frequencies[np.unique(text)] >= 1).all()
    order = np.argsort(starts[frequencies > 0])
    assert np.array_equal(np.cumsum(frequencies[frequencies > 0][order])[:-1], starts[frequencies > 0][order][1:])
    assert model.nbytes == sum(table.nbytes for table in model.tables.values())


@settings(deadline=None)
@given(TEXTS)
def test_tables_are_as_large_as_time_is_worth(text: Bytes) -> None:
    """A byte for at most 128 instructions: no other table than the chosen one is better."""
    counts = np.bincount(text, minlength=256)
    model = rans.fit(text)
    for shift in range(4, 13):
        other = replace(model, shift=shift)
        spared = (model.steps(counts) - other.steps(counts)) * len(text) * 8
        assert spared <= 128 * (other.nbytes - model.nbytes) + 1e-6


@settings(deadline=None)
@given(TEXTS)
def test_stream_is_as_long_as_the_model_says(text: Bytes) -> None:
    """4 bytes more than the model's cost, and at most log2(1 + 1 / 16) bits a symbol for the state's rounding."""
    model = rans.fit(text)
    cost = model.cost(np.bincount(text, minlength=256))
    rounding = len(text) * math.log2(1 + 1 / 16)
    assert len(rans.encode(text, [model])) <= 4 + (cost + rounding) / 8 + 1e-6


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.9, 0.99, 0.999])
def test_all_of_it_is_near_the_entropy(share: float) -> None:
    """Tables and stream: 3 % and 80 bytes more than the entropy."""
    text = np.minimum(np.random.default_rng(1).geometric(share, 50000) - 1, 255).astype(np.uint8)
    model = rans.fit(text)
    taken = model.nbytes + len(rans.encode(text, [model]))
    ideal = entropy(text) * len(text) / 8
    print(f"geometric {share}: {taken} bytes, {ideal:.0f} of entropy, {model.nbytes} of tables")
    assert ideal < taken <= 1.03 * ideal + 80


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("count", [0, 1, 100_000])
def test_one_symbol_takes_nothing_but_the_state(value: int, count: int) -> None:
    text = np.full(count, value, np.uint8)
    model = rans.fit(text)
    assert len(rans.encode(text, [model])) <= 4 + count * math.log2(4096 / 4095) / 8
    assert model.nbytes == 1 + 2 * 4


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=256))
def test_frequencies_cost_least(counts: list[int]) -> None:
    """No slot moved from one symbol to another makes the text shorter; as costs are convex, nothing else does."""
    held = rans._frequencies(counts, [1] * len(counts))
    n = np.array(counts)
    gain = n * np.log2(1 + 1 / held)
    loss = np.where(held > 1, n * np.log2(held / np.maximum(held - 1, 1)), np.inf)
    assert held.sum() == 4096
    assert gain.max() <= loss.min() * (1 + 1e-12)


def test_symbols_that_are_alike_share_an_entry() -> None:
    """A run takes two words where it would take a word a symbol, and decides nothing between its symbols."""
    rng = np.random.default_rng(2)
    text = np.where(rng.random(3000) < 0.6, 200, rng.integers(10, 74, 3000)).astype(np.uint8)
    model = rans.fit(text)
    assert model.symbols.tolist() == [200, 10]
    assert model.lengths.tolist() == [1, 64]
    assert model.tables["entries"].size == 3


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.sampled_from([30, 300, 3000]))
def test_runs_never_make_it_larger(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    text = np.clip(rng.normal(0, rng.uniform(1, 60), count).round(), -128, 127).astype(np.int8).view(np.uint8)
    counts = np.bincount(text, minlength=256)
    used = np.flatnonzero(counts)
    held = rans._frequencies(counts[used].tolist(), [1] * len(used)) if len(used) > 1 else np.array([4095])
    single = 4 * len(used) + float((counts[used] * (12 - np.log2(held))).sum()) / 8
    model = rans.fit(text)
    assert 4 * len(model.tables["entries"]) + model.cost(counts) / 8 <= single * 1.01 + 8


def test_one_model_for_several_texts() -> None:
    parts = [skewed(0.3, 400, seed) for seed in range(4)]
    assert rans.fit(*parts).tables["entries"].tolist() == rans.fit(np.concatenate(parts)).tables["entries"].tolist()


def test_a_symbol_that_the_model_lacks_is_refused() -> None:
    model = rans.fit(np.array([1, 2, 2], np.uint8))
    with pytest.raises(ValueError, match="symbol 3 is not in model 0"):
        rans.encode(np.array([1, 3], np.uint8), [model])


def test_a_stream_that_does_not_end_behind_its_symbols_is_refused() -> None:
    text = skewed(0.5, 400)
    model = rans.fit(text)
    stream = rans.encode(text, [model])
    with pytest.raises(ValueError, match="does not end where its symbols do"):
        rans.decode(stream, 399, [model])
    with pytest.raises(IndexError):
        rans.decode(stream[:-2], 400, [model])
    with pytest.raises(ValueError, match="4 bytes or more, in pairs"):
        rans.decode(stream[:3], 0, [model])


def test_same_text_same_bytes() -> None:
    """Also where symbols are equally frequent, whose order could be anything."""
    text = np.tile(np.array([9, 5, 200, 3], np.uint8), 40)
    model = rans.fit(text)
    assert sorted(model.symbols.tolist()) == [3, 5, 9, 200]
    assert rans.encode(text, [model]).tolist() == rans.encode(text, [rans.fit(text[::-1])]).tolist()


def _model(machine: on_m4.Machine, model: rans.Model) -> bytes:
    tables = model.tables
    return struct.pack("<IIi", machine.place(tables["slots"]), machine.place(tables["entries"]), model.shift)


CPUS = {"cortex-m4": device.CPU, "cortex-m0": device.CORES["cortex-m0"].cpu}


@on_m4.needs_arm
@pytest.mark.parametrize(
    ("cpu", "rest", "most"),
    [
        *(("cortex-m4", 0.01, 15.4), ("cortex-m4", 0.1, 17.5), ("cortex-m4", 1.0, 29.4)),
        *(("cortex-m0", 0.01, 30), ("cortex-m0", 0.1, 37.3), ("cortex-m0", 1.0, 98)),
    ],
)
@pytest.mark.parametrize("odd", [0, 1])
def test_symbols_on_a_cortex_m(tmp_path: Path, cpu: str, rest: float, most: float, odd: int) -> None:
    """Three of the instructions are the loop's and the store; a stream may lie at any address."""
    text = skewed(rest, 4000)
    model = rans.fit(text)
    machine = on_m4.Machine(on_m4.build(HERE / "rans_calls.c", tmp_path, CPUS[cpu]))
    m = machine.place(_model(machine, model))
    stream = machine.place(rans.encode(text, [model]), odd)
    to = machine.place(bytes(len(text)))
    _, instructions = machine.call("rans_bytes", m, stream, len(text), to)
    assert np.array_equal(machine.read(to, len(text)), text)
    print(f"{cpu}, rest {rest}: {instructions / len(text):.2f} instructions a symbol")
    assert instructions / len(text) <= most


@on_m4.needs_arm
@pytest.mark.parametrize("cpu", list(CPUS))
@pytest.mark.parametrize("text", [skewed(0.5, 300), skewed(0.02, 3000), skewed(0, 9)], ids=["runs", "mixed", "one"])
def test_every_slot_is_a_symbols(tmp_path: Path, cpu: str, text: Bytes) -> None:
    """Also those that no encoder makes use of: nothing in a stream leads out of the tables."""
    model = rans.fit(text)
    frequencies, starts = model.places
    machine = on_m4.Machine(on_m4.build(HERE / "rans_calls.c", tmp_path, CPUS[cpu]))
    m = machine.place(_model(machine, model))
    stream, to = machine.place(bytes(8)), machine.place(bytes(1))
    symbols = np.flatnonzero(frequencies)
    symbols = symbols[np.argsort(starts[symbols])]
    owners = np.repeat(symbols, frequencies[symbols])
    for slot in range(0, 4096, 7):
        machine.uc.mem_write(stream, struct.pack("<I", 0x7FF << 12 | 1 << 28 | slot))
        machine.call("rans_bytes", m, stream, 1, to)
        assert machine.read(to, 1)[0] == owners[slot]


@on_m4.needs_arm
def test_gaps_and_values_on_a_cortex_m4(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    gaps = np.minimum(rng.geometric(0.1, 1500), 255).astype(np.uint8)
    values = np.clip(rng.normal(0, 20, 1500).round(), -127, 127).astype(np.int8)
    row = rng.integers(-128, 128, int(gaps.sum()) + 1, np.int8)
    models = [rans.fit(gaps), rans.fit(values.view(np.uint8))]
    text = np.stack([gaps, values.view(np.uint8)], axis=1)
    stream = rans.encode(text, models, np.tile([0, 1], 1500))
    machine = on_m4.Machine(on_m4.build(HERE / "rans_calls.c", tmp_path))
    at = machine.place(b"".join(_model(machine, model) for model in models))
    arguments = (at, machine.place(stream), 1500, machine.place(row))
    found, instructions = machine.call("rans_gaps", *arguments)
    expected = int((row[np.cumsum(gaps, dtype=np.int64)].astype(np.int64) * values).sum())
    assert found == expected % 2**32
    print(f"{instructions / 1500:.2f} instructions a weight, gap, value and product")
    assert instructions / 1500 <= 52


@pytest.mark.skipif(not avr.available(), reason="needs gcc-avr, avr-libc and simavr")
@pytest.mark.parametrize(("optimize", "most"), [("speed", 340), ("size", 360)])
def test_symbols_on_an_avr(tmp_path: Path, optimize: str, most: int) -> None:
    """Tables and stream are read from flash; cycles are simavr's."""
    text = skewed(0.2, 200)
    model = rans.fit(text)
    arrays = {**model.tables, "stream": rans.encode(text, [model])}
    lines = [f"#define RANS_SYMBOLS {len(text)}", f"#define RANS_SHIFT {model.shift}"]
    for name, values in arrays.items():
        lines.append(f"static const __flash {values.dtype}_t rans_{name}[] = {{{emit.c_array(values)}}};")
    (tmp_path / "rans_tables.h").write_text("\n".join(lines))
    elf = tmp_path / "rans.elf"
    flags = [*avr.flags(optimize), "-I", str(tmp_path)]
    host.call([f"{avr.PREFIX}gcc", *flags, str(HERE / "rans_avr.c"), "-o", str(elf)], "compiling for AVR")
    raw = bytearray()
    with simavr.Simulation(elf, avr.MCU, avr.CLOCK_HZ, "open", 0x40FF) as simulation:
        while len(raw) < 2 + len(text) and not simulation.ended:
            raw += simulation.read(1.0)
    assert np.array_equal(np.frombuffer(raw[2:], np.uint8), text)
    cycles = 8 * int.from_bytes(raw[:2], "little") / len(text)
    print(f"AVR, {optimize}: {cycles:.0f} cycles a symbol")
    assert cycles <= most
