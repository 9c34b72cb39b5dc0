import subprocess
import sys

from convert import boards, budget
from convert.paths import ROOT


def board(ram: int = 262144, flash: int = 983040) -> dict:
    manifest = boards.load("nano33").model_dump(mode="json")
    manifest["upload"] = {"maximum_ram_size": ram, "maximum_size": flash}
    manifest["tinyml"]["stack_reserve"] = 4096
    manifest["tinyml"]["bare"]["overhead"] = {"flash": 5000, "ram": 1000, "source": "test"}
    return manifest


BUILD = {
    "runtimes": {"nano33_bare": "compiled", "nano33": "tflm"},
    "memory": {"compiled": {"arena": 20000, "weights": 30000}, "tflm": {"arena": 40000, "weights": 36000}},
    "vector_bytes": 15680,
}


def test_what_fits_says_nothing() -> None:
    assert budget.before_build(board(), BUILD, "nano33_bare") == []
    assert budget.after_link(board(), BUILD, "nano33_bare", 60000, 22000) == []


def test_the_limits_are_exact_to_the_byte() -> None:
    ram, flash = 20000 + 1000 + 4096, 30000 + 5000 + 15680
    assert budget.before_build(board(ram, flash), BUILD, "nano33_bare") == []
    assert len(budget.before_build(board(ram - 1, flash), BUILD, "nano33_bare")) == 1
    assert len(budget.before_build(board(ram, flash - 1), BUILD, "nano33_bare")) == 1
    assert budget.after_link(board(22000 + 4096, 60000), BUILD, "nano33_bare", 60000, 22000) == []
    assert len(budget.after_link(board(22000 + 4095, 59999), BUILD, "nano33_bare", 60000, 22000)) == 2


def test_decoded_weights_are_a_part_of_the_ram() -> None:
    build = {**BUILD, "memory": {**BUILD["memory"], "tflm": {"arena": 40000, "weights": 36000, "decompression": 9000}}}
    ram, _ = budget.estimate(board(), build, "nano33")
    assert {p.name: p.bytes for p in ram.parts}["decoded weights"] == 9000
    assert budget.before_build(board(ram.used), build, "nano33") == []
    assert "decoded weights 9,000 B" in budget.before_build(board(ram.used - 1), build, "nano33")[0]
    linked, _ = budget.measure(board(), build, "nano33", 90000, 40000 + 9000 + 1500)
    assert {p.name: p.bytes for p in linked.parts}["other static data"] == 1500


def test_the_message_names_excess_takers_and_a_way_out() -> None:
    (message,) = budget.before_build(board(ram=20000), BUILD, "nano33_bare")
    assert message.startswith("RAM of Arduino Nano 33 BLE is exceeded by 5,096 B: 25,096 B needed, 20,000 B there")
    assert message.index("arena 20,000 B") < message.index("stack reserve 4,096 B") < message.index("start-up 1,000 B")
    assert "What helps" in message
    assert "--runtime compiled" not in message, "it is taken already"
    (message,) = budget.before_build(board(ram=20000), BUILD, "nano33")
    assert "--runtime compiled" in message


def test_each_environment_is_charged_with_its_own_runtime() -> None:
    ram, flash = budget.estimate(board(), BUILD, "nano33")
    assert {p.name: p.bytes for p in ram.parts}["arena"] == 40000
    assert {p.name: p.bytes for p in flash.parts}["weights"] == 36000


def test_it_runs_in_a_python_without_our_dependencies() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import convert.budget"
    subprocess.run([sys.executable, "-S", "-I", "-c", code], check=True)
