#include "experiments/command_line/failure.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "core/base/error.hpp"
#include "core/text/printable_text.hpp"
#include "experiments/records/exit_code.hpp"
#include "experiments/terminal/terminal.hpp"

namespace blockwise {
namespace {

// LibTorch's messages have several lines; what is in a line may come from a file. Standard error
// may be what fails; there is nowhere else to say it.
int fail(int code, std::string_view what) {
  std::string text = "blockwise: ";
  while (!what.empty()) {
    const auto line = what.substr(0, what.find('\n'));
    text += printable(line) + "\n";
    what.remove_prefix(std::min(what.size(), line.size() + 1));
  }
  text = wrapped(text, columns_of(STDERR_FILENO), 2);
  std::fwrite(text.data(), 1, text.size(), stderr);
  return code;
}

int fail_to_print(const char* reason) {
  return fail(1, fmt::format("standard output: cannot be written: {}", reason));
}

// fmt::print throws one of these, and so do the functions of std::filesystem. A name that can be no
// file's is bad input; a folder that cannot be made is the run's failure.
int failure_of_system(const std::system_error& error) {
  const auto reason = error.code().message();
  if (std::ferror(stdout) != 0) return fail_to_print(reason.c_str());
  const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error);
  if (file == nullptr) return fail(1, fmt::format("the run failed: {}", error.what()));
  const auto place = fmt::format("{}: {}", file->path1().string(), reason);
  const bool bad_name = error.code() == std::errc::too_many_symbolic_link_levels ||
                        error.code() == std::errc::filename_too_long;
  return bad_name ? fail(2, place) : fail(1, "the run failed: " + place);
}

int explained(const std::function<int()>& work) {
  try {
    return work();
  } catch (const InputError& error) {
    return fail(2, error.what());
  } catch (const std::system_error& error) {
    return failure_of_system(error);
  } catch (const std::exception& error) {
    return fail(1, fmt::format("the run failed: {}", error.what()));
  }
}

// What was printed counts when it has arrived: a full disk shows only here.
int flush_output(int code) {
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  return written || code != 0 ? code : fail_to_print(std::strerror(errno));
}

}  // namespace

int explain_failures(const std::function<int()>& work) { return flush_output(explained(work)); }

}  // namespace blockwise
