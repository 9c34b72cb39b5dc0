/* What differs between boards; every folder of firmware/ports implements it. */
#ifndef PORT_H
#define PORT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Prepares the console. Called once, before anything else of the port. */
void port_init(void);

/* Writes `bytes` bytes to the console and waits until they are on their way; `text` may lie in flash. */
void port_write(const char *text, size_t bytes);

/* port_print("literal") writes a string literal. On AVR, where constants would take RAM, literals stay in flash, which
 * only port_write_text() reads. */
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define PORT_TEXT(literal) PSTR(literal)
void port_write_text(const char *text, size_t bytes);
#else
#define PORT_TEXT(literal) (literal)
#define port_write_text(text, bytes) port_write(text, bytes)
#endif
#define port_print(literal) port_write_text(PORT_TEXT(literal), sizeof(literal) - 1)

/* The next received byte (0 to 255), or -1 where none is waiting. Never blocks. */
int port_read(void);

/* Time since the start in microseconds. Returns 0, or non-zero where the port has no clock. */
int port_clock(uint64_t *microseconds);

/* Ends the program: an emulator exits with `status`, a board waits for a reset. */
void port_exit(int status);

/* Instructions executed between the two calls. port_count_stop() returns 0 and sets *instructions, or non-zero where
 * the port cannot count. It may be called again: the count goes on. */
void port_count_start(void);
int port_count_stop(uint64_t *instructions);

/* Deepest use of the stack so far, in bytes. Returns 0, or non-zero where the port cannot measure it. */
int port_stack_used(size_t *bytes);

/* The application, called by the port when the board is ready: runs every vector and reports on the console.
 * Returns 0, or 1 after an #error line. */
int app_run(void);

#ifdef __cplusplus
}
#endif

#endif
