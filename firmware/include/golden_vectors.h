/* Test inputs that travel with the firmware; generated for each model (golden_vectors.c).
 *
 * Vector 0 is the probe: byte i of an int8 input is (i * 37 + 11) % 256 - 128. */
#ifndef GOLDEN_VECTORS_H
#define GOLDEN_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

extern const unsigned golden_vector_count;

/* Copies `bytes` bytes of vector `vector`, from byte `offset` of the model's inputs laid end to end. */
void golden_vector_read(unsigned vector, size_t offset, uint8_t *to, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif
