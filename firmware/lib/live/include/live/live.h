/* What live applications share: inputs classified one after the other, smoothed labels, lines on the console.
 *
 *   #tinyml 1 board=<board> runtime=<runtime> model=<sha256, 16 digits> application=<name> <what the application adds>
 *   #answer <n> label="<name>" score=<0 to 1000> input=<FNV-1a of the input bytes> output=<hex> [microseconds=<n>]
 *
 * label and score are of the smoothed outputs, in thousandths; output is the model's own of this input. */
#ifndef LIVE_H
#define LIVE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Prints the first line, without its end, and prepares the model; `smoothing` is features_smooth_t's shift, 0 for
 * answers that do not depend on the ones before. Returns 0, or 1 after an #error line. */
int live_begin(const char *application, uint8_t smoothing);

/* Runs the model on inference_input(0), which the caller has written, and prints an #answer line. Returns 0, or 1 after
 * an #error line. */
int live_answer(void);

/* Prints `#error <text>` and returns 1. */
int live_fail(const char *text);

/* Number of #answer lines so far. */
uint32_t live_answers(void);

/* Pieces of a line. */
void live_text(const char *text);
void live_number(uint32_t value);

#ifdef __cplusplus
}
#endif

#endif
