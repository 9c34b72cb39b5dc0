/* Where constant tables lie. On AVR, whose data and program memories have addresses of their own, a table that is
 * declared FEATURES_FLASH stays in flash and is read with the functions below; elsewhere these are plain reads.
 *
 * Right shifts of negative integers must be arithmetic and conversions to narrower signed integers must wrap, as they
 * do with every compiler this library is built with (gcc, clang). */
#ifndef FEATURES_FLASH_H
#define FEATURES_FLASH_H

#include <stdint.h>

#ifdef __AVR__
#include <avr/pgmspace.h>
#define FEATURES_FLASH PROGMEM
static inline uint8_t features_u8(const uint8_t *at) { return pgm_read_byte(at); }
static inline uint16_t features_u16(const uint16_t *at) { return pgm_read_word(at); }
#else
#define FEATURES_FLASH
static inline uint8_t features_u8(const uint8_t *at) { return *at; }
static inline uint16_t features_u16(const uint16_t *at) { return *at; }
#endif

static inline int16_t features_i16(const int16_t *at) { return (int16_t)features_u16((const uint16_t *)at); }

#endif
