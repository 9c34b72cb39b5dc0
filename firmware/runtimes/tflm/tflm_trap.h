/* Where to go on when TFLite Micro aborts. */
#ifndef TFLM_TRAP_H
#define TFLM_TRAP_H

#include <csetjmp>

namespace tflm_trap {

extern jmp_buf place;
extern bool armed;  // place is valid

}  // namespace tflm_trap

#endif
