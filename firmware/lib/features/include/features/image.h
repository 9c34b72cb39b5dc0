/* A grey image of any size to the size of a model's input: the largest part of its middle that has the model's
 * proportions, or all of it, averaged by area. Pixels come row by row; the image is never held whole. */
#ifndef FEATURES_IMAGE_H
#define FEATURES_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The largest number of pixels that are averaged: 255 times as many fit 32 bits. */
#define FEATURES_IMAGE_PIXELS 16777216u

typedef struct {
  /* Given: the model's size, what is wanted, and memory. */
  uint16_t to_width, to_height;
  uint8_t crop;   /* 1: cut to the model's proportions, 0: the whole image is squeezed or stretched */
  uint8_t invert; /* 1: v becomes 255 - v */
  uint8_t *out;   /* to_width * to_height pixels */
  uint32_t *line; /* to_width sums over the pixels of an input row */
  uint32_t *sums; /* to_width sums over input rows */
  /* The image at hand. */
  uint16_t width, height;
  uint16_t left, top, cut_width, cut_height; /* the part that is taken */
  uint16_t x, y;                             /* the next pixel */
  uint16_t to_x, filled_x;                   /* the output pixel that is being summed, of cut_width parts it has */
  uint16_t to_y, filled_y;                   /* the output row likewise, of cut_height parts */
} features_image_t;

/* Starts an image of width x height pixels. Returns 0, or 1 where a side is 0 or the part that is taken has more than
 * FEATURES_IMAGE_PIXELS pixels. */
int features_image_begin(features_image_t *image, uint16_t width, uint16_t height);

/* Takes the next `count` pixels, row by row from the top left. Returns 1 where the image is complete, and then `out` is
 * written whole; 0 while pixels are missing. What comes after the last pixel is ignored.
 *
 * out = floor((sum of pixel * overlap + area / 2) / area), where overlap is how much of the input pixel lies under the
 * output pixel and area their sum; equal sizes give the pixels themselves. */
int features_image_push(features_image_t *image, const uint8_t *pixels, size_t count);

#ifdef __cplusplus
}
#endif

#endif
