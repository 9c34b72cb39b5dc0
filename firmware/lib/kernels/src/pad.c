#include "kernels/pad.h"

#include <string.h>

void kernels_pad_s8(const kernels_pad_params *params, const int8_t *input, int8_t *output) {
  const int32_t *in = params->input, *out = params->output, *before = params->before;
  memset(output, params->value, (size_t)(out[0] * out[1] * out[2] * out[3] * out[4]));
  for (int32_t a = 0; a < in[0]; a++) {
    for (int32_t b = 0; b < in[1]; b++) {
      for (int32_t c = 0; c < in[2]; c++) {
        for (int32_t d = 0; d < in[3]; d++) {
          const int32_t plane = (a + before[0]) * out[1] + b + before[1];
          const int32_t row = (plane * out[2] + c + before[2]) * out[3] + d + before[3];
          memcpy(output + row * out[4] + before[4], input, (size_t)in[4]);
          input += in[4];
        }
      }
    }
  }
}
