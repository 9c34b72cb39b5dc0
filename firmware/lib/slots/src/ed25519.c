/* Numbers are 8 words of 32 bits, the least first. Modulo p = 2^255 - 19 they may be anything below 2^256; 2^256 is 38.
 * Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z on -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032, 5.1.4). */
#include "slots/ed25519.h"

#include <string.h>

#include "sha512.h"

typedef uint32_t number[8];
typedef struct {
  number x, y, z, t;
} point;

static const number prime = {0xFFFFFFEDu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu,
                             0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0x7FFFFFFFu};
/* The order of the base point. */
static const number order = {0x5CF5D3EDu, 0x5812631Au, 0xA2F79CD6u, 0x14DEF9DEu,
                             0x00000000u, 0x00000000u, 0x00000000u, 0x10000000u};
/* d = -121665/121666, twice it, and a square root of -1. */
static const number d = {0x135978A3u, 0x75EB4DCAu, 0x4141D8ABu, 0x00700A4Du,
                         0x7779E898u, 0x8CC74079u, 0x2B6FFE73u, 0x52036CEEu};
static const number twice_d = {0x26B2F159u, 0xEBD69B94u, 0x8283B156u, 0x00E0149Au,
                               0xEEF3D130u, 0x198E80F2u, 0x56DFFCE7u, 0x2406D9DCu};
static const number root = {0x4A0EA0B0u, 0xC4EE1B27u, 0xAD2FE478u, 0x2F431806u,
                            0x3DFBD7A7u, 0x2B4D0099u, 0x4FC1DF0Bu, 0x2B832480u};
static const point base = {
    {0x8F25D51Au, 0xC9562D60u, 0x9525A7B2u, 0x692CC760u, 0xFDD6DC5Cu, 0xC0A4E231u, 0xCD6E53FEu, 0x216936D3u},
    {0x66666658u, 0x66666666u, 0x66666666u, 0x66666666u, 0x66666666u, 0x66666666u, 0x66666666u, 0x66666666u},
    {1},
    {0xA5B7DDA3u, 0x6DDE8AB3u, 0x775152F5u, 0x20F09F80u, 0x64ABE37Du, 0x66EA4E8Eu, 0xD78B7665u, 0x67875F0Fu}};

static uint32_t add_words(uint32_t *to, const uint32_t *a, const uint32_t *b) {
  uint64_t carry = 0;
  for (unsigned i = 0; i < 8; i++) {
    carry += (uint64_t)a[i] + b[i];
    to[i] = (uint32_t)carry;
    carry >>= 32;
  }
  return (uint32_t)carry;
}

static uint32_t subtract_words(uint32_t *to, const uint32_t *a, const uint32_t *b) {
  uint64_t borrow = 0;
  for (unsigned i = 0; i < 8; i++) {
    const uint64_t difference = (uint64_t)a[i] - b[i] - borrow;
    to[i] = (uint32_t)difference;
    borrow = difference >> 63;
  }
  return (uint32_t)borrow;
}

static int is_below(const uint32_t *a, const uint32_t *b) {
  number ignored;
  return subtract_words(ignored, a, b) != 0;
}

static void read_number(uint32_t *to, const uint8_t *bytes) {
  for (unsigned i = 0; i < 8; i++, bytes += 4) {
    to[i] = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
  }
}

/* Modulo p. */

static void fold(uint32_t *to, uint32_t over) {
  while (over != 0) {
    const number more = {38 * over};
    over = add_words(to, to, more);
  }
}

static void add(uint32_t *to, const uint32_t *a, const uint32_t *b) { fold(to, add_words(to, a, b)); }

static void subtract(uint32_t *to, const uint32_t *a, const uint32_t *b) {
  static const number wrapped = {38};
  uint32_t borrow = subtract_words(to, a, b);
  while (borrow != 0) borrow = subtract_words(to, to, wrapped);
}

static void multiply(uint32_t *to, const uint32_t *a, const uint32_t *b) {
  uint32_t product[16] = {0};
  for (unsigned i = 0; i < 8; i++) {
    uint64_t carry = 0;
    for (unsigned k = 0; k < 8; k++) {
      carry += (uint64_t)a[i] * b[k] + product[i + k];
      product[i + k] = (uint32_t)carry;
      carry >>= 32;
    }
    product[i + 8] = (uint32_t)carry;
  }
  uint64_t carry = 0;
  for (unsigned i = 0; i < 8; i++) {
    carry += (uint64_t)product[i + 8] * 38 + product[i];
    to[i] = (uint32_t)carry;
    carry >>= 32;
  }
  fold(to, (uint32_t)carry);
}

/* base to the power of 2^bits - less, less being 1 to 32. */
static void power(uint32_t *to, const uint32_t *of, unsigned bits, uint32_t less) {
  number result = {1};
  for (unsigned i = bits; i-- > 0;) {
    multiply(result, result, result);
    if (i >= 5 || ((32 - less) >> i & 1) != 0) multiply(result, result, of);
  }
  memcpy(to, result, sizeof result);
}

/* The one number below p that is the same modulo p. */
static void normalise(uint32_t *a) {
  while (!is_below(a, prime)) (void)subtract_words(a, a, prime);
}

static int is_equal(const uint32_t *a, const uint32_t *b) {
  static const number nought = {0};
  number difference;
  subtract(difference, a, b);
  normalise(difference);
  return memcmp(difference, nought, sizeof nought) == 0;
}

/* Points. */

/* Complete: right for equal points and the neutral one, too. */
static void add_points(point *to, const point *p, const point *q) {
  number a, b, c, s;
  subtract(a, p->y, p->x);
  subtract(s, q->y, q->x);
  multiply(a, a, s);
  add(b, p->y, p->x);
  add(s, q->y, q->x);
  multiply(b, b, s);
  multiply(c, p->t, q->t);
  multiply(c, c, twice_d);
  multiply(s, p->z, q->z);
  add(s, s, s);
  number e, f, g, h;
  subtract(e, b, a);
  subtract(f, s, c);
  add(g, s, c);
  add(h, b, a);
  multiply(to->x, e, f);
  multiply(to->y, g, h);
  multiply(to->z, f, g);
  multiply(to->t, e, h);
}

/* Minus the point that 32 bytes stand for; 0 where they stand for none. */
static int read_minus(point *to, const uint8_t *bytes) {
  static const number one = {1}, nought = {0};
  number u, v, r;
  read_number(to->y, bytes);
  const uint32_t odd = to->y[7] >> 31;
  to->y[7] &= 0x7FFFFFFFu;
  if (!is_below(to->y, prime)) return 0;
  /* x^2 = u / v; a root of it is u v^3 (u v^7)^((p - 5) / 8), or that times a root of -1. */
  multiply(r, to->y, to->y);
  subtract(u, r, one);
  multiply(v, r, d);
  add(v, v, one);
  multiply(r, v, v);
  multiply(r, r, v);     /* v^3 */
  multiply(to->x, r, u); /* u v^3 */
  multiply(r, r, to->x); /* u v^6 */
  multiply(r, r, v);     /* u v^7 */
  power(r, r, 252, 3);   /* 2^252 - 3 = (p - 5) / 8 */
  multiply(to->x, to->x, r);
  multiply(r, to->x, to->x);
  multiply(r, r, v);
  if (!is_equal(r, u)) {
    multiply(to->x, to->x, root);
    subtract(v, nought, u);
    if (!is_equal(r, v)) return 0;
  }
  normalise(to->x);
  if (odd != 0 && memcmp(to->x, nought, sizeof nought) == 0) return 0;
  if ((to->x[0] & 1) == odd) subtract(to->x, nought, to->x);
  memcpy(to->z, one, sizeof one);
  multiply(to->t, to->x, to->y);
  return 1;
}

static void write_point(uint8_t *bytes, const point *p) {
  number x, y, inverse;
  power(inverse, p->z, 255, 21); /* 2^255 - 21 = p - 2 */
  multiply(x, p->x, inverse);
  multiply(y, p->y, inverse);
  normalise(x);
  normalise(y);
  y[7] |= x[0] << 31;
  for (unsigned i = 0; i < 32; i++) bytes[i] = (uint8_t)(y[i / 4] >> (8 * (i % 4)));
}

static uint32_t bit(const uint32_t *a, unsigned i) { return a[i / 32] >> (i % 32) & 1; }

/* A digest modulo the order. */
static void reduce(uint32_t *to, const uint8_t *digest) {
  memset(to, 0, sizeof(number));
  for (unsigned i = 512; i-- > 0;) {
    (void)add_words(to, to, to);
    to[0] |= (uint32_t)digest[i / 8] >> (i % 8) & 1u;
    if (!is_below(to, order)) (void)subtract_words(to, to, order);
  }
}

/* The challenge: the digest of R, key and message modulo the order. */
static void challenge(uint32_t *to, const uint8_t *signature, const uint8_t *key, const ed25519_piece_t *pieces,
                      unsigned count) {
  sha512_t hash;
  uint8_t digest[64];
  sha512_start(&hash);
  sha512_add(&hash, signature, 32);
  sha512_add(&hash, key, 32);
  for (unsigned i = 0; i < count; i++) sha512_add(&hash, pieces[i].bytes, pieces[i].count);
  sha512_end(&hash, digest);
  reduce(to, digest);
}

int ed25519_verify(const uint8_t *signature, const uint8_t *key, const ed25519_piece_t *pieces, unsigned count) {
  number s, k;
  point minus_key, both, sum = {{0}, {1}, {1}, {0}};
  uint8_t expected[32];
  read_number(s, signature + 32);
  if (!is_below(s, order) || !read_minus(&minus_key, key)) return 0;
  challenge(k, signature, key, pieces, count);
  /* s B - k A, both at once, must be R. */
  add_points(&both, &base, &minus_key);
  for (unsigned i = 253; i-- > 0;) {
    add_points(&sum, &sum, &sum);
    const uint32_t of_base = bit(s, i), of_key = bit(k, i);
    if (of_base != 0 || of_key != 0) {
      add_points(&sum, &sum, of_base == 0 ? &minus_key : of_key == 0 ? &base : &both);
    }
  }
  write_point(expected, &sum);
  return memcmp(expected, signature, sizeof expected) == 0;
}
