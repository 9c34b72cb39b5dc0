#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
@ Three pixels' inputs, widened to int16 and interleaved, as the tile kernels read them.
@ void kernels_m4_widen_s8(const kernels_m4_windows *windows, int16_t *tile)
@ Contract: include/kernels/cortex_m4/matmul.h.
        .syntax unified
        .thumb

@ Offsets in kernels_m4_windows.
.equ    SKIP, 12                @ after three row pointers: from the end of a row's words to the next row, three words
.equ    ROWS, 24
.equ    WORDS, 28               @ of a row
.equ    REST, 32                @ bytes of a row after its words, 0 to 3

        .section .text.kernels_m4_widen_s8, "ax", %progbits
        .balign 4
        .global kernels_m4_widen_s8
        .thumb_func
        .type   kernels_m4_widen_s8, %function
kernels_m4_widen_s8:
        push    {r4-r11, lr}
        mov     r12, r0
        mov     r3, r1                  @ tile
        ldm     r12, {r0-r2}            @ pixels 0-2
        ldrd    lr, r11, [r12, #ROWS]   @ rows left, words of a row
        cmp     r11, #0
        beq     4f
        @ Words of a row: input channels 0 and 2 of each pixel, then 1 and 3. 12 instructions for 12 inputs.
1:      mov     r10, r11
2:      ldr     r7, [r0], #4            @ any alignment
        ldr     r8, [r1], #4
        ldr     r9, [r2], #4
        sxtb16  r4, r7
        sxtb16  r5, r8
        sxtb16  r6, r9
        sxtb16  r7, r7, ror #8
        sxtb16  r8, r8, ror #8
        sxtb16  r9, r9, ror #8
        stm     r3!, {r4-r9}
        subs    r10, r10, #1
        bne     2b
        subs    lr, lr, #1
        beq     3f
        add     r4, r12, #SKIP
        ldm     r4, {r4-r6}
        add     r0, r0, r4
        add     r1, r1, r5
        add     r2, r2, r6
        b       1b
3:      ldr     r4, [r12, #REST]
        cbnz    r4, 4f
        pop     {r4-r11, pc}

        @ What is left of every row, byte after byte: even ones into the low half of a pair, odd ones into the high half.
        @ Only these bytes are read, so that nothing past the input is touched.
4:      ldrd    lr, r11, [r12, #ROWS]
        ldr     r10, [r12, #REST]
        add     r4, r12, #SKIP
        ldm     r4, {r4-r6}
        lsl     r11, r11, #2            @ bytes of a row's words
        ldm     r12, {r0-r2}
        add     r0, r0, r11
        add     r1, r1, r11
        add     r2, r2, r11
        sub     r11, r11, r10
        add     r4, r4, r11             @ from the end of a row to the rest of the next one
        add     r5, r5, r11
        add     r6, r6, r11
        movs    r11, #2                 @ to the next half: 2, then 10
5:      ldrsb   r7, [r0], #1
        ldrsb   r8, [r1], #1
        ldrsb   r9, [r2], #1
        strh    r7, [r3]
        strh    r8, [r3, #4]
        strh    r9, [r3, #8]
        add     r3, r3, r11
        rsb     r11, r11, #12
        subs    r10, r10, #1
        bne     5b
        subs    lr, lr, #1
        beq     6f
        ldr     r10, [r12, #REST]
        add     r0, r0, r4
        add     r1, r1, r5
        add     r2, r2, r6
        b       5b
6:      pop     {r4-r11, pc}
        .size   kernels_m4_widen_s8, . - kernels_m4_widen_s8
#endif
