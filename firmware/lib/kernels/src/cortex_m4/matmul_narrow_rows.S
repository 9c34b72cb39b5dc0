#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
@ Rows of 8 inputs times 16, 32 or 64 output channels: a channel's weights stay in registers while rows pass by.
@ void kernels_m4_narrow_<channels>_<relu|linear>_s8(const int16_t *tile, const int32_t *stream, int8_t *output,
@                                                  int32_t rows)
@ void kernels_m4_narrow_widen_s8(const int8_t *input, int16_t *tile, int32_t rows)
@ Contract: include/kernels/cortex_m4/matmul.h.
#include "requantize.inc"

        .syntax unified
        .thumb

@ Weights are multiplied by a power of two and the sum starts from the scaled bias, so that it arrives as the output stage
@ takes it without a further step: 2*(sum + bias) for linear, 256*sum + bias for relu (FITTED with e = 8).
@ A row of the tile has 16 bytes, one of the output 16 << n: with LDM moving r12 on, r12 << n moves along the output too.
@   r0-r3 weights; r4 bias; r5 multiplier; r6 rounding; r7 turns left << 8 | shift (ASR takes the low byte alone)
@   r12 tile; lr output - ((tile + 16) << n); r8-r11 the row
.macro ROW variant, n
        ldm     r12!, {r8-r11}
        smlad   r8, r0, r8, r4
        smlad   r8, r1, r9, r8
        smlad   r8, r2, r10, r8
        smlad   r8, r3, r11, r8
.ifc \variant,relu
        FITTED  r8, r5, r6, SCALED_SHIFT
.else
        REQUANTIZE linear, r8, r5, r6, r7, r9
.endif
        strb    r8, [lr, r12, lsl #\n]
.endm

.equ    STREAM, 0
.equ    END, 4                  @ of the stream
.equ    TURNS, 8                @ (turns - 1) << 8
.equ    ENTRY, 12               @ into the first turn, past the rows that it leaves out
.equ    TILE, 16
.equ    TO, 20                  @ lr of the next channel
.equ    FRAME, 28               @ with 9 saved registers a multiple of 8

.macro NARROW_KERNEL channels, n, variant, bytes
        .section .text.kernels_m4_narrow_\channels\()_\variant\()_s8, "ax", %progbits
        .balign 4
        .global kernels_m4_narrow_\channels\()_\variant\()_s8
        .thumb_func
        .type   kernels_m4_narrow_\channels\()_\variant\()_s8, %function
kernels_m4_narrow_\channels\()_\variant\()_s8:
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME
.ifc \variant,relu
        add     r4, r1, #(28 * \channels)       @ end of the stream
.else
        add     r4, r1, #(32 * \channels)
.endif
        subs    r5, r3, #1                      @ turns - 1 = (rows - 1) / 4
        lsr     r5, r5, #2
        lsl     r5, r5, #8
        rsb     r6, r3, #0                      @ rows left out = (-rows) % 4
        and     r6, r6, #3
        movs    r7, #\bytes
        adr     r8, 2f
        mla     r8, r6, r7, r8
        orr     r8, r8, #1                      @ Thumb
        add     r9, r0, #16
        sub     r9, r2, r9, lsl #\n
        strd    r1, r4, [sp, #STREAM]
        strd    r5, r8, [sp, #TURNS]
        strd    r0, r9, [sp, #TILE]
1:      ldr     r12, [sp, #STREAM]
.ifc \variant,relu
        ldm     r12!, {r0-r6}
        str     r12, [sp, #STREAM]
        ldr     r7, [sp, #TURNS]
.else
        ldm     r12!, {r0-r7}
        str     r12, [sp, #STREAM]
        ldr     r8, [sp, #TURNS]
        add     r7, r7, r8
.endif
        ldrd    r12, lr, [sp, #TILE]
        add     r8, lr, #1
        str     r8, [sp, #TO]
        ldr     pc, [sp, #ENTRY]
        .balign 4
2:      ROW     \variant, \n
3:      ROW     \variant, \n
        ROW     \variant, \n
        ROW     \variant, \n
        .if     (3b - 2b) - \bytes
        .error  "bytes of ROW"
        .endif
        subs    r7, r7, #256
        bhs     2b
        ldrd    r8, r9, [sp, #STREAM]
        cmp     r8, r9
        bne     1b
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .size   kernels_m4_narrow_\channels\()_\variant\()_s8, . - kernels_m4_narrow_\channels\()_\variant\()_s8
.endm

        NARROW_KERNEL 16, 0, relu, 32
        NARROW_KERNEL 32, 1, relu, 32
        NARROW_KERNEL 64, 2, relu, 32
        NARROW_KERNEL 16, 0, linear, 40
        NARROW_KERNEL 32, 1, linear, 40
        NARROW_KERNEL 64, 2, linear, 40

        .section .text.kernels_m4_narrow_widen_s8, "ax", %progbits
        .balign 4
        .global kernels_m4_narrow_widen_s8
        .thumb_func
        .type   kernels_m4_narrow_widen_s8, %function
@ Pairs (0, 2), (1, 3), (4, 6), (5, 7) of each row.
kernels_m4_narrow_widen_s8:
        push    {r4-r7, lr}
1:      ldr     r4, [r0], #4            @ any alignment
        ldr     r6, [r0], #4
        sxtb16  r5, r4, ror #8
        sxtb16  r4, r4
        sxtb16  r7, r6, ror #8
        sxtb16  r6, r6
        stm     r1!, {r4-r7}
        subs    r2, r2, #1
        bne     1b
        pop     {r4-r7, pc}
        .size   kernels_m4_narrow_widen_s8, . - kernels_m4_narrow_widen_s8
#endif
