/* TFLite Micro behind inference.h: a model in flash, an interpreter, an arena of fixed size.
 *
 * Works with TFLite Micro as upstream publishes it and with its Arduino library Chirale_TensorFlowLite 2.0.0; C++14
 * (Arduino's) or later. Every failure of the interpreter becomes one line in inference_message(). */
#include "inference.h"

#include <cstdarg>
#include <cstdint>
#include <cstring>
#include <new>

#include "model_arena.h"
#include "model_data.h"
#include "model_ops.h"
#include "tensorflow/lite/micro/micro_allocator.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_profiler_interface.h"
#include "tensorflow/lite/micro/micro_resource_variable.h"
#include "tensorflow/lite/schema/schema_generated.h"
#include "tflm_log.h"
#include "tflm_trap.h"

#if defined(INFERENCE_TRACE)
extern "C" void inference_trace(unsigned op, unsigned tensor, const void *data, size_t bytes);
#endif

namespace {

// The interpreter's fixed structures alone need this; below it the library writes through a null pointer.
constexpr size_t kLeastArena = 1024;
static_assert(kTflmArenaBytes >= kLeastArena, "the arena in model_arena.h is below 1,024 bytes: generate it again");

alignas(16) uint8_t arena[kTflmArenaBytes];
alignas(ModelOpResolver) uint8_t resolver_memory[sizeof(ModelOpResolver)];
alignas(tflite::MicroInterpreter) uint8_t interpreter_memory[sizeof(tflite::MicroInterpreter)];

#if TFLM_DECOMPRESSION_BYTES > 0
// In a section of its own, so that a linker script can put it into another memory than the arena's.
alignas(16) uint8_t decoded_weights[TFLM_DECOMPRESSION_BYTES] __attribute__((section(".bss.decoded_weights")));
const tflite::MicroContext::AlternateMemoryRegion decoded_region = {decoded_weights, sizeof decoded_weights};
#endif

// Set once AllocateTensors() has succeeded.
tflite::MicroInterpreter *interpreter = nullptr;

#if defined(INFERENCE_TRACE)

// Tells the application where an operator begins and ends; those of other subgraphs belong to the one that calls them,
// and a decoder to the layer whose weights it decodes.
class Tracer : public tflite::MicroProfilerInterface {
 public:
  void Start() {
    next_ = depth_ = 0;
    decoder_ = false;
  }

  uint32_t BeginEvent(const char *name) override {
    if (depth_++ == 0) {
      if (!decoder_) {
        inference_trace(kBetween, 0, nullptr, 0);
      }
      decoder_ = name != nullptr && strcmp(name, "TFLM_DECODE") == 0;
    }
    return 0;
  }

  void EndEvent(uint32_t) override {
    if (--depth_ == 0 && !decoder_) {
      inference_trace(next_++, 0, nullptr, 0);
    }
  }

 private:
  static constexpr unsigned kBetween = ~0u;
  unsigned next_ = 0, depth_ = 0;
  bool decoder_ = false;  // the operator that runs, or ran last, decodes weights
};

Tracer tracer;
tflite::MicroProfilerInterface *const kProfiler = &tracer;

#else

tflite::MicroProfilerInterface *const kProfiler = nullptr;

#endif

char message[360];

int Fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  tflm_log::Format(message, sizeof message, format, args);
  va_end(args);
  return 1;
}

const char *Logged() {
  const char *text = tflm_log::Text();
  return text[0] != '\0' ? text : "the library gave no reason";
}

int CheckTypes(tflite::MicroInterpreter &made) {
  for (unsigned i = 0; i < kTflmInputs; ++i) {
    if (made.input(i) == nullptr || made.input(i)->type != kTflmInputTypes[i]) {
      return Fail("input %u is of type %s where the generated code expects %s; generate the project again", i,
                  made.input(i) == nullptr ? "none" : TfLiteTypeGetName(made.input(i)->type),
                  TfLiteTypeGetName(kTflmInputTypes[i]));
    }
  }
  for (unsigned i = 0; i < kTflmOutputs; ++i) {
    if (made.output(i) == nullptr || made.output(i)->type != kTflmOutputTypes[i]) {
      return Fail("output %u is of type %s where the generated code expects %s; generate the project again", i,
                  made.output(i) == nullptr ? "none" : TfLiteTypeGetName(made.output(i)->type),
                  TfLiteTypeGetName(kTflmOutputTypes[i]));
    }
  }
  return 0;
}

// Resource variables need an allocator of their own beside the interpreter; models without them keep the plain way.
tflite::MicroInterpreter *Make(const tflite::Model *model, const ModelOpResolver &resolver) {
  if (kTflmVariables == 0) {
    return new (interpreter_memory) tflite::MicroInterpreter(model, resolver, arena, sizeof arena, nullptr, kProfiler);
  }
  tflite::MicroAllocator *allocator = tflite::MicroAllocator::Create(arena, sizeof arena);
  tflite::MicroResourceVariables *variables =
      allocator == nullptr ? nullptr : tflite::MicroResourceVariables::Create(allocator, kTflmVariables);
  if (variables == nullptr) {
    return nullptr;
  }
  return new (interpreter_memory) tflite::MicroInterpreter(model, resolver, allocator, variables, kProfiler);
}

int Prepare() {
  const tflite::Model *model = tflite::GetModel(kTflmModel);
  if (model->version() != TFLITE_SCHEMA_VERSION) {
    return Fail("the model has schema version %u and this TFLite Micro reads %u; convert the model again",
                static_cast<unsigned>(model->version()), static_cast<unsigned>(TFLITE_SCHEMA_VERSION));
  }
  ModelOpResolver *resolver = new (resolver_memory) ModelOpResolver();
  const char *refused = AddModelOps(*resolver);
  if (refused != nullptr) {
    return Fail("operator %s cannot be registered: %s", refused, Logged());
  }
  tflite::MicroInterpreter *made = Make(model, *resolver);
  if (made == nullptr) {
    return Fail("an arena of %u bytes has no room for %u variables: %s", static_cast<unsigned>(sizeof arena),
                kTflmVariables, Logged());
  }
#if TFLM_DECOMPRESSION_BYTES > 0
  if (made->SetDecompressionMemory(&decoded_region, 1) != kTfLiteOk) {
    return Fail("an arena of %u bytes has no room for the record of decoded weights: %s",
                static_cast<unsigned>(sizeof arena), Logged());
  }
#endif
  if (made->AllocateTensors() != kTfLiteOk) {
    return Fail("AllocateTensors failed with an arena of %u bytes: %s", static_cast<unsigned>(sizeof arena), Logged());
  }
  if (made->inputs_size() != kTflmInputs || made->outputs_size() != kTflmOutputs) {
    return Fail("the model has %u inputs and %u outputs where the generated code expects %u and %u",
                static_cast<unsigned>(made->inputs_size()), static_cast<unsigned>(made->outputs_size()), kTflmInputs,
                kTflmOutputs);
  }
  if (CheckTypes(*made) != 0) {
    return 1;
  }
  interpreter = made;
  return 0;
}

int Invoke() {
#if defined(INFERENCE_TRACE)
  tracer.Start();
#endif
  const TfLiteStatus status = interpreter->Invoke();
  if (status != kTfLiteOk) {
    return Fail("Invoke failed with status %d: %s", static_cast<int>(status), Logged());
  }
  return 0;
}

// Runs a step of the interpreter; an abort inside the library comes back here.
int Guarded(int (*step)(), const char *name) {
  message[0] = '\0';
  tflm_log::Clear();
  if (setjmp(tflm_trap::place) != 0) {
    return Fail("%s gave up with an arena of %u bytes: %s", name, static_cast<unsigned>(sizeof arena), Logged());
  }
  tflm_trap::armed = true;
  const int result = step();
  tflm_trap::armed = false;
  return result;
}

}  // namespace

extern "C" {

const char *inference_runtime(void) { return "tflm"; }

int inference_init(void) {
  interpreter = nullptr;
  return Guarded(Prepare, "AllocateTensors");
}

// MicroInterpreter::Reset() would leave variables without the values that CALL_ONCE gives them.
int inference_reset(void) { return inference_init(); }

unsigned inference_input_count(void) { return kTflmInputs; }

unsigned inference_output_count(void) { return kTflmOutputs; }

void *inference_input(unsigned index) {
  return interpreter != nullptr && index < kTflmInputs ? interpreter->input(index)->data.raw : nullptr;
}

size_t inference_input_bytes(unsigned index) {
  return interpreter != nullptr && index < kTflmInputs ? interpreter->input(index)->bytes : 0;
}

const void *inference_output(unsigned index) {
  return interpreter != nullptr && index < kTflmOutputs ? interpreter->output(index)->data.raw : nullptr;
}

size_t inference_output_bytes(unsigned index) {
  return interpreter != nullptr && index < kTflmOutputs ? interpreter->output(index)->bytes : 0;
}

int inference_run(void) {
  if (interpreter == nullptr) {
    return Fail("inference_run called without a successful inference_init");
  }
  return Guarded(Invoke, "Invoke");
}

size_t inference_arena_bytes(void) { return interpreter != nullptr ? interpreter->arena_used_bytes() : 0; }

const char *inference_message(void) { return message; }

}  // extern "C"
