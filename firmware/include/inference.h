/* The one interface between an application and a model; every runtime implements it.
 *
 * Order of calls: inference_init() once; then, for every inference, write all inputs, inference_run(), read the
 * outputs. Inputs and outputs may share memory with intermediate tensors: inputs must be written again before every
 * run, and outputs are valid until the next input is written. Not reentrant. */
#ifndef INFERENCE_H
#define INFERENCE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "compiled" or "tflm". */
const char *inference_runtime(void);

/* Prepares the model. Returns 0, or non-zero with the reason in inference_message(). */
int inference_init(void);

/* Forgets all inferences: variables and recurrent states are as after inference_init(). For models that keep a state,
 * at the start of each new sequence; others need no reset. Inputs must be written again. Returns 0, or non-zero with
 * the reason in inference_message(). */
int inference_reset(void);

/* Number of inputs and outputs; an index below runs from 0 to one less. */
unsigned inference_input_count(void);
unsigned inference_output_count(void);

/* Where input or output `index` lies, aligned to at least 4 bytes, and its size in bytes (C order, the model's own
 * element type). */
void *inference_input(unsigned index);
size_t inference_input_bytes(unsigned index);
const void *inference_output(unsigned index);
size_t inference_output_bytes(unsigned index);

/* Runs the model once. Returns 0, or non-zero with the reason in inference_message(). */
int inference_run(void);

/* The arena in bytes that the model uses (activations, scratch and, for an interpreter, its own data). */
size_t inference_arena_bytes(void);

/* The reason of the last failure as one line; "" where nothing failed. */
const char *inference_message(void);

#ifdef __cplusplus
}
#endif

#endif
