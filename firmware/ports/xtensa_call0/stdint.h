/* The compiler's own; it asks for a C library's otherwise, and there is none. */
#include <stdint-gcc.h>
