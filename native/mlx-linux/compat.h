/* What mlx-c 0.7.0 needs on Linux x86-64 and does not have; included before each of its files.
 *
 * - mlx-c declares the 16-bit element types on ARM only, and leaves out the four functions that
 *   pass them (mlx_array_{item,data}_{float16,bfloat16}), which mlx-rs calls on every platform.
 *   MLX has types of its own for them, which have the same two bytes.
 * - mlx-c writes its error messages with std::format, which libstdc++ has since GCC 13.
 */
#ifndef LOOPWATCH_MLX_LINUX_COMPAT_H
#define LOOPWATCH_MLX_LINUX_COMPAT_H

#ifndef __aarch64__
#define HAS_FLOAT16
#define HAS_BFLOAT16
#endif

#ifdef __cplusplus

#include <version>

#include "mlx/types/half_types.h"
#ifndef __aarch64__
using mlx::core::bfloat16_t;
using mlx::core::float16_t;
#endif

#ifdef __cpp_lib_format
#include <format>
#else
#include <sstream>
#include <string>
#include <string_view>
namespace std {
/* mlx-c uses no placeholder other than a plain pair of braces. */
template <typename... Values>
string format(string_view pattern, const Values&... values) {
  ostringstream out;
  auto write = [&](const auto& value) {
    auto place = pattern.find("{}");
    out << pattern.substr(0, place);
    if (place != string_view::npos) {
      out << value;
      pattern.remove_prefix(place + 2);
    } else {
      pattern = {};
    }
  };
  (write(values), ...);
  out << pattern;
  return out.str();
}
} // namespace std
#endif

#elif !defined(__aarch64__)

/* For the bindings: the types that bindgen sees on ARM. */
typedef _Float16 float16_t;
typedef unsigned short bfloat16_t;

#endif

#endif
