/* The second stage of the RP2040's start: makes the flash readable as memory and starts the application behind it.
 *
 * The ROM copies the flash's first 256 bytes to RAM, checks their CRC and calls them (RP2040 datasheet, 2.8.1 and
 * 4.10). This one uses the plain serial read command 03h, which every flash chip knows, at a quarter of the core's
 * clock: slower than a chip's own four-bit modes, but right on any board. It runs wherever it lies. */
  .syntax unified
  .cpu cortex-m0plus
  .thumb

  .equ SSI, 0x18000000
  .equ SSI_CTRLR0, 0x00
  .equ SSI_CTRLR1, 0x04
  .equ SSI_SSIENR, 0x08
  .equ SSI_BAUDR, 0x14
  .equ SSI_SPI_CTRLR0, 0xF4
  .equ CLOCK_DIVIDER, 4
  /* Standard SPI, frames of 32 bits, "EEPROM read": command and address out, then data in. */
  .equ CTRLR0, (31 << 16) | (3 << 8)
  /* Command 03h of 8 bits, an address of 24, no wait cycles, all on one line. */
  .equ SPI_CTRLR0, (0x03 << 24) | (2 << 8) | (6 << 2)
  .equ VTOR, 0xE000ED08

  .section .boot2, "ax"
  .global boot2
  .type boot2, %function
  .thumb_func
boot2:
  ldr r3, ssi
  movs r1, #0
  str r1, [r3, #SSI_SSIENR]
  movs r1, #CLOCK_DIVIDER
  str r1, [r3, #SSI_BAUDR]
  ldr r1, ctrlr0
  str r1, [r3, #SSI_CTRLR0]
  movs r1, #0
  str r1, [r3, #SSI_CTRLR1]
  ldr r1, spi_ctrlr0
  movs r2, #SSI_SPI_CTRLR0
  str r1, [r3, r2]
  movs r1, #1
  str r1, [r3, #SSI_SSIENR]
  ldr r0, application
  ldr r1, vtor
  str r0, [r1]
  ldr r1, [r0]
  msr msp, r1
  ldr r1, [r0, #4]
  bx r1

  .balign 4
ssi:
  .word SSI
ctrlr0:
  .word CTRLR0
spi_ctrlr0:
  .word SPI_CTRLR0
application:
  .word 0x10000100
vtor:
  .word VTOR

  /* The ROM takes no code without the CRC of what is before it; the build says which one is right. */
  .org 252
  .word 0x6d458b9b
