@ Three pixels times pairs of output channels, with weights of 16 bits: faster than matmul_tile.S at twice the weights'
@ memory, and for any int8 weights.
@ void kernels_m4_wide_relu_s8(const int16_t *tile, const int32_t *stream, int8_t *output, const kernels_m4_block *block)
@ void kernels_m4_wide_linear_s8(the same)
@ Contract: include/kernels/cortex_m4/matmul.h. Variants relu and linear differ in the output stage alone (requantize.inc).
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#include "matmul_store.inc"

        .syntax unified
        .thumb

@ Weights are doubled and accumulators start at 2*bias, so that they arrive at 2*(sum + bias) without a further step.
@ Four input channels: 16 instructions for 24 products.
@   r0-r2 first channel's sums of pixels 0-2; r3-r5 second channel's; r12 tile; lr stream; r6-r10 clobbered.
.macro TWO_INPUTS
        ldrd    r6, r7, [lr], #8
        ldm     r12!, {r8-r10}
        smlad   r0, r6, r8, r0
        smlad   r1, r6, r9, r1
        smlad   r2, r6, r10, r2
        smlad   r3, r7, r8, r3
        smlad   r4, r7, r9, r4
        smlad   r5, r7, r10, r5
.endm
.macro FOUR_INPUTS
        TWO_INPUTS
        TWO_INPUTS
.endm
.equ    BLOCK_BYTES, 64         @ FOUR_INPUTS: all encodings are wide

@ The frame, built once a call: what a pair of channels starts from, then what it leaves.
.equ    TURNS, 0                @ of the loop; then the tile
.equ    ENTRY, 8                @ into the unrolled loop, past the blocks that the first turn leaves out
.equ    OUTPUT, 12              @ of the next pair, pixel 0
.equ    OFFSETS, 16             @ two words
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
        mov     r12, r0
        ldm     r3, {r4-r6}             @ offsets of pixels 1 and 2, blocks of four inputs
        add     r9, sp, #OUTPUT
        stm     r9, {r2, r4, r5}
        add     r11, r6, #3             @ turns = (blocks + 3) / 4; the first leaves out (-blocks) % 4
        lsr     r11, r11, #2
        rsb     r6, r6, #0
        and     r6, r6, #3
        adr     r8, 2f
        add     r10, r8, r6, lsl #6     @ BLOCK_BYTES
        orr     r10, r10, #1            @ Thumb
        strd    r11, r12, [sp, #TURNS]
        str     r10, [sp, #ENTRY]
1:      ldm     lr!, {r0-r5}
        ldm     sp, {r11, r12, pc}
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
        ldr     r10, [sp, #OUTPUT]
        ldrd    r11, r12, [sp, #OFFSETS]
        ldm     lr!, {r7-r9}
        STORE_CHANNEL \variant, r0, r1, r2
        ldm     lr!, {r7-r9}
        STORE_CHANNEL \variant, r3, r4, r5
        str     r10, [sp, #OUTPUT]
        cmp     r9, #0                  @ the last pair's shift has its top bit set; ASR takes the low byte alone
        bge     1b
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .size   kernels_m4_wide_\variant\()_s8, . - kernels_m4_wide_\variant\()_s8
.endm

        WIDE_KERNEL relu
        WIDE_KERNEL linear
#endif
