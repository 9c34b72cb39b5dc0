/* Flash for tests on this machine: pages, bits that writing only clears, power that goes in the middle of an operation.
 *
 * An operation is one word written or one page erased. What a firmware may not do ends the program: a word that is
 * written twice, an address that is none, anything in the slot that is in use. */
#ifndef SIMULATED_FLASH_H
#define SIMULATED_FLASH_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#define SIMULATED_PAGE 256u

extern uint8_t *simulated_flash;
extern size_t simulated_bytes;

/* How far the operation gets in which the power goes. */
enum {
  CUT_BEFORE = 0,
  CUT_AFTER = 1,
  CUT_FIRST_HALF = 2,
  CUT_SECOND_HALF = 3,
  CUT_RANDOM = 4 /* and above: other random bits each */
};

/* Operations since the last simulated_arm(). */
extern unsigned long simulated_operations;

/* Where the program goes on when the power goes. */
extern jmp_buf simulated_dark;

/* The power goes in operation number `after`, counted from 0; never where it is negative. `kept` may not be touched:
 * SIMULATED_BYTES of it; NULL: everything may. */
void simulated_arm(long after, unsigned how, const uint8_t *kept, size_t kept_bytes);

#endif
