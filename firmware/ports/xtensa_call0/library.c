/* What gcc and the firmware expect of a C library and of libgcc, and Debian's xtensa-lx106-elf-gcc comes without:
 * memory functions, 32-bit division and 64-bit arithmetic. No floating point. */
#include <stdint.h>
#include <string.h>

/* A loop that copies bytes must not become a call of the function it is in. */
#pragma GCC optimize("no-tree-loop-distribute-patterns")

int32_t __divsi3(int32_t a, int32_t b);
int32_t __modsi3(int32_t a, int32_t b);
uint32_t __udivsi3(uint32_t a, uint32_t b);
uint32_t __umodsi3(uint32_t a, uint32_t b);
int64_t __muldi3(int64_t a, int64_t b);
int64_t __divdi3(int64_t a, int64_t b);
int64_t __moddi3(int64_t a, int64_t b);
uint64_t __udivdi3(uint64_t a, uint64_t b);
uint64_t __umoddi3(uint64_t a, uint64_t b);

#define ALIGNED(a, b) ((((uintptr_t)(a) | (uintptr_t)(b)) & 3u) == 0)

typedef uint32_t __attribute__((may_alias)) word;

void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  uint8_t *t = to;
  const uint8_t *f = from;
  if (ALIGNED(to, from)) {
    for (; bytes >= 4; bytes -= 4, t += 4, f += 4) *(word *)t = *(const word *)f;
  }
  while (bytes-- != 0) *t++ = *f++;
  return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
  uint8_t *t = to;
  const uint8_t *f = from;
  if ((uintptr_t)t - (uintptr_t)f >= bytes) return memcpy(to, from, bytes);
  while (bytes-- != 0) t[bytes] = f[bytes];
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  uint8_t *t = to;
  if (ALIGNED(to, 0)) {
    const uint32_t four = (uint8_t)value * 0x01010101u;
    for (; bytes >= 4; bytes -= 4, t += 4) *(word *)t = four;
  }
  while (bytes-- != 0) *t++ = (uint8_t)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t bytes) {
  const uint8_t *x = a, *y = b;
  for (; bytes != 0; bytes--, x++, y++) {
    if (*x != *y) return *x - *y;
  }
  return 0;
}

size_t strlen(const char *text) {
  const char *end = text;
  while (*end != '\0') end++;
  return (size_t)(end - text);
}

/* Long division, a bit a step; the leading zeros of the dividend are skipped. Division by 0 gives all ones, as in
 * hardware that does not trap. */
static uint32_t divide32(uint32_t a, uint32_t b, uint32_t *rest) {
  uint32_t quotient = 0, remainder = 0;
  if (b == 0) {
    *rest = a;
    return UINT32_MAX;
  }
  for (int bit = a == 0 ? -1 : 31 - __builtin_clz(a); bit >= 0; bit--) {
    const uint32_t carry = remainder >> 31;
    remainder = remainder << 1 | (a >> bit & 1u);
    if (carry != 0 || remainder >= b) {
      remainder -= b;
      quotient |= 1u << bit;
    }
  }
  *rest = remainder;
  return quotient;
}

static uint64_t divide64(uint64_t a, uint64_t b, uint64_t *rest) {
  uint64_t quotient = 0, remainder = 0;
  if (a >> 32 == 0 && b >> 32 == 0) {
    uint32_t rest32;
    quotient = divide32((uint32_t)a, (uint32_t)b, &rest32);
    *rest = rest32;
    return b == 0 ? UINT64_MAX : quotient;
  }
  if (b == 0) {
    *rest = a;
    return UINT64_MAX;
  }
  for (int bit = 63; bit >= 0; bit--) {
    const uint32_t carry = (uint32_t)(remainder >> 63);
    remainder = remainder << 1 | (a >> bit & 1u);
    if (carry != 0 || remainder >= b) {
      remainder -= b;
      quotient |= (uint64_t)1 << bit;
    }
  }
  *rest = remainder;
  return quotient;
}

/* The smallest value's magnitude is right too, as an unsigned number. */
static uint32_t magnitude32(int32_t x) { return x < 0 ? 0u - (uint32_t)x : (uint32_t)x; }
static uint64_t magnitude64(int64_t x) { return x < 0 ? 0u - (uint64_t)x : (uint64_t)x; }

uint32_t __udivsi3(uint32_t a, uint32_t b) {
  uint32_t rest;
  return divide32(a, b, &rest);
}

uint32_t __umodsi3(uint32_t a, uint32_t b) {
  uint32_t rest;
  (void)divide32(a, b, &rest);
  return rest;
}

int32_t __divsi3(int32_t a, int32_t b) {
  const uint32_t quotient = __udivsi3(magnitude32(a), magnitude32(b));
  return (int32_t)((a < 0) != (b < 0) ? 0u - quotient : quotient);
}

int32_t __modsi3(int32_t a, int32_t b) {
  const uint32_t rest = __umodsi3(magnitude32(a), magnitude32(b));
  return (int32_t)(a < 0 ? 0u - rest : rest);
}

uint64_t __udivdi3(uint64_t a, uint64_t b) {
  uint64_t rest;
  return divide64(a, b, &rest);
}

uint64_t __umoddi3(uint64_t a, uint64_t b) {
  uint64_t rest;
  (void)divide64(a, b, &rest);
  return rest;
}

int64_t __divdi3(int64_t a, int64_t b) {
  const uint64_t quotient = __udivdi3(magnitude64(a), magnitude64(b));
  return (int64_t)((a < 0) != (b < 0) ? 0u - quotient : quotient);
}

int64_t __moddi3(int64_t a, int64_t b) {
  const uint64_t rest = __umoddi3(magnitude64(a), magnitude64(b));
  return (int64_t)(a < 0 ? 0u - rest : rest);
}

/* The core multiplies 16 by 16 bits and gives the lower half of 32 by 32; modulo 2^64 signs do not matter. */
int64_t __muldi3(int64_t a, int64_t b) {
  const uint32_t al = (uint32_t)a, bl = (uint32_t)b;
  const uint32_t a0 = al & 0xFFFFu, a1 = al >> 16, b0 = bl & 0xFFFFu, b1 = bl >> 16;
  const uint32_t low = a0 * b0;
  const uint32_t middle = a1 * b0 + (low >> 16); /* below 2^32: (2^16 - 1)^2 + 2^16 - 1 */
  const uint32_t other = a0 * b1 + (middle & 0xFFFFu);
  uint32_t high = a1 * b1 + (middle >> 16) + (other >> 16);
  high += al * (uint32_t)((uint64_t)b >> 32) + bl * (uint32_t)((uint64_t)a >> 32);
  return (int64_t)((uint64_t)high << 32 | (other << 16 | (low & 0xFFFFu)));
}
