/* What TFLite Micro asks of its platform: a log, a clock, and an end to a program that cannot go on.
 *
 * Built from source (TINYML_TFLM_FROM_SOURCE, see sources.py) all of it is ours. Chirale_TensorFlowLite has its own,
 * which prints on Serial; linked with -Wl,--wrap=DebugLog its log comes here first. Any other library keeps its own
 * log, and messages then say less. */
#include <cstdarg>
#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/micro/micro_context.h"
#include "tflm_log.h"
#include "tflm_trap.h"

#if defined(TINYML_TFLM_FROM_SOURCE)

#include "tensorflow/lite/micro/debug_log.h"
#include "tensorflow/lite/micro/micro_time.h"

extern "C" void DebugLog(const char *format, va_list args) {
  char line[160];
  tflm_log::Format(line, sizeof line, format, args);
  tflm_log::Write(line);
}

extern "C" int DebugVsnprintf(char *buffer, size_t buf_size, const char *format, va_list vlist) {
  return tflm_log::Format(buffer, buf_size, format, vlist);
}

namespace tflite {

// No clock: a profiler reads zeros.
uint32_t ticks_per_second() { return 0; }
uint32_t GetCurrentTimeTicks() { return 0; }

}  // namespace tflite

#elif defined(__has_include)
#if __has_include("Chirale_TensorFlowLite.h")

extern "C" void __wrap_DebugLog(const char *text);
extern "C" void __wrap_DebugLog(const char *text) { tflm_log::Write(text); }

#endif
#endif

namespace tflm_trap {

jmp_buf place;
bool armed = false;

}  // namespace tflm_trap

namespace {

[[noreturn]] void Leave() {
  if (tflm_trap::armed) {
    tflm_trap::armed = false;
    longjmp(tflm_trap::place, 1);
  }
  __builtin_trap();
}

}  // namespace

/* With -Wl,--wrap=abort a check that fails inside the library ends in inference_message() instead of a silent halt. */
extern "C" [[noreturn]] void __wrap_abort(void);
extern "C" [[noreturn]] void __wrap_abort(void) { Leave(); }

/* tflite::MicroContextAllocatePersistentBuffer(TfLiteContext *, size_t). The library's own is inline, hence weak, and
 * this one takes its place when linking. Where the arena is too small, the library's returns a null pointer that most
 * kernels write through; here the failure becomes a message: the library has logged the missing bytes by then. */
extern "C" void *TflmAllocate(TfLiteContext *context, size_t bytes) __asm__(
    "_ZN6tflite36MicroContextAllocatePersistentBufferEP13TfLiteContextj");
extern "C" void *TflmAllocate(TfLiteContext *context, size_t bytes) {
  void *found = tflite::GetMicroContext(context)->AllocatePersistentBuffer(bytes);
  if (found == nullptr) {
    Leave();
  }
  return found;
}
