/* A compiled model whose weights lie apart from the firmware: which image is in use. */
#ifndef SPLIT_H
#define SPLIT_H

#include "slots/slots.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The slots of this firmware. */
const slots_t *split_slots(void);

/* First 16 digits of the SHA-256 of the model in use; "none" before inference_init() and where there is none. */
const char *split_model(void);

/* The header of the image in use, or NULL. */
const uint8_t *split_header(void);

#ifdef __cplusplus
}
#endif

#endif
