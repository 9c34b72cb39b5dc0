#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
@ Three pixels times pairs of output channels, with weights of 16 bits: faster than matmul_tile.S at twice the weights'
@ memory, and for any int8 weights.
@ void kernels_m4_wide_relu_s8(const int16_t *tile, const int32_t *stream, int8_t *output, const kernels_m4_block *block)
@ void kernels_m4_wide_linear_s8(the same)
@ Contract: include/kernels/cortex_m4/matmul.h. Variants relu and linear differ in the output stage (requantize.inc).
#include "matmul_store.inc"

        .syntax unified
        .thumb

@ Weights are multiplied by a power of two and sums start from the scaled bias, so that they arrive as the output stage
@ takes them without a further step: 2*(sum + bias) for linear, 256*sum + bias for relu (FITTED with e = 8; a weight of
@ -128 becomes -2^15). Intermediate wrap-around does not matter.
@ Four input channels: 16 instructions for 24 products, half of them in TWO_INPUTS after the words of weights are loaded.
@   r0-r2 first channel's sums of pixels 0-2; r3-r5 second channel's; r12 tile; lr stream; r6-r10 clobbered.
.macro TWO_INPUTS
        ldm     r12!, {r8-r10}
        smlad   r0, r6, r8, r0
        smlad   r1, r6, r9, r1
        smlad   r2, r6, r10, r2
        smlad   r3, r7, r8, r3
        smlad   r4, r7, r9, r4
        smlad   r5, r7, r10, r5
.endm
.macro FOUR_INPUTS
        ldrd    r6, r7, [lr], #8
        TWO_INPUTS
        ldrd    r6, r7, [lr], #8
        TWO_INPUTS
.endm
.equ    BLOCK_BYTES, 64         @ FOUR_INPUTS: all encodings are wide

@ The frame, built once a call, in the order of use: what the end of a pair needs, then its start, then the jump into the
@ unrolled loop, past the blocks that its first turn leaves out.
.equ    OUTPUT, 0               @ of the next pair, pixel 0; then the offsets of pixels 1 and 2
.equ    TURNS, 12               @ of the loop; then the tile
.equ    ENTRY, 20
.equ    FRAME, 28               @ with 9 saved registers a multiple of 8

.macro WIDE_KERNEL variant
        .section .text.kernels_m4_wide_\variant\()_s8, "ax", %progbits
        .balign 4
        .global kernels_m4_wide_\variant\()_s8
        .thumb_func
        .type   kernels_m4_wide_\variant\()_s8, %function
kernels_m4_wide_\variant\()_s8:
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME
        mov     lr, r1
        ldm     r3, {r4-r6}             @ offsets of pixels 1 and 2, blocks of four inputs
        sub     r6, r6, #1              @ the first one is before the loop
        add     r11, r6, #3             @ turns = (blocks + 3) / 4; the first leaves out (-blocks) % 4
        lsr     r11, r11, #2
        rsb     r7, r6, #0
        and     r7, r7, #3
        adr     r9, 2f
        add     r10, r9, r7, lsl #6     @ BLOCK_BYTES
        cbnz    r6, 5f
        adr     r10, 4f                 @ no turn at all
5:      orr     r10, r10, #1            @ Thumb
        stm     sp, {r2, r4, r5}
        strd    r11, r0, [sp, #TURNS]
        str     r10, [sp, #ENTRY]
1:      ldrd    r11, r12, [sp, #TURNS]
        ldm     lr!, {r0, r3, r6, r7}   @ what sums start from, two words of weights
        ldm     r12!, {r8-r10}
        smlad   r1, r6, r9, r0
        smlad   r2, r6, r10, r0
        smlad   r0, r6, r8, r0
        smlad   r4, r7, r9, r3
        smlad   r5, r7, r10, r3
        smlad   r3, r7, r8, r3
        ldrd    r6, r7, [lr], #8
        TWO_INPUTS
        ldr     pc, [sp, #ENTRY]
        .balign 4
2:      FOUR_INPUTS
3:      FOUR_INPUTS
        FOUR_INPUTS
        FOUR_INPUTS
        .if     (3b - 2b) - BLOCK_BYTES
        .error  "bytes of FOUR_INPUTS"
        .endif
        subs    r11, r11, #1
        bne     2b
        .balign 4
4:      ldm     sp, {r10-r12}
.ifc \variant,relu
        ldm     lr!, {r6-r9}
        STORE_FITTED r0, r1, r2, r6, r7, SCALED_SHIFT
        STORE_FITTED r3, r4, r5, r8, r9, SCALED_SHIFT
        str     r10, [sp, #OUTPUT]
        lsls    r9, r9, #31             @ the last pair's second rounding is odd, others are even
        beq     1b
.else
        ldm     lr!, {r7-r9}
        STORE_LINEAR r0, r1, r2
        ldm     lr!, {r7-r9}
        STORE_LINEAR r3, r4, r5
        str     r10, [sp, #OUTPUT]
        cmp     r9, #0                  @ the last pair's shift has its top bit set; ASR takes the low byte alone
        bge     1b
.endif
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .size   kernels_m4_wide_\variant\()_s8, . - kernels_m4_wide_\variant\()_s8
.endm

        WIDE_KERNEL relu
        WIDE_KERNEL linear
#endif
