/* All kernels: int8 neural network operators in portable C99, without allocation and without floating point except
 * where the data itself is float32. The arithmetic is TFLite Micro's, bit for bit. Tensors are C order; images NHWC. */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "kernels/add.h"
#include "kernels/binary.h"
#include "kernels/bits.h"
#include "kernels/coded.h"
#include "kernels/conv.h"
#include "kernels/conv16.h"
#include "kernels/copy.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/elementwise16.h"
#include "kernels/lstm.h"
#include "kernels/matmul.h"
#include "kernels/mean.h"
#include "kernels/move.h"
#include "kernels/normalize.h"
#include "kernels/pad.h"
#include "kernels/parts.h"
#include "kernels/pool.h"
#include "kernels/pool16.h"
#include "kernels/rans.h"
#include "kernels/reduce.h"
#include "kernels/resize.h"
#include "kernels/softmax.h"
#include "kernels/softmax16.h"
#include "kernels/svdf.h"
#include "kernels/transpose_conv.h"

#endif
