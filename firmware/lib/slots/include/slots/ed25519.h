/* Ed25519 signatures (RFC 8032, 5.1), checking only. Everything that is handled is public, so that time may depend on
 * it; no secret ever is on a device. */
#ifndef SLOTS_ED25519_H
#define SLOTS_ED25519_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A part of a message that need not lie in one piece. */
typedef struct {
  const uint8_t *bytes;
  size_t count;
} ed25519_piece_t;

typedef int (*ed25519_check_t)(const uint8_t *signature, const uint8_t *key, const ed25519_piece_t *pieces,
                               unsigned count);

/* Whether `signature` (64 bytes) is that of `key` (32 bytes) for the pieces laid end to end. Takes about 1.5 KB of
 * stack. */
int ed25519_verify(const uint8_t *signature, const uint8_t *key, const ed25519_piece_t *pieces, unsigned count);

#ifdef __cplusplus
}
#endif

#endif
