#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
@ Depthwise convolutions with any window on the Cortex-M4: the outputs of one channel, four neighbours at a time.
@ void kernels_m4_depthwise_lines_<variant>(const kernels_m4_depthwise_lines_job *job)
@ Variants: unit, where the windows of neighbouring outputs are one element apart, and any.
@ Contract: include/kernels/cortex_m4/depthwise.h.
@
@ A window's row is taken two taps at a time: SMLAD of two neighbouring halfwords of the plane, at any even address, with
@ a word of weights; an odd last tap has a neighbour of weight 0. Sums wrap harmlessly; what counts is that the whole sum
@ with bias is below 2^30 in absolute value, as requantize.inc demands.
@ A row's last block may be short: it computes all four outputs and stores those that exist.
#include "requantize.inc"

        .syntax unified
        .thumb

@ The frame: a copy of the job.
.equ    STREAM, 0
.equ    WINDOW, 4               @ window's rows, less one
.equ    PAIRS, 8                @ of taps, in a window's row; then the address of the code for that many
.equ    SKIP, 12                @ from the end of a window's row to the next
.equ    STEP, 16                @ from an output's window to its neighbour's
.equ    BLOCK_STEP, 20          @ four times that
.equ    PLANE, 24               @ of the row of outputs
.equ    OUTPUT, 28
.equ    PIXEL, 32               @ from an output to its neighbour
.equ    COLUMNS, 36             @ outputs in a row
.equ    PLANE_ROW, 40           @ from a row of outputs to the next: plane, output
.equ    OUTPUT_ROW, 44
.equ    ROWS, 48                @ of outputs
.equ    AT, 52                  @ plane and output of the block
.equ    FRAME, 60               @ with 9 saved registers a multiple of 8

.equ    MOST_PAIRS, 8

@ Two taps of four outputs. r0-r3 sums, r4 plane, r5 weights, r6 STEP, r7 3 * STEP; r8, lr elements, r9 weights.
@ All encodings are of one size, so that the code can be entered at any pair.
@ unit: r8, lr are the elements of outputs 0 and 1; those of 2 and 3 are the next pair's. r6, r7 are not used.
.macro PAIR variant
    .ifc \variant,unit
        ldr     r9, [r5], #4
        smlad   r0, r8, r9, r0
        smlad   r1, lr, r9, r1
        ldr     r8, [r4, #4]!
        ldr     lr, [r4, #2]
        smlad   r2, r8, r9, r2
        smlad   r3, lr, r9, r3
    .else
        ldr     r9, [r5], #4
        ldr     r8, [r4, r6]
        ldr     lr, [r4, r6, lsl #1]
        smlad   r1, r8, r9, r1
        smlad   r2, lr, r9, r2
        ldr     r8, [r4, r7]
        ldr     lr, [r4], #4
        smlad   r3, r8, r9, r3
        smlad   r0, lr, r9, r0
    .endif
.endm

.macro KERNEL variant
        .section .text.kernels_m4_depthwise_lines_\variant, "ax", %progbits
        .balign 4
        .global kernels_m4_depthwise_lines_\variant
        .thumb_func
        .type   kernels_m4_depthwise_lines_\variant, %function
kernels_m4_depthwise_lines_\variant:
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME
        mov     r12, sp
        ldm     r0!, {r1-r7}
        sub     r2, r2, #1
        rsb     r3, r3, #MOST_PAIRS
        adr     r8, 4f
        movs    r9, #7f - 4f
        mla     r3, r3, r9, r8
        orr     r3, r3, #1              @ Thumb
        stm     r12!, {r1-r7}
        ldm     r0, {r1-r6}
        stm     r12, {r1-r6}
1:      ldrd    r4, r5, [sp, #PLANE]    @ and output
        ldr     r11, [sp, #COLUMNS]
        strd    r4, r5, [sp, #AT]

        @ A block. r10 the code's address; r11 window's rows left in the upper, outputs left in the lower half; r12 SKIP.
2:      ldm     sp, {r5, r9, r10, r12}
    .ifc \variant,any
        ldr     r6, [sp, #STEP]
        add     r7, r6, r6, lsl #1
    .endif
        orr     r11, r11, r9, lsl #16
        movs    r0, #0
        movs    r1, #0
        movs    r2, #0
        movs    r3, #0
        b       5f
3:      add     r4, r4, r12
5:
    .ifc \variant,unit
        ldr     r8, [r4]
        ldr     lr, [r4, #2]
    .endif
        bx      r10
        .balign 4
4:      PAIR    \variant
7:
        .rept   MOST_PAIRS - 1
        PAIR    \variant
        .endr
        subs    r11, r11, #0x10000
        bhs     3b
        add     r11, r11, #0x10000

        ldm     r5, {r6, r7, r8, r9}    @ kernels_m4_channel
        add     r0, r6, r0, lsl #1
        add     r1, r6, r1, lsl #1
        add     r2, r6, r2, lsl #1
        add     r3, r6, r3, lsl #1
    .irp x, r0, r1, r2, r3
        REQUANTIZE linear, \x, r7, r8, r9, lr
    .endr
        ldrd    r4, r5, [sp, #AT]
        ldr     r6, [sp, #PIXEL]
        ldr     r7, [sp, #BLOCK_STEP]
        subs    r11, r11, #4
        blo     5f
        strb    r1, [r5, r6]
        strb    r2, [r5, r6, lsl #1]
        strb    r0, [r5]
        add     r5, r5, r6, lsl #2
        sub     r6, r5, r6
        strb    r3, [r6]
        add     r4, r4, r7
        strd    r4, r5, [sp, #AT]
        bne     2b
        b       6f
5:      strb    r0, [r5]                @ r11 = -3 to -1: one to three outputs
        adds    r11, r11, #3
        beq     6f
        strb    r1, [r5, r6]
        cmp     r11, #1
        beq     6f
        strb    r2, [r5, r6, lsl #1]

6:      add     r12, sp, #PLANE_ROW
        ldm     r12, {r0-r2}
        ldrd    r4, r5, [sp, #PLANE]
        add     r4, r4, r0
        add     r5, r5, r1
        subs    r2, r2, #1
        strd    r4, r5, [sp, #PLANE]
        str     r2, [sp, #ROWS]
        bne     1b
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .size   kernels_m4_depthwise_lines_\variant, . - kernels_m4_depthwise_lines_\variant
.endm

        KERNEL  unit
        KERNEL  any
#endif
