#include "tests/faults/faulty_run.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "core/io/input_file.hpp"
#include "experiments/commands/command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace blockwise::testing {
namespace {

// About a second each.
std::int64_t number_tried() {
  const char* wanted = std::getenv("BLOCKWISE_FAULTS");
  return wanted == nullptr ? 8 : std::max<std::int64_t>(1, std::atoll(wanted));
}

void redirect_output(const std::string& errors) {
  const int null = ::open("/dev/null", O_RDWR);
  const int file = ::open(errors.c_str(), O_WRONLY | O_CREAT, 0666);
  ::dup2(null, STDOUT_FILENO);
  ::dup2(file, STDERR_FILENO);
}

// A number that the child leaves behind.
class SharedNumber {
 public:
  SharedNumber()
      : value_(
            static_cast<std::int64_t*>(::mmap(nullptr, sizeof(std::int64_t), PROT_READ | PROT_WRITE,
                                              MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~SharedNumber() { ::munmap(value_, sizeof(std::int64_t)); }
  SharedNumber(const SharedNumber&) = delete;
  SharedNumber& operator=(const SharedNumber&) = delete;
  std::int64_t& operator*() const { return *value_; }

 private:
  std::int64_t* value_;
};

}  // namespace

FaultyResult run_with_fault(FaultKind kind, std::int64_t at, const std::filesystem::path& under,
                            const std::function<int()>& work) {
  const TemporaryFolder folder;
  const auto errors = (folder / "err").string();
  const SharedNumber calls;
  const pid_t process = ::fork();
  if (process < 0) throw std::runtime_error("fork failed");
  if (process == 0) {
    redirect_output(errors);
    inject_fault(kind, at, under.string());
    const int code = work();
    *calls = counted_calls();
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(process, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), *calls,
          read_text_file(errors)};
}

std::function<int()> program_with(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "blockwise");
  return [arguments]() mutable {
    std::vector<char*> words;
    for (auto& argument : arguments) words.push_back(argument.data());
    return run_program(static_cast<int>(words.size()), words.data());
  };
}

std::vector<std::int64_t> tried_calls(std::int64_t count) {
  const auto stride = std::max<std::int64_t>(1, count / number_tried());
  std::vector<std::int64_t> calls;
  for (std::int64_t call = 1; call <= count; call += stride) calls.push_back(call);
  if (calls.back() != count) calls.push_back(count);
  return calls;
}

}  // namespace blockwise::testing
