import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from models import Op, T, tflite

from convert import boards, compilers, graph, tflm_tree, toolchain
from convert.errors import ToolError, UsageError


class _Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/v3/packages/platformio/platform/nordicnrf52"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"name": "nordicnrf52"} if known else {"message": "no"}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, no installed platforms, every compiler, whatever the machine has."""
    monkeypatch.setenv("PLATFORMIO_PLATFORMS_DIR", str(tmp_path))
    monkeypatch.setattr(toolchain, "registry_endpoints", lambda: [])
    monkeypatch.setattr(compilers, "missing", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def install(folder: Path, name: str, version: str) -> None:
    path = folder / name / "platform.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"name": name, "version": version}))


def test_auto_without_a_registry_takes_the_bare_environment() -> None:
    choice = toolchain.resolve(boards.load("nano33"), "auto")
    assert (choice.environment.name, choice.runtime) == ("nano33_bare", "compiled")
    assert "nordicnrf52 is not installed" in choice.reason and "\n" not in choice.reason


def test_auto_takes_an_installed_platform(tmp_path: Path) -> None:
    install(tmp_path, "nordicnrf52", "10.11.0")
    choice = toolchain.resolve(boards.load("nano33"), "auto")
    assert (choice.environment.name, choice.runtime) == ("nano33", "tflm")
    assert "is installed" in choice.reason


def test_another_version_is_not_the_one_that_is_pinned(tmp_path: Path) -> None:
    install(tmp_path, "nordicnrf52", "9.5.0")
    assert toolchain.resolve(boards.load("nano33"), "auto").environment.name == "nano33_bare"


def test_a_broken_platform_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "nordicnrf52").mkdir()
    (tmp_path / "nordicnrf52" / "platform.json").write_text("{")
    assert toolchain.resolve(boards.load("nano33"), "auto").environment.name == "nano33_bare"


def test_auto_takes_the_official_environment_where_the_registry_answers(
    registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "registry_endpoints", lambda: [registry])
    choice = toolchain.resolve(boards.load("nano33"), "auto")
    assert (choice.environment.name, choice.runtime) == ("nano33", "tflm")
    assert "registry answers" in choice.reason


def test_a_registry_without_the_platform(registry: str) -> None:
    assert not toolchain.registry_has("espressif32", [registry])


def test_one_answer_of_two_is_enough(registry: str) -> None:
    assert toolchain.registry_has("nordicnrf52", ["http://127.0.0.1:9", registry])


def test_a_registry_that_never_answers_costs_the_limit_and_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        assert not toolchain.registry_has("nordicnrf52", [f"http://127.0.0.1:{silent.getsockname()[1]}"], seconds=0.5)
        assert time.monotonic() - start < 1.5


def test_the_endpoints_are_platformio_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = toolchain.registry_endpoints()
    assert found and all(address.startswith("https://api.") for address in found)


def test_compiled_takes_the_bare_environment_even_with_a_platform(tmp_path: Path) -> None:
    install(tmp_path, "nordicnrf52", "10.11.0")
    choice = toolchain.resolve(boards.load("nano33"), "compiled")
    assert (choice.environment.name, choice.runtime) == ("nano33_bare", "compiled")


def test_tflm_without_a_registry_says_the_ways_out() -> None:
    with pytest.raises(ToolError, match=r"project is complete.*pio run -e nano33;.*--tflm-dir DIR") as caught:
        toolchain.resolve(boards.load("nano33"), "tflm")
    assert caught.value.exit_code == 5


def test_tflm_on_a_board_without_an_official_environment() -> None:
    with pytest.raises(UsageError, match=r"qemu_m4 has no environment that brings TFLite Micro.*--tflm-dir"):
        toolchain.resolve(boards.load("qemu_m4"), "tflm")


@pytest.mark.parametrize("runtime", ["tflm", "auto"])
@pytest.mark.parametrize(("board", "environment"), [("nano33", "nano33_bare"), ("qemu_m4", "qemu_m4")])
def test_a_source_tree_is_built_in_the_bare_environment(
    board: str, environment: str, runtime: toolchain.Wanted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflm_tree, "check_tree", lambda _: None)
    choice = toolchain.resolve(boards.load(board), runtime, tmp_path)
    assert (choice.environment.name, choice.runtime) == (environment, "tflm")
    assert str(tmp_path) in choice.reason


def test_a_folder_that_is_no_source_tree_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a TFLite Micro source tree"):
        toolchain.resolve(boards.load("qemu_m4"), "tflm", tmp_path)


def test_a_source_tree_does_not_go_with_the_compiled_runtime(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tflm-dir goes with --runtime tflm"):
        toolchain.resolve(boards.load("nano33"), "compiled", tmp_path)


def test_a_source_tree_on_a_board_without_a_bare_environment(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="esp32 has no bare environment"):
        toolchain.resolve(boards.load("esp32"), "tflm", tmp_path)


@pytest.mark.parametrize("runtime", ["auto", "tflm", "compiled"])
def test_a_board_with_only_an_official_environment_needs_the_registry(runtime: toolchain.Wanted) -> None:
    board = boards.load("esp32")
    board = board.model_copy(update={"tinyml": board.tinyml.model_copy(update={"bare": None, "twin": None})})
    with pytest.raises(
        ToolError, match=r"environment esp32 cannot be built here.*project is complete.*pio run -e esp32"
    ):
        toolchain.resolve(board, runtime)


def test_the_only_environment_is_taken() -> None:
    choice = toolchain.resolve(boards.load("qemu_m4"), "auto")
    assert (choice.environment.name, choice.runtime) == ("qemu_m4", "compiled")


def test_a_runtime_that_the_board_lacks() -> None:
    board = boards.load("qemu_m4")
    bare = board.tinyml.bare
    assert bare is not None
    section = board.tinyml.model_copy(update={"bare": bare.model_copy(update={"runtimes": ("compiled",)})})
    with pytest.raises(UsageError, match="qemu_m4 has no tflm runtime; allowed are auto, compiled"):
        toolchain.resolve(board.model_copy(update={"tinyml": section}), "tflm")


def test_a_missing_compiler_is_known_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(toolchain, "registry_has", lambda _: False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match=r"arm-none-eabi-gcc is not on the PATH.*apt-get install gcc-arm-none-eabi"):
        toolchain.resolve(boards.load("nano33"), "auto")


def test_an_architecture_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    message = compilers.missing("m68k")
    assert message is not None and "no compiler for m68k; it has armv6-m" in message


def test_an_image_that_is_not_for_the_board_says_so() -> None:
    choice = toolchain.resolve(boards.load("esp32"), "auto")
    assert choice.environment.name == "esp32_bare" and choice.reason.endswith("not for a board")


def test_a_named_environment() -> None:
    choice = toolchain.resolve(boards.load("nano33"), "auto", environment="nano33_bare")
    assert (choice.environment.name, choice.runtime) == ("nano33_bare", "compiled")


@pytest.mark.parametrize(
    ("environment", "runtime", "message"),
    [
        ("nano34", "auto", "board nano33 has no environment 'nano34'; allowed are nano33 or nano33_bare"),
        ("nano33_bare", "tflm", "--runtime tflm and --tflm-dir DIR go together"),
    ],
)
def test_a_named_environment_that_cannot_be(environment: str, runtime: toolchain.Wanted, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        toolchain.resolve(boards.load("nano33"), runtime, environment=environment)


def test_a_model_with_floats_where_the_compiler_has_none() -> None:
    """Refused before the build, and only there: the ESP32-C3's compiler computes with floats in software."""
    floats = graph.load(tflite([T((1, 4), "f4", None), T((1, 4), "i1")], [Op("QUANTIZE", [0], [1])], [0], [1]))
    integers = graph.load(tflite([T((1, 4), "i1"), T((1, 4), "i1")], [Op("RELU", [0], [1])], [0], [1]))
    esp32, esp32c3 = boards.load("esp32"), boards.load("esp32c3")
    official, *in_tree = esp32.environments
    toolchain.check_numbers(esp32, official, floats)
    for environment in in_tree:
        toolchain.check_numbers(esp32, environment, integers)
        with pytest.raises(UsageError, match=rf"is float32, and environment {environment.name} .*--environment esp32$"):
            toolchain.check_numbers(esp32, environment, floats)
    for environment in esp32c3.environments:
        toolchain.check_numbers(esp32c3, environment, floats)
