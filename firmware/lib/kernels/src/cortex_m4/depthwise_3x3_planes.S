#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
@ Depthwise convolutions with 3x3 windows on the Cortex-M4, one channel at a time.
@ void kernels_m4_depthwise_3x3_s<stride>_p<pitch>_<variant>(const kernels_m4_depthwise_job *job)
@ Contract: include/kernels/cortex_m4/depthwise_3x3.h.
@
@ A channel is copied from the NHWC image into a plane of int16, whose border holds the zero point; the plane's rows lie
@ `pitch` bytes apart. Then blocks of 2x2 outputs (1x2, 2x1 and 1x1 at the right and lower edge) are computed from the
@ plane's words, each two neighbouring columns c0, c1. With the window's row (w0, w1, w2):
@   stride 1: outputs 0 and 1 from columns c0..c3:  SMLAD (c0,c1)(w0,w1) + SMLABT c2*w2;  SMLATB c1*w0 + SMLAD (c2,c3)(w1,w2)
@   stride 2: outputs 0 and 1 from columns c0..c4:  SMLAD (c0,c1)(w0,w1) + c2*w2;         SMLAD (c2,c3)(w0,w1) + c4*w2
@ The input's zero point is in the bias, and the border has the zero point's value, so that it counts as zero.
@
@ Weights are multiplied by 2^e beforehand and a sum starts from the scaled bias, so that no instruction is needed for
@ either. |w * 2^e| <= 2^15 and |2^e * (sum + bias)| < 2^31 for every input; partial sums may wrap.
@
@ Variant linear: e = 1, the output stage of requantize.inc.
@ Variant relu (output zero point -128): e = 8, where a weight is the upper byte of its halfword, and one shift for all
@ channels, a constant of the code: with X the scaled sum the output is
@     (floor(X * M / 2^32) + R) >> 10, clamped to int8,
@ SMMLA and SSAT with a shift. That gemmlowp's double rounding can be had so for sums that are not negative:
@ requantize.inc's floor((floor((x*m + 2^31) / 2^32) + 2^(s-1)) / 2^s) is floor((x*m + 2^31 + 2^(s+31)) / 2^(s+32)), as
@ nested floors are one. M, R and the bias in X need not be exactly m, 2^31 and 2^(s+31) times powers of two: sums are
@ integers, and it is enough that each of the 255 steps of the output comes at the same sum. They are chosen for every
@ channel such that it does (convert/compiled/cortex_m4/depthwise.py).
#include "requantize.inc"

        .syntax unified
        .thumb

@ The frame: four words of the channel, then a copy of the job.
.equ    BIAS, 0
.equ    MULTIPLIER, 4           @ and rounding
.equ    SHIFT, 12
.equ    PIXEL, 16               @ bytes from an output to its right neighbour; and to the lower one
.equ    ROW, 20
.equ    PLANE_STEP, 24          @ from the end of a pair of output rows to the next: plane, output
.equ    OUTPUT_STEP, 28
.equ    OUTPUT, 32              @ of this channel
.equ    INPUT, 36
.equ    CHANNELS, 40            @ that are left
.equ    STREAM, 44
.equ    PLANE, 48
.equ    PAIRS, 52               @ 2 * (pairs of output rows - 1) + (1: the output has an odd width)
.equ    LEFT, 56                @ likewise, pairs that are left
.equ    ODD_ROW, 60
.equ    TARGET, 64              @ of the first copied element
.equ    ROWS, 68                @ to copy
.equ    SKIP, 72                @ from the end of a copied row to the next
.equ    CODE, 76                @ of a row, from START on: number, then address
.equ    TAIL, 80                @ of a row's end, likewise
.equ    GROUPS, 84              @ of eight elements
.equ    RETURN, 88
.equ    SAVED, 92               @ two registers
.equ    FRAME, 100              @ with 9 saved registers a multiple of 8

@ Copying. r0 input, r1 plane, r2, r3, r4, r10: 1, 3, 5 and 7 times the bytes between elements, r5 SKIP, r11 CODE, r12 rows
@ left; r6-r9 clobbered.
.macro ELEMENT register, index
    .if (\index) == 0
        ldrsb   \register, [r0]
    .elseif (\index) == 1
        ldrsb   \register, [r0, r2]
    .elseif (\index) == 2
        ldrsb   \register, [r0, r2, lsl #1]
    .elseif (\index) == 3
        ldrsb   \register, [r0, r3]
    .elseif (\index) == 4
        ldrsb   \register, [r0, r2, lsl #2]
    .elseif (\index) == 5
        ldrsb   \register, [r0, r4]
    .elseif (\index) == 6
        ldrsb   \register, [r0, r3, lsl #1]
    .else
        ldrsb   \register, [r0, r10]
    .endif
.endm
.macro ADVANCE elements
    .if \elements == 1
        add     r0, r0, r2
    .elseif \elements == 2
        add     r0, r0, r2, lsl #1
    .elseif \elements == 3
        add     r0, r0, r3
    .elseif \elements == 4
        add     r0, r0, r2, lsl #2
    .elseif \elements == 5
        add     r0, r0, r4
    .elseif \elements == 6
        add     r0, r0, r3, lsl #1
    .elseif \elements == 7
        add     r0, r0, r10
    .elseif \elements == 8
        add     r0, r0, r2, lsl #3
    .endif
.endm
.macro FOUR index
        ELEMENT r6, \index
        ELEMENT r7, \index + 1
        ELEMENT r8, \index + 2
        ELEMENT r9, \index + 3
        pkhbt   r6, r6, r7, lsl #16
        pkhbt   r8, r8, r9, lsl #16
        strd    r6, r8, [r1], #8
.endm
@ `elements` neighbours; with lead the first goes to the upper half of its word. A last single one leaves the half beside it,
@ which is border.
.macro ELEMENTS lead, elements
    .if \lead
        ELEMENT r6, 0
        strh    r6, [r1], #2
    .endif
    .if \elements - \lead >= 4
        FOUR    \lead
    .endif
    .if \elements - \lead == 8
        FOUR    4
    .endif
    .if (\elements - \lead) & 2
        ELEMENT r6, \elements - 2 - ((\elements - \lead) & 1)
        ELEMENT r7, \elements - 1 - ((\elements - \lead) & 1)
        pkhbt   r6, r6, r7, lsl #16
        str     r6, [r1], #4
    .endif
    .if (\elements - \lead) & 1
        ELEMENT r6, \elements - 1
        strh    r6, [r1], #4
    .endif
        ADVANCE \elements
.endm

        .section .text.kernels_m4_depthwise_copy, "ax", %progbits
        .balign 4
        .hidden kernels_m4_depthwise_start
        .hidden kernels_m4_depthwise_copy
@ Numbers in the frame of a KERNEL become addresses; r0-r3 clobbered.
        .global kernels_m4_depthwise_start
        .thumb_func
        .type   kernels_m4_depthwise_start, %function
kernels_m4_depthwise_start:
        adr     r0, START
        ldrd    r1, r2, [sp, #CODE]
        ldrh    r1, [r0, r1, lsl #1]
        ldrh    r2, [r0, r2, lsl #1]
        add     r1, r1, r0
        add     r2, r2, r0
        orr     r1, r1, #1              @ Thumb
        orr     r2, r2, #1
        strd    r1, r2, [sp, #CODE]
        bx      lr
        .balign 4
START:
        .irp    elements, 0, 1, 2, 3, 4, 5, 6, 7
        .hword  TAIL_\elements - START
        .endr
        .irp    elements, 1, 2, 3, 4, 5, 6, 7, 8
        .hword  LEAD_\elements - START
        .endr
        .hword  EIGHTS - START
        .hword  LEAD_EIGHTS - START
        .balign 4

@ A channel's rows into the plane, in the frame of a KERNEL; all registers clobbered.
        .global kernels_m4_depthwise_copy
        .thumb_func
        .type   kernels_m4_depthwise_copy, %function
kernels_m4_depthwise_copy:
        ldr     r2, [sp, #PIXEL]
        ldr     r0, [sp, #INPUT]
        str     lr, [sp, #RETURN]
        ldrd    r1, r12, [sp, #TARGET]
        ldrd    r5, r11, [sp, #SKIP]
        add     r3, r2, r2, lsl #1
        add     r4, r2, r2, lsl #2
        add     r10, r3, r2, lsl #2
        bx      r11
LEAD_EIGHTS:                            @ one element, then as below
        ELEMENTS 1, 1
EIGHTS: ldr     lr, [sp, #GROUPS]
1:      ELEMENTS 0, 8
        subs    lr, lr, #1
        bne     1b
        ldr     pc, [sp, #TAIL]
        .irp    elements, 0, 1, 2, 3, 4, 5, 6, 7
TAIL_\elements:                         @ the end of a row, or a row without lead
        ELEMENTS 0, \elements
        add     r1, r1, r5
        subs    r12, r12, #1
        it      ne
        bxne    r11
        ldr     pc, [sp, #RETURN]
        .endr
        .irp    elements, 1, 2, 3, 4, 5, 6, 7, 8
LEAD_\elements:                         @ a row with lead
        ELEMENTS 1, \elements
        add     r1, r1, r5
        subs    r12, r12, #1
        bne     LEAD_\elements
        ldr     pc, [sp, #RETURN]
        .endr

@ One window row. (r12, lr) = (c0, c1), (c2, c3); w01, w12 the row's weights, a, b the sums of the two outputs, from: what
@ they start from.
.macro S1 nx, w01, w12, a, b, from_a, from_b
    .if \nx == 2
        smlatb  \b, r12, \w01, \from_b
    .endif
        smlad   \a, r12, \w01, \from_a
    .if \nx == 2
        smlad   \b, lr, \w12, \b
    .endif
        smlabt  \a, lr, \w12, \a
.endm
@ (r12, lr, r7) = (c0, c1), (c2, c3), (c4, c5); w2 is the half \half of its register.
.macro S2 nx, w01, w2, half, a, b, from_a, from_b
    .if \nx == 2
        smlad   \b, lr, \w01, \from_b
    .endif
        smlad   \a, r12, \w01, \from_a
    .if \nx == 2
        smlab\half \b, r7, \w2, \b
    .endif
        smlab\half \a, lr, \w2, \a
.endm
.macro LOAD2 nx, row, pitch
    .if \row * \pitch <= 1020
        ldrd    r12, lr, [r1, #\row * \pitch]
    .else
        ldr     r12, [r1, #\row * \pitch]
        ldr     lr, [r1, #\row * \pitch + 4]
    .endif
    .if \nx == 2
        ldr     r7, [r1, #\row * \pitch + 8]
    .endif
.endm

@ Sums of a block: r8, r9 the upper row, r10, r11 the lower one. The row that most sums share comes first, as they all start
@ from the bias in the register of the one that starts last.
.macro SUMS_1 nx, ny, pitch
        ldr     r8, [sp, #BIAS]
        ldrd    r12, lr, [r1, #\pitch]
    .if \ny == 2
        S1      \nx, r2, r3, r10, r11, r8, r8
    .endif
        S1      \nx, r4, r5, r8, r9, r8, r8
        ldrd    r12, lr, [r1, #2 * \pitch]
    .if \ny == 2
        S1      \nx, r4, r5, r10, r11, r10, r11
    .endif
        S1      \nx, r6, r7, r8, r9, r8, r9
    .if \ny == 2
        ldrd    r12, lr, [r1, #3 * \pitch]
        S1      \nx, r6, r7, r10, r11, r10, r11
    .endif
    .if \nx == 2
        ldrd    r12, lr, [r1], #4
    .else
        ldrd    r12, lr, [r1]
    .endif
        S1      \nx, r2, r3, r8, r9, r8, r9
.endm
.macro SUMS_2 nx, ny, pitch
        ldr     r8, [sp, #BIAS]
        LOAD2   \nx, 2, \pitch
    .if \ny == 2
        S2      \nx, r2, r5, b, r10, r11, r8, r8
    .endif
        S2      \nx, r4, r6, b, r8, r9, r8, r8
        LOAD2   \nx, 1, \pitch
        S2      \nx, r3, r5, t, r8, r9, r8, r9
    .if \ny == 2
        LOAD2   \nx, 3, \pitch
        S2      \nx, r3, r5, t, r10, r11, r10, r11
        LOAD2   \nx, 4, \pitch
        S2      \nx, r4, r6, b, r10, r11, r10, r11
    .endif
    .if \nx == 2
        ldr     r7, [r1, #8]
        ldrd    r12, lr, [r1], #8
    .else
        ldrd    r12, lr, [r1]
    .endif
        S2      \nx, r2, r5, b, r8, r9, r8, r9
.endm

@ A block of nx columns and ny rows of outputs. r0 output, r1 plane; advanced by a block of two columns.
.macro BLOCK variant, stride, nx, ny, pitch
        SUMS_\stride \nx, \ny, \pitch
        ldrd    r12, lr, [sp, #MULTIPLIER]
    .ifc \variant,relu
        smmla   r8, r8, r12, lr
      .if \nx == 2
        smmla   r9, r9, r12, lr
      .endif
      .if \ny == 2
        smmla   r10, r10, r12, lr
      .endif
      .if \nx + \ny == 4
        smmla   r11, r11, r12, lr
      .endif
        ssat    r8, #8, r8, asr #SCALED_SHIFT
      .if \nx == 2
        ssat    r9, #8, r9, asr #SCALED_SHIFT
      .endif
      .if \ny == 2
        ssat    r10, #8, r10, asr #SCALED_SHIFT
      .endif
      .if \nx + \ny == 4
        ssat    r11, #8, r11, asr #SCALED_SHIFT
      .endif
    .else
        strd    r0, r1, [sp, #SAVED]
        ldr     r1, [sp, #SHIFT]
        REQUANTIZE linear, r8, r12, lr, r1, r0
      .if \nx == 2
        REQUANTIZE linear, r9, r12, lr, r1, r0
      .endif
      .if \ny == 2
        REQUANTIZE linear, r10, r12, lr, r1, r0
      .endif
      .if \nx + \ny == 4
        REQUANTIZE linear, r11, r12, lr, r1, r0
      .endif
        ldrd    r0, r1, [sp, #SAVED]
    .endif
    .if \nx + \ny > 2
        ldrd    r12, lr, [sp, #PIXEL]
    .endif
        strb    r8, [r0]
    .if \ny == 2
        strb    r10, [r0, lr]
    .endif
    .if \nx == 2
        add     r0, r0, r12
        strb    r9, [r0]
      .if \ny == 2
        strb    r11, [r0, lr]
      .endif
        add     r0, r0, r12
    .endif
.endm

@ ny rows of outputs, at least two columns; the odd column, if any, follows.
.macro LINE variant, stride, ny, pitch
1:      BLOCK   \variant, \stride, 2, \ny, \pitch
        tst     r1, #\pitch - 1         @ a row ends where the pitch divides its address
        bne     1b
.endm

.macro KERNEL variant, stride, pitch
        .section .text.kernels_m4_depthwise_3x3_s\stride\()_p\pitch\()_\variant, "ax", %progbits
        .balign 4
        .global kernels_m4_depthwise_3x3_s\stride\()_p\pitch\()_\variant
        .thumb_func
        .type   kernels_m4_depthwise_3x3_s\stride\()_p\pitch\()_\variant, %function
kernels_m4_depthwise_3x3_s\stride\()_p\pitch\()_\variant:
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME
        add     r12, sp, #PIXEL
        ldm     r0!, {r1-r9}
        stm     r12!, {r1-r9}
        ldm     r0, {r1-r9}
        stm     r12, {r1-r9}
        bl      kernels_m4_depthwise_start
10:     bl      kernels_m4_depthwise_copy
        ldr     r12, [sp, #STREAM]
    .ifc \variant,relu
        mov     lr, #0xff00ff00
      .if \stride == 1
        ldm     r12!, {r3, r5, r7}
        and     r2, lr, r3, lsl #8
        and     r3, r3, lr
        and     r4, lr, r5, lsl #8
        and     r5, r5, lr
        and     r6, lr, r7, lsl #8
        and     r7, r7, lr
      .else
        ldm     r12!, {r3, r5, r6}
        and     r2, lr, r3, lsl #8
        and     r3, r3, lr
        and     r4, lr, r5, lsl #8
        and     r5, r5, lr
      .endif
        ldm     r12!, {r8-r10}
        stm     sp, {r8-r10}
    .else
      .if \stride == 1
        ldm     r12!, {r2-r7}
      .else
        ldm     r12!, {r2-r6}
      .endif
        ldm     r12!, {r8-r11}
        stm     sp, {r8-r11}
    .endif
        str     r12, [sp, #STREAM]
        ldr     r0, [sp, #OUTPUT]
        ldrd    r1, r12, [sp, #PLANE]   @ and pairs
        cmp     r12, #0
        blt     30f
        str     r12, [sp, #LEFT]
20:     LINE    \variant, \stride, 2, \pitch
        ldr     r12, [sp, #LEFT]
        tst     r12, #1
        beq     21f
        BLOCK   \variant, \stride, 1, 2, \pitch
        ldr     r12, [sp, #LEFT]
21:     subs    r12, r12, #2
        str     r12, [sp, #LEFT]
        ldrd    r12, lr, [sp, #PLANE_STEP]
        add     r1, r1, r12
        add     r0, r0, lr
        bpl     20b
30:     ldr     r12, [sp, #ODD_ROW]
        cmp     r12, #0
        beq     40f
        LINE    \variant, \stride, 1, \pitch
        ldr     r12, [sp, #PAIRS]
        tst     r12, #1
        beq     40f
        BLOCK   \variant, \stride, 1, 1, \pitch
40:     add     r12, sp, #OUTPUT
        ldm     r12, {r0-r2}
        add     r0, r0, #1
        add     r1, r1, #1
        subs    r2, r2, #1
        stm     r12, {r0-r2}
        bne     10b
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .size   kernels_m4_depthwise_3x3_s\stride\()_p\pitch\()_\variant, . - kernels_m4_depthwise_3x3_s\stride\()_p\pitch\()_\variant
.endm

.macro KERNELS variant
        KERNEL  \variant, 1, 32
        KERNEL  \variant, 1, 64
        KERNEL  \variant, 1, 128
        KERNEL  \variant, 1, 256
        KERNEL  \variant, 2, 32
        KERNEL  \variant, 2, 64
        KERNEL  \variant, 2, 128
        KERNEL  \variant, 2, 256
.endm
        KERNELS relu
        KERNELS linear
#endif
