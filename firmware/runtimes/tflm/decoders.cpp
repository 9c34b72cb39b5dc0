/* The decoders of compressed weights that a model needs, and no others: the library's own decode_state.cc makes any of
 * them, so that all would be linked. A decoder lives in the arena; nullptr is TFLite Micro's failure to make one. */
#include "model_ops.h"

#if defined(TFLM_DECODES_LUT) || defined(TFLM_DECODES_HUFFMAN) || defined(TFLM_DECODES_PRUNE)

#include <new>

#include "tensorflow/lite/micro/kernels/decode_state.h"
#include "tensorflow/lite/micro/kernels/decode_state_huffman.h"
#include "tensorflow/lite/micro/kernels/decode_state_lut.h"
#include "tensorflow/lite/micro/kernels/decode_state_prune.h"
#include "tensorflow/lite/micro/micro_context.h"

namespace {

template <typename Decoder>
tflite::DecodeState *Make(const TfLiteContext *context, tflite::MicroProfilerInterface *profiler) {
  void *place = tflite::GetMicroContext(context)->AllocatePersistentBuffer(sizeof(Decoder));
  return place == nullptr ? nullptr : new (place) Decoder(context, profiler);
}

}  // namespace

namespace tflite {

DecodeState *DecodeState::CreateDecodeStateLUT(const TfLiteContext *context, MicroProfilerInterface *profiler) {
#if defined(TFLM_DECODES_LUT)
  return Make<DecodeStateLut>(context, profiler);
#else
  (void)context;
  (void)profiler;
  return nullptr;
#endif
}

DecodeState *DecodeState::CreateDecodeStateHuffman(const TfLiteContext *context, MicroProfilerInterface *profiler) {
#if defined(TFLM_DECODES_HUFFMAN)
  return Make<DecodeStateHuffman>(context, profiler);
#else
  (void)context;
  (void)profiler;
  return nullptr;
#endif
}

DecodeState *DecodeState::CreateDecodeStatePrune(const TfLiteContext *context, MicroProfilerInterface *profiler) {
#if defined(TFLM_DECODES_PRUNE)
  return Make<DecodeStatePrune>(context, profiler);
#else
  (void)context;
  (void)profiler;
  return nullptr;
#endif
}

}  // namespace tflite

#endif
