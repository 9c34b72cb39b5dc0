#include "features/image.h"

#include <string.h>

int features_image_begin(features_image_t *image, uint16_t width, uint16_t height) {
  if (width == 0 || height == 0) return 1;
  uint16_t cut_width = width, cut_height = height;
  if (image->crop != 0) {
    const uint32_t across = (uint32_t)width * image->to_height;
    const uint32_t down = (uint32_t)height * image->to_width;
    if (across > down) {
      cut_width = (uint16_t)(down / image->to_height);
      if (cut_width == 0) cut_width = 1;
    } else {
      cut_height = (uint16_t)(across / image->to_width);
      if (cut_height == 0) cut_height = 1;
    }
  }
  if ((uint32_t)cut_width * cut_height > FEATURES_IMAGE_PIXELS) return 1;
  image->width = width;
  image->height = height;
  image->cut_width = cut_width;
  image->cut_height = cut_height;
  image->left = (uint16_t)((width - cut_width) / 2u);
  image->top = (uint16_t)((height - cut_height) / 2u);
  image->x = image->y = 0;
  image->to_x = image->filled_x = 0;
  image->to_y = image->filled_y = 0;
  memset(image->line, 0, image->to_width * sizeof *image->line);
  memset(image->sums, 0, image->to_width * sizeof *image->sums);
  return 0;
}

/* A pixel covers to_width units of the line, an output pixel cut_width. */
static void add_pixel(features_image_t *image, uint8_t value) {
  uint16_t left = image->to_width;
  while (left > 0) {
    const uint16_t needed = (uint16_t)(image->cut_width - image->filled_x);
    const uint16_t taken = left < needed ? left : needed;
    image->line[image->to_x] += (uint32_t)value * taken;
    image->filled_x = (uint16_t)(image->filled_x + taken);
    left = (uint16_t)(left - taken);
    if (image->filled_x == image->cut_width) {
      image->filled_x = 0;
      image->to_x++;
    }
  }
}

static void write_row(features_image_t *image) {
  const uint32_t area = (uint32_t)image->cut_width * image->cut_height;
  uint8_t *row = image->out + (size_t)image->to_y * image->to_width;
  for (uint16_t o = 0; o < image->to_width; o++) {
    const uint8_t value = (uint8_t)((image->sums[o] + area / 2) / area);
    row[o] = image->invert != 0 ? (uint8_t)(255 - value) : value;
    image->sums[o] = 0;
  }
  image->to_y++;
  image->filled_y = 0;
}

/* A row covers to_height units of the height, an output row cut_height. */
static void add_row(features_image_t *image) {
  uint16_t left = image->to_height;
  while (left > 0) {
    const uint16_t needed = (uint16_t)(image->cut_height - image->filled_y);
    const uint16_t taken = left < needed ? left : needed;
    for (uint16_t o = 0; o < image->to_width; o++) image->sums[o] += image->line[o] * taken;
    image->filled_y = (uint16_t)(image->filled_y + taken);
    left = (uint16_t)(left - taken);
    if (image->filled_y == image->cut_height) write_row(image);
  }
  memset(image->line, 0, image->to_width * sizeof *image->line);
  image->to_x = 0;
}

int features_image_push(features_image_t *image, const uint8_t *pixels, size_t count) {
  for (; count > 0 && image->y < image->height; count--, pixels++) {
    const uint16_t x = (uint16_t)(image->x - image->left), y = (uint16_t)(image->y - image->top);
    const int in_rows = y < image->cut_height;
    if (in_rows && x < image->cut_width) add_pixel(image, *pixels);
    if (++image->x == image->width) {
      image->x = 0;
      if (in_rows) add_row(image);
      image->y++;
    }
  }
  return image->y >= image->height;
}
