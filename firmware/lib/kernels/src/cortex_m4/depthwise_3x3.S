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
@ Weights are multiplied by 2^e (e below) beforehand and a sum starts from the scaled bias, so that no instruction is
@ needed for either. |w * 2^e| <= 2^15 and |2^e * (sum + bias)| < 2^31 for every input; partial sums may wrap.
@
@ Variant linear: e = 1, the output stage of requantize.inc.
@ Variant relu (output zero point -128): with x = 2*(sum + bias), multiplier m and shift s, requantize.inc gives
@     floor((floor((x*m + 2^31) / 2^32) + 2^(s-1)) / 2^s) + zp, clamped,
@   and nested floors of whole divisors are one: floor((x*m + 2^31 + 2^(s+31)) / 2^(s+32)) + zp. Scaled by 2^k, k = e - 1 >= 1,
@   both constants are multiples of 2^32, and with X = x * 2^k
@     floor((floor(X*m / 2^32) + 2^(k-1) + 2^(s+k-1) + (zp << (s+k))) / 2^(s+k)), clamped.
@   That is SMMLA and SSAT with a shift. k is chosen a channel such that s + k = 10, whatever s is: the shift is a constant
@   of the code. Channels that this does not suit get other constants, which are compared with the reference for every sum
@   that can occur (convert/compiled/cortex_m4/depthwise.py).
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
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
.equ    PAIRS, 52               @ of output rows
.equ    ODD_ROW, 56
.equ    ODD_COLUMN, 60
.equ    LEFT, 64                @ pairs
.equ    TARGET, 68              @ of the first copied element
.equ    ROWS, 72                @ to copy
.equ    LEAD, 76                @ 1: the first element of a row is the upper half of its word
.equ    GROUPS, 80              @ of eight elements after it
.equ    TAIL, 84                @ elements after these, 0 to 7; then the code's address
.equ    SKIP, 88                @ from the end of a copied row to the next
.equ    SAVED, 92               @ two registers
.equ    FRAME, 100              @ with 9 saved registers a multiple of 8
.equ    SCALED_SHIFT, 10

@ Eight neighbours of a row, in two halves: the first or the second four of a group, 8 instructions.
@ r0 input, r1 plane, r2 bytes between elements, r3 three times that; r6-r9 clobbered.
.macro COPY_FOUR
        ldrsb   r6, [r0]
        ldrsb   r7, [r0, r2]
        ldrsb   r8, [r0, r2, lsl #1]
        ldrsb   r9, [r0, r3]
        add     r0, r0, r2, lsl #2
        pkhbt   r6, r6, r7, lsl #16
        pkhbt   r8, r8, r9, lsl #16
        strd    r6, r8, [r1], #8
.endm
.macro COPY_TWO
        ldrsb   r6, [r0]
        ldrsb   r7, [r0, r2]
        add     r0, r0, r2, lsl #1
        pkhbt   r6, r6, r7, lsl #16
        str     r6, [r1], #4
.endm
.macro COPY_ONE
        ldrsb   r6, [r0]
        add     r0, r0, r2
        strh    r6, [r1], #4
.endm
@ The end of a row: r12 rows left, lr to the next row in the plane.
.macro NEXT_ROW row, done
        add     r1, r1, lr
        subs    r12, r12, #1
        bne     \row
        b       \done
.endm

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
        ldrd    r12, lr, [r1, #(\row) * \pitch]
    .if \nx == 2
        ldr     r7, [r1, #(\row) * \pitch + 8]
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

@ ny rows of outputs.
.macro LINE variant, stride, ny, pitch
        tst     r1, #\pitch - 1
        beq     2f
1:      BLOCK   \variant, \stride, 2, \ny, \pitch
        tst     r1, #\pitch - 1         @ a row ends where the pitch divides its address
        bne     1b
2:      ldr     r12, [sp, #ODD_COLUMN]
        cmp     r12, #0
        beq     3f
        BLOCK   \variant, \stride, 1, \ny, \pitch
3:
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
        ldm     r0!, {r1-r10}
        stm     r12!, {r1-r10}
        ldm     r0!, {r1-r9}
        adr     r10, 90f
        ldrh    r11, [r10, r8, lsl #1]  @ tail
        add     r8, r10, r11
        stm     r12, {r1-r9}
        b       10f
        .balign 4
90:     .hword  60f - 90b, 61f - 90b, 62f - 90b, 63f - 90b, 64f - 90b, 65f - 90b, 66f - 90b, 67f - 90b

        @ Copy a channel's rows.
10:     ldr     r0, [sp, #INPUT]
        ldr     r2, [sp, #PIXEL]
        add     r3, r2, r2, lsl #1
        ldr     r1, [sp, #TARGET]
        ldrd    r12, r5, [sp, #ROWS]    @ and lead
        ldrd    r4, r11, [sp, #GROUPS]  @ and tail
        ldr     lr, [sp, #SKIP]
20:     cbz     r5, 30f
        ldrsb   r6, [r0]
        add     r0, r0, r2
        strh    r6, [r1], #2
30:     cbz     r4, 50f
        mov     r10, r4
40:     COPY_FOUR
        COPY_FOUR
        subs    r10, r10, #1
        bne     40b
50:     mov     pc, r11
60:     NEXT_ROW 20b, 70f
61:     COPY_ONE
        NEXT_ROW 20b, 70f
62:     COPY_TWO
        NEXT_ROW 20b, 70f
63:     COPY_TWO
        COPY_ONE
        NEXT_ROW 20b, 70f
64:     COPY_FOUR
        NEXT_ROW 20b, 70f
65:     COPY_FOUR
        COPY_ONE
        NEXT_ROW 20b, 70f
66:     COPY_FOUR
        COPY_TWO
        NEXT_ROW 20b, 70f
67:     COPY_FOUR
        COPY_TWO
        COPY_ONE
        NEXT_ROW 20b, 70f

70:     ldr     r12, [sp, #STREAM]
    .if \stride == 1
        ldm     r12!, {r2-r7}
    .else
        ldm     r12!, {r2-r6}
    .endif
    .ifc \variant,relu
        ldm     r12!, {r8-r10}
        stm     sp, {r8-r10}
    .else
        ldm     r12!, {r8-r11}
        stm     sp, {r8-r11}
    .endif
        str     r12, [sp, #STREAM]
        ldr     r0, [sp, #OUTPUT]
        ldrd    r1, r12, [sp, #PLANE]
        cmp     r12, #0
        beq     81f
        str     r12, [sp, #LEFT]
80:     LINE    \variant, \stride, 2, \pitch
        ldrd    r12, lr, [sp, #PLANE_STEP]
        add     r1, r1, r12
        add     r0, r0, lr
        ldr     r12, [sp, #LEFT]
        subs    r12, r12, #1
        str     r12, [sp, #LEFT]
        bne     80b
81:     ldr     r12, [sp, #ODD_ROW]
        cmp     r12, #0
        beq     82f
        LINE    \variant, \stride, 1, \pitch
82:     add     r12, sp, #OUTPUT
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
        KERNEL  \variant, 2, 32
        KERNEL  \variant, 2, 64
        KERNEL  \variant, 2, 128
.endm
        KERNELS relu
        KERNELS linear
#endif
