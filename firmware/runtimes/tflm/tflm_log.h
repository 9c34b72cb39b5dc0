/* Keeps what TFLite Micro logs, so that a failure can be explained in one line. */
#ifndef TFLM_LOG_H
#define TFLM_LOG_H

#include <cstdarg>
#include <cstddef>

namespace tflm_log {

// Forgets everything logged so far.
void Clear();

// Appends text; line ends become "; ", and what does not fit is dropped.
void Write(const char *text);

// What was logged since Clear(), as one line without a trailing separator.
const char *Text();

// A small vsnprintf: %d %i %u %x %X %p %c %s %f %% with flags 0 and -, width, precision and the lengths h l z.
// The C library's own would bring a heap and 10 KB or more. Returns the length without truncation.
int Format(char *to, size_t size, const char *format, va_list args);

}  // namespace tflm_log

#endif
