/* Copies of elements of any size to other places. Lengths, strides and offsets are in bytes where not said otherwise.
 * In all of these input and output must not overlap. */
#ifndef KERNELS_MOVE_H
#define KERNELS_MOVE_H

#include <stdint.h>

#include "kernels/flash.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t shape[5];   /* of the output, in runs, outermost first; absent dimensions are 1 */
  int32_t strides[5]; /* of the input, from one index to the next; may be negative or 0 */
  int32_t offset;     /* of the first run in the input */
  int32_t run;        /* bytes that lie together in both */
} kernels_move_params;

/* Slices, transpositions, mirror images: the output is written in order, the input read at equal distances. */
void kernels_move(const kernels_move_params *params, const void *input, void *output);

/* Runs whose offset is the sum of one offset a dimension. */
typedef struct {
  int32_t counts[4];                    /* offsets in each dimension, outermost first; absent dimensions have one, 0 */
  const KERNELS_FLASH int32_t *offsets; /* all of them, dimension by dimension */
  int32_t run;
} kernels_move_from_params;

/* The output is written in order, the input read at the offsets. */
void kernels_move_from(const kernels_move_from_params *params, const void *input, void *output);

typedef struct {
  int32_t counts[4];
  const KERNELS_FLASH int32_t *offsets;
  int32_t run;
  int32_t output_bytes;
  int32_t value; /* of every byte of the output that is not written */
} kernels_move_to_params;

/* The input is read in order, the output written at the offsets. */
void kernels_move_to(const kernels_move_to_params *params, const void *input, void *output);

typedef struct {
  int32_t batches;
  int32_t outer;
  int32_t length;  /* of the axis that is indexed */
  int32_t indices; /* of one batch */
  int32_t run;
} kernels_gather_params;

/* input: [batches][outer][length] runs, indices: [batches][indices], output: [batches][outer][indices] runs.
 * Indices beyond the axis are taken for the nearest one within. */
void kernels_gather(const kernels_gather_params *params, const void *input, const int32_t *indices, void *output);

#ifdef __cplusplus
}
#endif

#endif
