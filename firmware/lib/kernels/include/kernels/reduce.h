/* int8 maximum and minimum along axes, and where they are. */
#ifndef KERNELS_REDUCE_H
#define KERNELS_REDUCE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The input seen as [kept[0]][reduced[0]][kept[1]][reduced[1]][kept[2]]: neighbouring axes of one kind are merged,
 * absent ones are 1. The output is [kept[0]][kept[1]][kept[2]]. */
typedef struct {
  int32_t kept[3];
  int32_t reduced[2];
} kernels_reduce_params;

/* Input and output must not overlap. */
void kernels_reduce_max_s8(const kernels_reduce_params *params, const int8_t *input, int8_t *output);
void kernels_reduce_min_s8(const kernels_reduce_params *params, const int8_t *input, int8_t *output);

typedef struct {
  int32_t outer;
  int32_t length; /* of the axis */
  int32_t inner;
} kernels_arg_params;

/* input: [outer][length][inner]; output: [outer][inner], the first index of the largest or smallest element. They must
 * not overlap. */
void kernels_arg_max_s8(const kernels_arg_params *params, const int8_t *input, int32_t *output);
void kernels_arg_min_s8(const kernels_arg_params *params, const int8_t *input, int32_t *output);

#ifdef __cplusplus
}
#endif

#endif
