/* SHA-512 (FIPS 180-4). */
#ifndef SHA512_H
#define SHA512_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint64_t state[8];
  uint64_t count; /* bytes so far */
  uint8_t block[128];
} sha512_t;

void sha512_start(sha512_t *hash);
void sha512_add(sha512_t *hash, const uint8_t *bytes, size_t count);

/* Writes the 64 bytes of the digest. */
void sha512_end(sha512_t *hash, uint8_t *digest);

#endif
