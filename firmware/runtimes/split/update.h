/* A new weights image over the serial protocol: docs/serial_protocol.md, docs/two_images.md. */
#ifndef UPDATE_H
#define UPDATE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { UPDATE_SLOTS = 8, UPDATE_BEGIN = 9, UPDATE_DATA = 10, UPDATE_FINISH = 11 };

/* Bytes of the longest request's data, and of the longest answer. */
#define UPDATE_CHUNK 256u
#define UPDATE_BODY (6u + UPDATE_CHUNK)
#define UPDATE_ANSWER (3u + 4u + 4u + 8u + 32u)

/* Carries out a request: `body` are its `count` bytes after command and sequence number. Returns NULL and the answer,
 * or why it is refused. Afterwards *changed says whether another model is in use; the caller forgets what it knew. */
const char *update_request(uint8_t command, const uint8_t *body, uint32_t count, uint8_t *answer, size_t *answer_bytes,
                           int *changed);

#ifdef __cplusplus
}
#endif

#endif
