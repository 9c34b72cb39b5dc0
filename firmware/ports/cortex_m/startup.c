/* Start-up of a Cortex-M without an operating system: vector table, memory, FPU, stack paint, faults. From ARMv6-M on;
 * with TrustZone everything stays on the secure side. */
#include "../start.h"

extern void (*__init_array_start[])(void), (*__init_array_end[])(void);

void Reset_Handler(void);
void hard_fault(const uint32_t *frame);

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define VTOR REGISTER(0xE000ED08u)
#define CFSR REGISTER(0xE000ED28u)
#define BFAR REGISTER(0xE000ED38u)
#define CPACR REGISTER(0xE000ED88u)
#define NVIC_ICER(n) REGISTER(0xE000E180u + 4u * (n))

/* ARMv6-M has 32 interrupts and says nothing of a fault's cause. */
#if __ARM_ARCH >= 7
#define INTERRUPT_WORDS 8u
#else
#define INTERRUPT_WORDS 1u
#endif

/* frame: r0 to r3, r12, lr, pc and xpsr, as the core stacked them. */
void hard_fault(const uint32_t *frame) {
  static const char end[] = "\n";
  start_print_hex32("\n#error hard fault at pc=", frame[6]);
  start_print_hex32(" lr=", frame[5]);
#if __ARM_ARCH >= 7
  start_print_hex32(" cfsr=", CFSR);
  start_print_hex32(" bfar=", BFAR);
#endif
  port_write(end, sizeof end - 1);
  port_exit(1);
  for (;;) {
  }
}

/* Instructions that ARMv6-M has too. Bit 2 of the link register tells whose stack holds the frame. */
__attribute__((naked)) static void fault_handler(void) {
  __asm volatile(
      "movs r0, #4      \n"
      "mov r1, lr       \n"
      "tst r0, r1       \n"
      "mrs r0, msp      \n"
      "beq 1f           \n"
      "mrs r0, psp      \n"
      "1: bl hard_fault \n");
}

__attribute__((section(".isr_vector"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))__stack_top,
    Reset_Handler,
    fault_handler, /* NMI */
    fault_handler, /* hard fault; the others escalate to it unless enabled */
    fault_handler,
    fault_handler,
    fault_handler,
};

__attribute__((noinline)) static void start(void) {
  start_memory();
  for (void (**construct)(void) = __init_array_start; construct < __init_array_end; construct++) (*construct)();
  port_init();
  port_exit(app_run());
}

void Reset_Handler(void) {
  /* A bootloader may have left interrupts on; nothing here uses them. */
  __asm volatile("cpsid i" ::: "memory");
  for (unsigned n = 0; n < INTERRUPT_WORDS; n++) NVIC_ICER(n) = 0xFFFFFFFFu;
  VTOR = (uint32_t)vectors;
#if defined(__ARM_FP)
  CPACR |= 0xFu << 20; /* full access to the FPU */
  __asm volatile("dsb\n\tisb" ::: "memory");
#endif
  start();
  for (;;) {
  }
}

int port_stack_used(size_t *bytes) {
  *bytes = start_stack_used();
  return 0;
}
