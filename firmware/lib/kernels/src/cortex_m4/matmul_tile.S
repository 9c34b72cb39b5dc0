@ Three pixels times pairs of output channels: the inner function of 1x1 convolutions and of convolutions on the Cortex-M4.
@ void kernels_m4_tile_relu_s8(const int16_t *tile, const int32_t *stream, int8_t *output, const kernels_m4_block *block)
@ void kernels_m4_tile_linear_s8(the same)
@ Contract: include/kernels/cortex_m4/matmul.h. Variants relu and linear differ in the output stage alone (requantize.inc).
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
#include "matmul_store.inc"

        .syntax unified
        .thumb

@ Raw-word weights. A word w of the stream holds two input channels a, b in its halves, each half 256*W1 + W0 for the two
@ output channels of the pair (|W| <= 127: no half overflows). With a pixel's word x = (xb, xa):
@   SMLAD(w, x)         adds 256*(W1a*xa + W1b*xb) + (W0a*xa + W0b*xb): both channels at once,
@   SMLAD(SXTB16(w), x) adds W0a*xa + W0b*xb, because the sign-extended low byte of a half is W0.
@ At the end raw - S0 = 256*S1 exactly, modulo 2^32; with |S1| < 2^23 it is the int32 itself, and 2*S1 is ASR #7 of it.
@ Intermediate wrap-around does not matter (SMLAD wraps; the Q flag is nobody's).
@
@ Four input channels: 17 instructions for 24 products.
@   r0-r2 S0 of pixels 0-2; r3-r5 raw of pixels 0-2; r12 tile; lr stream; r6-r10 clobbered.
.macro FOUR_CHANNELS
        ldrd    r6, r7, [lr], #8
        ldm     r12!, {r8-r10}
        smlad   r3, r6, r8, r3
        smlad   r4, r6, r9, r4
        smlad   r5, r6, r10, r5
        sxtb16  r6, r6
        smlad   r0, r6, r8, r0
        smlad   r1, r6, r9, r1
        smlad   r2, r6, r10, r2
        ldm     r12!, {r8-r10}
        smlad   r3, r7, r8, r3
        smlad   r4, r7, r9, r4
        smlad   r5, r7, r10, r5
        sxtb16  r7, r7
        smlad   r0, r7, r8, r0
        smlad   r1, r7, r9, r1
        smlad   r2, r7, r10, r2
.endm
.equ    BLOCK_BYTES, 68         @ FOUR_CHANNELS: all encodings are wide

@ The frame, built once a call. The first nine words are what a pair of channels starts from, so that one LDM clears the
@ accumulators, rewinds the tile and jumps into the unrolled loop, past the blocks that its first turn leaves out.
.equ    TURNS, 24               @ after six zeros: turns of the loop
.equ    TILE, 28
.equ    ENTRY, 32
.equ    OUTPUT, 36              @ of the next pair, pixel 0
.equ    OFFSETS, 40             @ two words
.equ    END, 48                 @ OUTPUT after the last pair
.equ    FRAME, 52               @ with 9 saved registers a multiple of 8

.macro TILE_KERNEL variant
        .section .text.kernels_m4_tile_\variant\()_s8, "ax", %progbits
        .balign 4
        .global kernels_m4_tile_\variant\()_s8
        .thumb_func
        .type   kernels_m4_tile_\variant\()_s8, %function
kernels_m4_tile_\variant\()_s8:
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME
        mov     lr, r1
        mov     r12, r0
        ldm     r3, {r4-r7}             @ offsets of pixels 1 and 2, blocks of four input channels, pairs
        add     r8, r2, r7, lsl #1
        add     r9, sp, #OUTPUT
        stm     r9, {r2, r4, r5, r8}
        add     r11, r6, #7             @ turns = (blocks + 7) / 8; the first leaves out (-blocks) % 8
        lsr     r11, r11, #3
        rsb     r6, r6, #0
        and     r6, r6, #7
        movs    r7, #BLOCK_BYTES
        adr     r8, 2f
        mla     r10, r6, r7, r8
        orr     r10, r10, #1            @ Thumb
        add     r9, sp, #TURNS
        stm     r9, {r11, r12}
        str     r10, [sp, #ENTRY]
        movs    r0, #0
        movs    r1, #0
        strd    r0, r1, [sp, #0]
        strd    r0, r1, [sp, #8]
        strd    r0, r1, [sp, #16]
1:      ldm     sp, {r0-r5, r11, r12, pc}
        .balign 4
2:      FOUR_CHANNELS
3:      .rept   7
        FOUR_CHANNELS
        .endr
        .if     (3b - 2b) - BLOCK_BYTES
        .error  "bytes of FOUR_CHANNELS"
        .endif
        subs    r11, r11, #1
        bne     2b
        sub     r3, r3, r0
        sub     r4, r4, r1
        sub     r5, r5, r2
        ldr     r10, [sp, #OUTPUT]
        ldrd    r11, r12, [sp, #OFFSETS]
        ldm     lr!, {r6-r9}
        add     r0, r6, r0, lsl #1
        add     r1, r6, r1, lsl #1
        add     r2, r6, r2, lsl #1
        STORE_CHANNEL \variant, r0, r1, r2
        ldm     lr!, {r6-r9}
        add     r3, r6, r3, asr #7
        add     r4, r6, r4, asr #7
        add     r5, r6, r5, asr #7
        STORE_CHANNEL \variant, r3, r4, r5
        ldr     r7, [sp, #END]
        str     r10, [sp, #OUTPUT]
        cmp     r10, r7
        bne     1b
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .size   kernels_m4_tile_\variant\()_s8, . - kernels_m4_tile_\variant\()_s8
.endm

        TILE_KERNEL relu
        TILE_KERNEL linear
#endif
