/* Kernels for processors with Arm's DSP extension (Cortex-M4, M7, M33). The same contracts as the portable ones, other
 * layouts of the weights, and memory that is aligned to 4 bytes. */
#ifndef KERNELS_CORTEX_M4_H
#define KERNELS_CORTEX_M4_H

#include "kernels/cortex_m4/add.h"
#include "kernels/cortex_m4/conv.h"
#include "kernels/cortex_m4/dense.h"
#include "kernels/cortex_m4/depthwise.h"
#include "kernels/cortex_m4/depthwise_3x3.h"
#include "kernels/cortex_m4/int4.h"
#include "kernels/cortex_m4/matmul.h"
#include "kernels/cortex_m4/pool.h"

#endif
