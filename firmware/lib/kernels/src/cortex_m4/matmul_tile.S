#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
@ Three pixels times pairs of output channels: the inner function of 1x1 convolutions and of convolutions on the Cortex-M4.
@ void kernels_m4_tile_relu_s8(const int16_t *tile, const int32_t *stream, int8_t *output, const kernels_m4_block *block)
@ void kernels_m4_tile_linear_s8(the same)
@ Contract: include/kernels/cortex_m4/matmul.h. Variants relu and linear differ in the output stage (requantize.inc).
#include "matmul_store.inc"

        .syntax unified
        .thumb

@ Raw-word weights. A word w of the stream holds two input channels a, b in its halves, each half 256*W1 + W0 for the two
@ output channels of the pair (|W| <= 127: no half overflows). With a pixel's word x = (xb, xa):
@   SMLAD(w, x)         adds 256*(W1a*xa + W1b*xb) + (W0a*xa + W0b*xb): both channels at once,
@   SMLAD(SXTB16(w), x) adds W0a*xa + W0b*xb, because the sign-extended low byte of a half is W0.
@ At the end raw - S0 = 256*S1 exactly, modulo 2^32; with |S1| < 2^23 it is the int32 itself.
@ Intermediate wrap-around does not matter (SMLAD wraps; the Q flag is nobody's).
@
@ Variant linear: sums start at 0 and get their biases at the end, 2*S0 by LSL #1 and 2*S1 by ASR #7.
@ Variant relu: S0 starts at b0 and raw at b1 + b0, so that they end as S0 + b0 and, less that, 256*S1 + b1: what FITTED
@ takes, without a further step, with e = 0 for the first channel and e = 8 for the second.
@
@ Two input channels: 7 instructions for 12 products, after the word of weights is loaded.
@   r0-r2 S0 of pixels 0-2; r3-r5 raw of pixels 0-2; r12 tile; w word of weights, clobbered; r8-r10 clobbered.
.macro TWO_CHANNELS w
        ldm     r12!, {r8-r10}
        smlad   r3, \w, r8, r3
        smlad   r4, \w, r9, r4
        smlad   r5, \w, r10, r5
        sxtb16  \w, \w
        smlad   r0, \w, r8, r0
        smlad   r1, \w, r9, r1
        smlad   r2, \w, r10, r2
.endm

@ The first two of a pair of output channels. Linear: nothing to add to, so that no accumulator has to be cleared.
@ Relu: r0 and r3 hold what sums start from.
.macro FIRST_CHANNELS variant, w
        ldm     r12!, {r8-r10}
.ifc \variant,relu
        smlad   r4, \w, r9, r3
        smlad   r5, \w, r10, r3
        smlad   r3, \w, r8, r3
        sxtb16  \w, \w
        smlad   r1, \w, r9, r0
        smlad   r2, \w, r10, r0
        smlad   r0, \w, r8, r0
.else
        smuad   r3, \w, r8
        smuad   r4, \w, r9
        smuad   r5, \w, r10
        sxtb16  \w, \w
        smuad   r0, \w, r8
        smuad   r1, \w, r9
        smuad   r2, \w, r10
.endif
.endm

@ Four input channels: 17 instructions for 24 products. lr stream.
.macro FOUR_CHANNELS
        ldrd    r6, r7, [lr], #8
        TWO_CHANNELS r6
        TWO_CHANNELS r7
.endm
.equ    BLOCK_BYTES, 68         @ FOUR_CHANNELS: all encodings are wide

@ The frame, built once a call, in the order of use: what the end of a pair needs, then its start, then the jump into the
@ unrolled loop, past the blocks that its first turn leaves out.
.equ    OUTPUT, 0               @ of the next pair, pixel 0; then the offsets of pixels 1 and 2
.equ    TURNS, 12               @ of the loop; then the tile
.equ    ENTRY, 20
.equ    FRAME, 28               @ with 9 saved registers a multiple of 8

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
        ldm     r3, {r4-r6}             @ offsets of pixels 1 and 2, blocks of four input channels
        sub     r6, r6, #1              @ the first one is before the loop
        add     r11, r6, #7             @ turns = (blocks + 7) / 8; the first leaves out (-blocks) % 8
        lsr     r11, r11, #3
        rsb     r7, r6, #0
        and     r7, r7, #7
        movs    r8, #BLOCK_BYTES
        adr     r9, 2f
        mla     r10, r7, r8, r9
        cbnz    r6, 5f
        adr     r10, 4f                 @ no turn at all
5:      orr     r10, r10, #1            @ Thumb
        stm     sp, {r2, r4, r5}
        strd    r11, r0, [sp, #TURNS]
        str     r10, [sp, #ENTRY]
1:      ldrd    r11, r12, [sp, #TURNS]
.ifc \variant,relu
        ldm     lr!, {r0, r3, r6, r7}   @ b0, b1 + b0, two words of weights
.else
        ldrd    r6, r7, [lr], #8
.endif
        FIRST_CHANNELS \variant, r6
        TWO_CHANNELS r7
        ldr     pc, [sp, #ENTRY]
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
        .balign 4
4:      sub     r3, r3, r0
        sub     r4, r4, r1
        sub     r5, r5, r2
        ldm     sp, {r10-r12}
        ldm     lr!, {r6-r9}
.ifc \variant,relu
        STORE_FITTED r0, r1, r2, r6, r7, PLAIN_SHIFT
        STORE_FITTED r3, r4, r5, r8, r9, SCALED_SHIFT
        str     r10, [sp, #OUTPUT]
        lsls    r9, r9, #31             @ the last pair's second rounding is odd, others are even
        beq     1b
.else
        add     r0, r6, r0, lsl #1
        add     r1, r6, r1, lsl #1
        add     r2, r6, r2, lsl #1
        STORE_LINEAR r0, r1, r2
        ldm     lr!, {r6-r9}
        add     r3, r6, r3, asr #7
        add     r4, r6, r4, asr #7
        add     r5, r6, r5, asr #7
        STORE_LINEAR r3, r4, r5
        str     r10, [sp, #OUTPUT]
        cmp     r9, #0                  @ the last pair's shift has its top bit set; ASR takes the low byte alone
        bge     1b
.endif
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .size   kernels_m4_tile_\variant\()_s8, . - kernels_m4_tile_\variant\()_s8
.endm

        TILE_KERNEL relu
        TILE_KERNEL linear
#endif
