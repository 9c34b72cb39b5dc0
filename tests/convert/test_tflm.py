import ctypes
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from models import Op, T, dense, tflite

from convert import golden, graph, tflm, tflm_arena, tflm_tree
from convert.errors import UsageError
from convert.golden import ArenaUse
from convert.paths import FIRMWARE

CONV = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
HOST = ArenaUse(2000, 500, 1500)

needs_cxx = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ on the PATH")


def load(*model):
    return graph.load(tflite(*model))


def conv_net(dtype="i1"):
    """CONV_2D 3x3, AVERAGE_POOL_2D, FULLY_CONNECTED, SOFTMAX on 6x6x2."""
    tensors = [
        T((1, 6, 6, 2), dtype, name="x"),
        T((4, 3, 3, 2), dtype, data=np.ones((4, 3, 3, 2)), scale=[0.1, 0.2, 0.3, 0.4]),
        T((4,), "i4", data=[0] * 4, scale=[0.1, 0.2, 0.3, 0.4]),
        T((1, 4, 4, 4), dtype),
        T((1, 1, 1, 4), dtype),
        T((5, 4), dtype, data=np.ones((5, 4))),
        T((1, 5), dtype),
        T((1, 5), dtype, scale=1 / 256, zero_point=-128, name="y"),
    ]
    pool = {"strideH": 4, "strideW": 4, "filterHeight": 4, "filterWidth": 4, "padding": 1}
    ops = [
        Op("CONV_2D", [0, 1, 2], [3], "Conv2DOptions", {**CONV, "padding": 1}),
        Op("AVERAGE_POOL_2D", [3], [4], "Pool2DOptions", pool),
        Op("FULLY_CONNECTED", [4, 5, -1], [6], "FullyConnectedOptions"),
        Op("SOFTMAX", [6], [7], "SoftmaxOptions", {"beta": 1.0}),
    ]
    return tensors, ops, [0], [7]


def unary(name, options=None, dtype="i1"):
    return load([T((1, 4), dtype, name="x"), T((1, 4), dtype, name="y")], [Op(name, [0], [1], options)], [0], [1])


def rendered(view):
    return tflm.render(view, tflm.plan_arena(view, HOST))


def array(source):
    body = source[source.index("= {") + 3 : source.index("};")]
    return bytes(int(word) for word in body.replace("\n", " ").split(",") if word.strip())


def test_the_array_is_the_model_byte_for_byte():
    view = load(*dense())
    files = rendered(view)
    assert array(files["model_data.cc"]) == view.data
    assert f"kTflmModelBytes = {len(view.data)}u" in files["model_data.h"]


def test_every_file_names_the_model_it_was_made_from():
    view = load(*dense())
    for name, content in rendered(view).items():
        if name != tflm.OPERATORS_FILE:
            assert view.sha256 in content.splitlines()[0]


def test_rendering_is_stable():
    first, second = rendered(load(*conv_net())), rendered(load(*conv_net()))
    assert first == second


def test_the_resolver_holds_exactly_the_operators():
    files = rendered(load(*conv_net()))
    assert re.findall(r"resolver\.(\w+)\(([^)]*\)|)\)", files["model_ops.h"]) == [
        ("AddAveragePool2D", "tflite::Register_AVERAGE_POOL_2D_INT8()"),
        ("AddConv2D", "tflite::Register_CONV_2D_INT8()"),
        ("AddFullyConnected", "tflite::Register_FULLY_CONNECTED_INT8()"),
        ("AddSoftmax", "tflite::Register_SOFTMAX_INT8()"),
    ]
    assert "MicroMutableOpResolver<4>" in files["model_ops.h"]
    assert files[tflm.OPERATORS_FILE].split() == ["AVERAGE_POOL_2D", "CONV_2D", "FULLY_CONNECTED", "SOFTMAX"]
    assert '#include "tensorflow/lite/micro/kernels/pooling.h"' in files["model_ops.h"]


def test_an_operator_used_twice_is_registered_once():
    tensors = [T((1, 4), name="x"), T((1, 4)), T((1, 4), name="y")]
    view = load(tensors, [Op("RELU", [0], [1]), Op("RELU", [1], [2])], [0], [2])
    assert [r.method for r in tflm.registrations(view)] == ["AddRelu"]


def test_another_type_takes_the_registration_for_all_types():
    assert {r.registration for r in tflm.registrations(load(*conv_net("i2")))} == {""}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("CUMSUM", "AddCumSum"),
        ("L2_POOL_2D", "AddL2Pool2D"),
        ("PADV2", "AddPadV2"),
        ("RELU6", "AddRelu6"),
        ("RESIZE_NEAREST_NEIGHBOR", "AddResizeNearestNeighbor"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
        ("ZEROS_LIKE", "AddZerosLike"),
    ],
)
def test_methods_are_spelt_as_the_library_spells_them(name, method):
    assert [r.method for r in tflm.registrations(unary(name))] == [method]


def test_the_registrations_that_both_libraries_have():
    # Facts of upstream 90b983c and Chirale_TensorFLowLite 2.0.0: the latter has no PAD_INT8, MAXIMUM_INT8, ...
    assert set(tflm._INT8) == {
        *("ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
        *("MAX_POOL_2D", "MUL", "SOFTMAX", "SVDF"),
    }
    assert len(tflm._PLAIN | set(tflm._METHODS)) == 100
    assert not tflm._PLAIN & set(tflm._METHODS)


def test_unknown_operator_is_refused_by_name():
    with pytest.raises(UsageError, match=r"operator 0 \(FFT2D_MINE\): .*no method.*allowed are ABS.*Replace"):
        rendered(load([T((1, 4)), T((1, 4))], [Op("CUSTOM", [0], [1], custom="FFT2D_MINE")], [0], [1]))
    with pytest.raises(UsageError, match=r"operator 0 \(REDUCE_PROD\)"):
        rendered(unary("REDUCE_PROD"))


def test_dense_layers_per_channel_do_not_compile_with_chirale():
    tensors, ops, inputs, outputs = dense()
    assert tflm.chirale_refusals(load(tensors, ops, inputs, outputs)) == ()
    tensors[1].scale = tensors[2].scale = [0.01, 0.02, 0.03]
    view = load(tensors, ops, inputs, outputs)
    assert re.search(r"operator 0 \(FULLY_CONNECTED\).*per channel.*per tensor", tflm.chirale_refusals(view)[0])
    assert '#error "operator 0 (FULLY_CONNECTED)' in rendered(view)["model_ops.h"]
    with pytest.raises(UsageError, match=r"computes wrongly.*Take --runtime compiled"):
        tflm.check_arduino(view)


def test_operators_that_chirale_lacks_do_not_compile_with_it():
    assert tflm.chirale_refusals(unary("REVERSE_V2")) == ("REVERSE_V2 is not in Chirale_TensorFLowLite 2.0.0",)


def test_mean_is_noted_for_chirale():
    axes = T((2,), "i4", data=[1, 2], scale=None)
    tensors = [T((1, 4, 4, 2), name="x"), axes, T((1, 2), name="y")]
    view = load(tensors, [Op("MEAN", [0, 1], [2], "ReducerOptions")], [0], [2])
    assert "differ by 1" in tflm.chirale_notes(view)[0]
    assert "#pragma message" in rendered(view)["model_ops.h"]
    assert "#pragma message" not in rendered(load(*dense()))["model_ops.h"]


STUB = "enum TfLiteType { kTfLiteInt8 = 9, kTfLiteFloat32 = 1 };\n"


@needs_cxx
def test_the_generated_array_compiles_and_holds_the_model(tmp_path):
    view = load(*dense())
    for name, content in rendered(view).items():
        (tmp_path / name).write_text(content)
    header = tmp_path / "stub/tensorflow/lite/c/common.h"
    header.parent.mkdir(parents=True)
    header.write_text(STUB)
    library = tmp_path / "data.so"
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{tmp_path / 'stub'}"]
    subprocess.run(["g++", *flags, str(tmp_path / "model_data.cc"), "-o", str(library)], check=True)
    at = (ctypes.c_ubyte * len(view.data)).in_dll(ctypes.CDLL(str(library)), "kTflmModel")
    assert bytes(at) == view.data
    assert ctypes.addressof(at) % 16 == 0


# --- the arena


def test_the_plan_is_the_hosts_total_and_a_reserve_where_no_kernel_needs_scratch():
    plan = tflm.plan_arena(load(*dense()), HOST)
    assert plan.bytes == 2000 + 256
    assert plan.margin_bytes == 256 + 12 * 4 + 32 * 1
    assert "2000 bytes" in plan.explanation
    assert f"kTflmArenaBytes = {plan.bytes}u" in rendered(load(*dense()))["model_arena.h"]


def test_the_plan_is_never_below_what_the_library_survives():
    assert tflm.plan_arena(load(*dense()), ArenaUse(400, 16, 384)).bytes == 1024


def test_scratch_of_cmsis_nn():
    view = load(*conv_net())
    assert [tflm_arena.scratch_bytes(view, op) for op in view.operators] == [4 * 20, 4 * 4, 0, 0]
    # 3x3x2 = 18 values a column, rounded up to 20; the pool sums 4 channels in 32 bits.


def test_pointwise_convolutions_need_no_scratch():
    tensors = [T((1, 4, 4, 8)), T((8, 1, 1, 8), data=np.ones((8, 1, 1, 8))), T((1, 4, 4, 8))]
    view = load(tensors, [Op("CONV_2D", [0, 1, -1], [2], "Conv2DOptions", CONV)], [0], [2])
    assert tflm_arena.scratch_bytes(view, view.operators[0]) == 0


def test_depthwise_scratch_is_one_patch_as_int16():
    tensors = [T((1, 9, 9, 8)), T((1, 5, 5, 8), data=np.ones((1, 5, 5, 8)), axis=3), T((1, 5, 5, 8))]
    ops = [Op("DEPTHWISE_CONV_2D", [0, 1, -1], [2], "DepthwiseConv2DOptions", {**CONV, "depthMultiplier": 1})]
    view = load(tensors, ops, [0], [2])
    assert tflm_arena.scratch_bytes(view, view.operators[0]) == 2 * 25 * 8


def test_scratch_of_cmsis_nn_on_the_vector_extension():
    """On Cortex-M55 the host's figure and the DSP extension's were too small for a depthwise convolution."""
    view = load(*conv_net())
    # Four columns of 18 values, rounded up to 32; five sums in 32 bits.
    assert [tflm_arena.vector_scratch_bytes(view, op) for op in view.operators] == [4 * 32, 0, 4 * 5, 0]
    tensors = [T((1, 8, 8, 8), name="x"), T((1, 5, 5, 8), data=np.ones((1, 5, 5, 8))), T((1, 4, 4, 8), name="y")]
    view = load(
        tensors, [Op("DEPTHWISE_CONV_2D", [0, 1], [2], "DepthwiseConv2DOptions", {"depthMultiplier": 1})], [0], [2]
    )
    assert tflm_arena.vector_scratch_bytes(view, view.operators[0]) == 4 * 124 * 25
    more = tflm.plan_arena(view, HOST, "cortex-m55").bytes - tflm.plan_arena(view, HOST, "cortex-m4").bytes
    assert more == 4 * 124 * 25 - 2 * 25 * 8


def test_scratch_enlarges_the_plan_only_where_it_does_not_fit_in_a_gap():
    tensors = [T((1, 8, 8, 1)), T((1, 3, 3, 1), data=np.ones((1, 3, 3, 1))), T((1, 6, 6, 1))]
    ops = [Op("CONV_2D", [0, 1, -1], [2], "Conv2DOptions", {**CONV, "padding": 1})]
    plan = tflm.plan_arena(load(tensors, ops, [0], [2]), HOST)
    assert plan.bytes == 2000 + 48 + 256  # 4 * 12 bytes of scratch beside 64 and 48 of activations


B = tflm_arena.Buffer


def test_the_greedy_plan():
    assert tflm_arena.greedy_plan([]) == 0
    assert tflm_arena.greedy_plan([B(1, 0, 0)]) == 16
    assert tflm_arena.greedy_plan([B(100, 0, 1), B(100, 1, 2), B(100, 2, 3)]) == 224
    # The last 32 bytes fit below the 64 that live at the same time: a gap is used.
    assert tflm_arena.greedy_plan([B(64, 0, 1), B(64, 1, 2), B(32, 2, 3)]) == 128


def test_the_plan_of_the_activations_is_the_wheels_own_head():
    view = load(*conv_net())
    measured = golden.run(view, np.zeros((1, 72), np.uint8)).arena
    buffers = [B(view.tensors[i].nbytes, first, last) for i, (first, last) in view.lifetimes.items()]
    assert tflm_arena.greedy_plan(buffers) == measured.head
    assert tflm.plan_arena(view, measured).bytes >= measured.total


# --- a source tree

CORE = ("micro_interpreter.cc", "micro_mutable_op_resolver.h", "micro_allocator.cc", "debug_log.cc", "micro_time.cc")


def tree(root, third_party="third_party", cmsis=False, rename=False):
    """The files that matter of a TFLite Micro tree."""
    names = [f"tensorflow/lite/micro/{name}" for name in CORE]
    names += ["tensorflow/lite/schema/schema_generated.h", "tensorflow/lite/micro/micro_interpreter_test.cc"]
    names += [f"{third_party}/flatbuffers/include/flatbuffers/flatbuffers.h"]
    names += [f"{third_party}/gemmlowp/fixedpoint/fixedpoint.h", f"{third_party}/ruy/ruy/profiler/instrumentation.h"]
    for name in names:
        put(root, name.replace(".cc", ".cpp") if rename else name)
    kernel = "TFLMRegistration Register_{}() {{\n"
    put(root, "tensorflow/lite/micro/kernels/conv.cc", kernel.format("CONV_2D"))
    put(root, "tensorflow/lite/micro/kernels/relu.cc", kernel.format("RELU"))
    put(root, "tensorflow/lite/micro/kernels/kernel_util.cc", "int shared;\n")
    put(root, "tensorflow/lite/micro/kernels/decode_state.cc")
    put(root, "tensorflow/lite/micro/kernels/conv_test.cc")
    if cmsis:
        put(root, "tensorflow/lite/micro/kernels/cmsis_nn/conv.cc", kernel.format("CONV_2D_INT8"))
        put(root, f"{third_party}/cmsis_nn/Include/arm_nnfunctions.h")
        put(root, f"{third_party}/cmsis_nn/Source/arm_convolve_s8.c")
        put(root, f"{third_party}/cmsis_nn/Source/arm_convolve_f32.c")
        put(root, f"{third_party}/cmsis/CMSIS/Core/Include/cmsis_gcc.h")
    return root


def put(root, name, content=""):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


def kernels(found):
    return {path.relative_to(found.root).as_posix() for path in found.kernels}


@pytest.mark.parametrize("third_party", ["third_party", "tensorflow/lite/micro/tools/make/downloads"])
def test_both_forms_of_tree_are_taken(tmp_path, third_party):
    found = tflm_tree.scan(tree(tmp_path, third_party))
    assert (tmp_path / third_party / "flatbuffers/include").resolve() in found.includes
    assert ("TF_LITE_STATIC_MEMORY", 1) in found.defines
    assert not found.cmsis_nn
    names = [path.name for path in found.core]
    assert "micro_interpreter.cc" in names
    assert not {"debug_log.cc", "micro_time.cc", "micro_interpreter_test.cc"} & set(names)
    assert kernels(found) == {f"tensorflow/lite/micro/kernels/{n}.cc" for n in ("conv", "relu", "kernel_util")}


def test_the_decoder_is_compiled_for_models_that_have_it(tmp_path):
    ops = ["CONV_2D", "TFLM_DECODE"]
    with pytest.raises(UsageError, match=r"decode\.cc is missing, the tree is older.*or --compress none"):
        tflm_tree.scan(tree(tmp_path), ops)
    for name in ("decode", "decode_state", "decode_state_lut", "decode_state_lut_test", "decode_test", "decompress"):
        put(tmp_path, f"tensorflow/lite/micro/kernels/{name}.cc")
    found = tflm_tree.scan(tmp_path, ops)
    assert [path.stem for path in found.core if "deco" in path.stem] == ["decode", "decode_state_lut"], "built for size"
    assert not [path for path in (*tflm_tree.scan(tmp_path, ops[:1]).core, *found.kernels) if "deco" in path.stem]


def test_cmsis_nn_replaces_kernels_of_the_same_name(tmp_path):
    found = tflm_tree.scan(tree(tmp_path, cmsis=True))
    assert found.cmsis_nn and ("CMSIS_NN", 1) in found.defines
    assert "tensorflow/lite/micro/kernels/cmsis_nn/conv.cc" in kernels(found)
    assert "tensorflow/lite/micro/kernels/conv.cc" not in kernels(found)
    assert "third_party/cmsis_nn/Source/arm_convolve_s8.c" in kernels(found)
    assert "third_party/cmsis_nn/Source/arm_convolve_f32.c" not in kernels(found)


def test_core_headers_without_their_m_profile_folder_are_not_whole(tmp_path):
    root = tree(tmp_path, cmsis=True)
    put(root, "third_party/cmsis/CMSIS/Core/Include/cmsis_gcc.h", '#include "m-profile/cmsis_gcc_m.h"\n')
    assert not tflm_tree.scan(root).cmsis_nn
    (root / "tensorflow/lite/micro/kernels/conv.cc").unlink()
    with pytest.raises(UsageError, match=r"m-profile folder, which create_tflm_tree\.py leaves out: copy it"):
        tflm_tree.check_tree(root)
    put(root, "third_party/cmsis/CMSIS/Core/Include/m-profile/cmsis_gcc_m.h")
    assert tflm_tree.scan(root).cmsis_nn


def test_only_the_operators_asked_for_are_compiled(tmp_path):
    found = tflm_tree.scan(tree(tmp_path, cmsis=True), ["CONV_2D"])
    assert {name for name in kernels(found) if "third_party" not in name} == {
        "tensorflow/lite/micro/kernels/cmsis_nn/conv.cc",
        "tensorflow/lite/micro/kernels/kernel_util.cc",
    }


def test_renamed_sources_are_taken(tmp_path):
    assert "micro_interpreter.cpp" in [path.name for path in tflm_tree.scan(tree(tmp_path, rename=True)).core]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("tensorflow/lite/micro", r"not a TFLite Micro source tree.*create_tflm_tree\.py"),
        ("tensorflow/lite/micro/micro_allocator.cc", r"micro_allocator is missing.*create_tflm_tree\.py"),
        ("third_party/ruy", r"ruy is missing.*third_party_downloads"),
        ("third_party/flatbuffers", r"flatbuffers is missing.*third_party_downloads"),
        ("tensorflow/lite/micro/kernels/conv.cc", r"neither reference nor CMSIS-NN kernels"),
    ],
)
def test_an_incomplete_tree_is_refused_with_the_command_that_makes_it(tmp_path, missing, message):
    path = tree(tmp_path) / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UsageError, match=message):
        tflm_tree.check_tree(tmp_path)


def test_the_tree_module_needs_the_standard_library_alone():
    # PlatformIO's Python may lack the project's dependencies; -S leaves out site-packages.
    subprocess.run(
        [sys.executable, "-S", "-c", "import convert.tflm_tree"],
        check=True,
        cwd=FIRMWARE.parent,
        env={"PYTHONPATH": ""},
    )


# --- the log

SHIM = r"""
#include "tflm_log.h"
extern "C" int format(char *to, size_t size, const char *text, ...) {
  va_list args;
  va_start(args, text);
  const int length = tflm_log::Format(to, size, text, args);
  va_end(args);
  return length;
}
extern "C" void clear() { tflm_log::Clear(); }
extern "C" void write_log(const char *text) { tflm_log::Write(text); }
extern "C" const char *text() { return tflm_log::Text(); }
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    if shutil.which("g++") is None:
        pytest.skip("needs g++ on the PATH")
    folder = tmp_path_factory.mktemp("log")
    (folder / "shim.cpp").write_text(SHIM)
    runtime = FIRMWARE / "runtimes/tflm"
    flags = ["-std=c++14", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{runtime}"]
    sources = [str(folder / "shim.cpp"), str(runtime / "tflm_log.cpp")]
    subprocess.run(["g++", *flags, *sources, "-o", str(folder / "log.so")], check=True)
    library = ctypes.CDLL(str(folder / "log.so"))
    library.text.restype = ctypes.c_char_p
    return library


@pytest.mark.parametrize(
    ("text", "args", "expected"),
    [
        (b"plain 100%%", (), "plain 100%"),
        (b"%d %i", (-5, 7), "-5 7"),
        (b"%u", (ctypes.c_uint(4294967295),), "4294967295"),
        (b"%x %X %08x", (0xBEEF, 0xBEEF, 0xBEEF), "beef BEEF 0000beef"),
        (b"%zu %ld", (ctypes.c_size_t(1 << 33), ctypes.c_long(-(1 << 33))), "8589934592 -8589934592"),
        (b"[%5d|%-5d|%05d]", (42, 42, -42), "[   42|42   |-0042]"),
        (b"%s %.3s %c", (b"text", b"text", ord("!")), "text tex !"),
        (b"%s", (None,), "(null)"),
        (b"%f %.2f", (ctypes.c_double(-1.5), ctypes.c_double(0.996)), "-1.500000 1.00"),
        (b"%f", (ctypes.c_double(float("nan")),), "nan"),
        (b"end %", (), "end "),
    ],
)
def test_messages_are_formatted(log, text, args, expected):
    to = ctypes.create_string_buffer(100)
    assert log.format(to, ctypes.c_size_t(100), text, *args) == len(expected)
    assert to.value.decode() == expected


def test_a_long_message_is_cut(log):
    to = ctypes.create_string_buffer(b"~" * 10)
    assert log.format(to, ctypes.c_size_t(5), b"%s", b"abcdefgh") == 8
    assert to.raw[:6] == b"abcd\0~"


def test_lines_of_the_log_become_one(log):
    log.clear()
    assert log.text() == b""
    for line in (b"Failed to resize.", b"\r\n", b"Node CONV_2D\n ", b"\r\n"):
        log.write_log(line)
    assert log.text() == b"Failed to resize.; Node CONV_2D"
    log.write_log(b"x" * 1000)
    assert len(log.text()) < 240
