#include "slots/slots.h"

#include <string.h>

#include "slots/flash.h"

#define MAGIC 0x574C4D54u /* "TMLW" */
#define FORMAT 1u

enum { AT_MAGIC = 0, AT_FORMAT = 4, AT_HEADER = 6, AT_LENGTH = 8, AT_CRC = 12, AT_SEQUENCE = 16, AT_SIGNED = 20 };
enum { AT_MODEL = 24, AT_GRAPH = 32, AT_SIGNATURE = 64 };
enum { SIGNED_NOT = 0, SIGNED_ED25519 = 1 };
enum { WORDS = 16 }; /* that are put together in RAM before they are written */

static uint32_t get32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] | (uint16_t)at[1] << 8); }

/* Four bits at a time: 64 bytes of table. */
static uint32_t crc32(uint32_t crc, const uint8_t *bytes, size_t count) {
  static const uint32_t table[16] = {0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
                                     0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
                                     0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    crc = (crc >> 4) ^ table[crc & 15u];
    crc = (crc >> 4) ^ table[crc & 15u];
  }
  return crc;
}

const char *slots_message(slots_status status) {
  static const char *const messages[] = {"whole",
                                         "empty",
                                         "no image, or one whose writing did not end",
                                         "another format of image than this firmware reads",
                                         "the image's length does not fit the slot",
                                         "the image is for another firmware: its graph hash differs",
                                         "the image is damaged: its CRC is wrong",
                                         "the image is not signed and this firmware asks for a signature",
                                         "the image's signature is not that of this firmware's key",
                                         "the image is not newer than the present one",
                                         "data out of place: begin again with the header",
                                         "the image ends early",
                                         "the flash does not hold what was written"};
  return (unsigned)status < sizeof messages / sizeof messages[0] ? messages[status] : "unknown";
}

uint32_t slots_sequence(const uint8_t *header) { return get32(header + AT_SEQUENCE); }

const uint8_t *slots_model(const uint8_t *header) { return header + AT_MODEL; }

static int is_erased(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (bytes[i] != 0xFF) return 0;
  }
  return 1;
}

slots_status slots_check_header(const slots_t *slots, const uint8_t *header) {
  if (is_erased(header, SLOTS_HEADER)) return SLOTS_EMPTY;
  if (get32(header + AT_MAGIC) != MAGIC) return SLOTS_MAGIC;
  if (get16(header + AT_FORMAT) != FORMAT || get16(header + AT_HEADER) != SLOTS_HEADER) return SLOTS_FORMAT;
  const uint32_t length = get32(header + AT_LENGTH), kind = get32(header + AT_SIGNED);
  if (length > slots->bytes - SLOTS_HEADER || length < slots->least || length % 4 != 0) return SLOTS_LENGTH;
  if (kind != SIGNED_NOT && kind != SIGNED_ED25519) return SLOTS_FORMAT;
  if (memcmp(header + AT_GRAPH, slots->graph, SLOTS_GRAPH) != 0) return SLOTS_OTHER;
  return slots->key != NULL && kind == SIGNED_NOT ? SLOTS_UNSIGNED : SLOTS_OK;
}

slots_status slots_check(const slots_t *slots, const uint8_t *header, const uint8_t *payload) {
  const slots_status status = slots_check_header(slots, header);
  if (status != SLOTS_OK) return status;
  const uint32_t length = get32(header + AT_LENGTH);
  uint32_t crc = crc32(0xFFFFFFFFu, header, AT_CRC);
  crc = crc32(crc, header + AT_CRC + 4, SLOTS_HEADER - AT_CRC - 4);
  if (~crc32(crc, payload, length) != get32(header + AT_CRC)) return SLOTS_CHECKSUM;
  if (slots->key == NULL) return SLOTS_OK;
  const ed25519_piece_t message[] = {
      {header, AT_CRC}, {header + AT_SEQUENCE, AT_SIGNATURE - AT_SEQUENCE}, {payload, length}};
  return slots->verify(header + AT_SIGNATURE, slots->key, message, 3) ? SLOTS_OK : SLOTS_SIGNATURE;
}

static slots_status check_slot(const slots_t *slots, int slot) {
  return slots_check(slots, slots->slot[slot], slots->slot[slot] + SLOTS_HEADER);
}

int slots_choose(const slots_t *slots, slots_status found[2]) {
  for (int i = 0; i < 2; i++) found[i] = check_slot(slots, i);
  if (found[0] != SLOTS_OK) return found[1] == SLOTS_OK ? 1 : -1;
  if (found[1] != SLOTS_OK) return 0;
  return slots_sequence(slots->slot[1]) > slots_sequence(slots->slot[0]) ? 1 : 0;
}

/* Writes words and reads them back. */
static slots_status write_words(const uint8_t *to, const uint32_t *words, size_t count) {
  if (flash_write(to, words, count) != 0) return SLOTS_FAILED;
  return memcmp(to, words, 4 * count) == 0 ? SLOTS_OK : SLOTS_FAILED;
}

static slots_status erase(const slots_t *slots, const uint8_t *page) {
  if (flash_erase(page) != 0 || !is_erased(page, slots->page)) return SLOTS_FAILED;
  return SLOTS_OK;
}

slots_status slots_begin(slots_update_t *update, const slots_t *slots, const uint8_t *header) {
  slots_status found[2];
  update->into = NULL;
  slots_status status = slots_check_header(slots, header);
  if (status != SLOTS_OK) return status == SLOTS_EMPTY ? SLOTS_MAGIC : status;
  const int present = slots_choose(slots, found);
  if (present >= 0 && slots_sequence(header) <= slots_sequence(slots->slot[present])) return SLOTS_OLD;
  const uint8_t *into = slots->slot[present == 0 ? 1 : 0];
  status = erase(slots, into); /* with it whatever image was there ends to be one */
  if (status != SLOTS_OK) return status;
  memcpy(update->header, header, SLOTS_HEADER);
  update->slots = slots;
  update->written = 0;
  update->into = into;
  return SLOTS_OK;
}

slots_status slots_write(slots_update_t *update, uint32_t offset, const uint8_t *bytes, uint32_t count) {
  if (update->into == NULL) return SLOTS_PLACE;
  const slots_t *slots = update->slots;
  const uint8_t *start = update->into + SLOTS_HEADER;
  const uint32_t length = get32((const uint8_t *)update->header + AT_LENGTH);
  if (count % 4 != 0 || offset % 4 != 0 || offset > length || count > length - offset) return SLOTS_PLACE;
  if (offset < update->written) {
    const int again = count <= update->written - offset && memcmp(start + offset, bytes, count) == 0;
    return again ? SLOTS_OK : SLOTS_PLACE;
  }
  if (offset != update->written) return SLOTS_PLACE;
  while (count > 0) {
    uint32_t words[WORDS];
    const uint32_t at = SLOTS_HEADER + update->written;
    const uint32_t rest = slots->page - at % slots->page; /* of this page */
    uint32_t part = count < sizeof words ? count : (uint32_t)sizeof words;
    if (part > rest) part = rest;
    slots_status status = at % slots->page == 0 ? erase(slots, update->into + at) : SLOTS_OK;
    memcpy(words, bytes, part);
    if (status == SLOTS_OK) status = write_words(start + update->written, words, part / 4);
    if (status != SLOTS_OK) {
      update->into = NULL;
      return status;
    }
    update->written += part;
    bytes += part;
    count -= part;
  }
  return SLOTS_OK;
}

slots_status slots_finish(slots_update_t *update) {
  if (update->into == NULL) return SLOTS_PLACE;
  const uint8_t *slot = update->into;
  if (update->written != get32((const uint8_t *)update->header + AT_LENGTH)) return SLOTS_SHORT;
  slots_status status = slots_check(update->slots, (const uint8_t *)update->header, slot + SLOTS_HEADER);
  if (status == SLOTS_OK) status = write_words(slot + 4, update->header + 1, SLOTS_HEADER / 4 - 1);
  if (status == SLOTS_OK) status = write_words(slot, update->header, 1);
  update->into = NULL;
  return status;
}
