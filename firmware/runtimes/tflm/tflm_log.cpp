#include "tflm_log.h"

#include <cstdint>
#include <cstring>

namespace tflm_log {
namespace {

constexpr size_t kKept = 240;
char kept[kKept];
size_t used = 0;

// Collects formatted characters and counts those that no longer fit.
struct Sink {
  char *to;
  size_t size;
  size_t length;

  void Put(char c) {
    if (length + 1 < size) {
      to[length] = c;
    }
    ++length;
  }
};

struct Spec {
  bool left;
  char pad;
  int width;
  int precision;  // -1: not given
};

void PutPadded(Sink &sink, const Spec &spec, const char *text, size_t count) {
  const size_t width = spec.width > 0 ? static_cast<size_t>(spec.width) : 0;
  const size_t padding = width > count ? width - count : 0;
  size_t skip = 0;
  if (!spec.left && spec.pad == '0' && count > 0 && text[0] == '-') {
    sink.Put('-');  // the sign stands before padding zeros
    skip = 1;
  }
  for (size_t i = 0; !spec.left && i < padding; ++i) {
    sink.Put(spec.pad);
  }
  for (size_t i = skip; i < count; ++i) {
    sink.Put(text[i]);
  }
  for (size_t i = 0; spec.left && i < padding; ++i) {
    sink.Put(' ');
  }
}

// Writes digits backwards from `end`; returns where they begin.
char *Digits(char *end, unsigned long value, unsigned base, bool upper) {
  const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  do {
    *--end = digits[value % base];
    value /= base;
  } while (value != 0);
  return end;
}

void PutInteger(Sink &sink, const Spec &spec, unsigned long value, bool negative, unsigned base, bool upper) {
  char text[24];
  char *begin = Digits(text + sizeof text, value, base, upper);
  if (negative) {
    *--begin = '-';
  }
  PutPadded(sink, spec, begin, static_cast<size_t>(text + sizeof text - begin));
}

void PutReal(Sink &sink, const Spec &spec, double value) {
  const bool negative = value < 0;
  const double magnitude = negative ? -value : value;
  if (!(magnitude < 4.0e9)) {  // also NaN
    const char *text = magnitude != magnitude ? "nan" : negative ? "-large" : "large";
    PutPadded(sink, spec, text, strlen(text));
    return;
  }
  const int places = spec.precision < 0 ? 6 : spec.precision > 9 ? 9 : spec.precision;
  unsigned long scale = 1;
  for (int i = 0; i < places; ++i) {
    scale *= 10;
  }
  unsigned long whole = static_cast<unsigned long>(magnitude);
  unsigned long rest =
      static_cast<unsigned long>((magnitude - static_cast<double>(whole)) * static_cast<double>(scale) + 0.5);
  if (rest >= scale) {
    rest -= scale;
    ++whole;
  }
  char text[32];
  char *const end = text + sizeof text;
  char *begin = end;
  if (places > 0) {
    begin = Digits(end, rest, 10, false);
    while (end - begin < places) {
      *--begin = '0';
    }
    *--begin = '.';
  }
  begin = Digits(begin, whole, 10, false);
  if (negative) {
    *--begin = '-';
  }
  PutPadded(sink, spec, begin, static_cast<size_t>(end - begin));
}

int Number(const char *&at) {
  int value = 0;
  while (*at >= '0' && *at <= '9') {
    value = value * 10 + (*at++ - '0');
  }
  return value;
}

}  // namespace

int Format(char *to, size_t size, const char *format, va_list args) {
  Sink sink = {to, size, 0};
  for (const char *at = format; *at != '\0'; ++at) {
    if (*at != '%') {
      sink.Put(*at);
      continue;
    }
    ++at;
    Spec spec = {false, ' ', 0, -1};
    for (; *at == '-' || *at == '0'; ++at) {
      if (*at == '-') {
        spec.left = true;
      } else {
        spec.pad = '0';
      }
    }
    spec.width = Number(at);
    if (*at == '.') {
      ++at;
      spec.precision = Number(at);
    }
    int longs = 0;
    for (; *at == 'l' || *at == 'h' || *at == 'z'; ++at) {
      longs += *at == 'l' || *at == 'z' ? 1 : 0;
    }
    switch (*at) {
      case 'd':
      case 'i': {
        const long value = longs > 1    ? static_cast<long>(va_arg(args, long long))
                           : longs == 1 ? va_arg(args, long)
                                        : static_cast<long>(va_arg(args, int));
        const unsigned long magnitude =
            value < 0 ? 0ul - static_cast<unsigned long>(value) : static_cast<unsigned long>(value);
        PutInteger(sink, spec, magnitude, value < 0, 10, false);
        break;
      }
      case 'u':
      case 'x':
      case 'X': {
        const unsigned long value = longs > 1    ? static_cast<unsigned long>(va_arg(args, unsigned long long))
                                    : longs == 1 ? va_arg(args, unsigned long)
                                                 : static_cast<unsigned long>(va_arg(args, unsigned));
        PutInteger(sink, spec, value, false, *at == 'u' ? 10 : 16, *at == 'X');
        break;
      }
      case 'p':
        PutInteger(sink, spec, static_cast<unsigned long>(reinterpret_cast<uintptr_t>(va_arg(args, void *))), false, 16,
                   false);
        break;
      case 'c': {
        const char c = static_cast<char>(va_arg(args, int));
        PutPadded(sink, spec, &c, 1);
        break;
      }
      case 's': {
        const char *text = va_arg(args, const char *);
        if (text == nullptr) {
          text = "(null)";
        }
        size_t count = strlen(text);
        if (spec.precision >= 0 && count > static_cast<size_t>(spec.precision)) {
          count = static_cast<size_t>(spec.precision);
        }
        PutPadded(sink, spec, text, count);
        break;
      }
      case 'f':
      case 'g':
        PutReal(sink, spec, va_arg(args, double));
        break;
      case '\0':
        --at;  // a lone % at the end
        break;
      default:
        sink.Put(*at);
        break;
    }
  }
  if (size > 0) {
    to[sink.length < size ? sink.length : size - 1] = '\0';
  }
  return static_cast<int>(sink.length);
}

void Clear() {
  used = 0;
  kept[0] = '\0';
}

void Write(const char *text) {
  for (; *text != '\0'; ++text) {
    const bool line_end = *text == '\n' || *text == '\r';
    const bool after_separator = used == 0 || (used >= 2 && kept[used - 1] == ' ' && kept[used - 2] == ';');
    if (line_end && !after_separator && used + 2 < kKept) {
      while (used > 0 && kept[used - 1] == ' ') {
        --used;
      }
      kept[used++] = ';';
      kept[used++] = ' ';
    } else if (!line_end && !(after_separator && *text == ' ') && used + 1 < kKept) {
      kept[used++] = *text;
    }
  }
  kept[used] = '\0';
}

const char *Text() {
  size_t end = used;
  while (end > 0 && (kept[end - 1] == ' ' || kept[end - 1] == ';')) {
    --end;
  }
  kept[end] = '\0';
  used = end;
  return kept;
}

}  // namespace tflm_log
