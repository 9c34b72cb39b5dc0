/* Headers that nearly every source of TFLite Micro includes; sources.py precompiles them, which takes the greater part
 * off the time to build it. */
#include <algorithm>
#include <cstring>

#include "tensorflow/lite/kernels/internal/quantization_util.h"
#include "tensorflow/lite/kernels/kernel_util.h"
#include "tensorflow/lite/micro/kernels/kernel_util.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"
