#include "tests/faults/fault_walk.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "core/io/input_file.hpp"
#include "experiments/commands/command.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/temporary_folder.hpp"

namespace blockwise::testing {
namespace {

namespace fs = std::filesystem;

std::vector<std::int64_t> every(std::int64_t stride, std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> calls;
  for (auto call = first; call <= last; call += stride) calls.push_back(call);
  if (calls.empty() || calls.back() != last) calls.push_back(last);
  return calls;
}

// About a second each.
std::vector<std::int64_t> tried_calls(std::int64_t count, std::int64_t usual) {
  const char* wanted = std::getenv("BLOCKWISE_FAULTS");
  const std::string text = wanted == nullptr ? std::to_string(usual) : wanted;
  const auto dash = text.find('-');
  const auto first = std::max<std::int64_t>(1, std::atoll(text.c_str()));
  if (dash == std::string::npos) return every(std::max<std::int64_t>(1, count / first), 1, count);
  return every(1, std::min(first, count),
               std::min<std::int64_t>(std::atoll(text.c_str() + dash + 1), count));
}

void redirect_output(const std::string& errors) {
  const int null = ::open("/dev/null", O_RDWR);
  const int file = ::open(errors.c_str(), O_WRONLY | O_CREAT, 0666);
  ::dup2(null, STDOUT_FILENO);
  ::dup2(file, STDERR_FILENO);
}

// A number that a child leaves behind.
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

// One line, from the program.
void check_sentence(const std::string& errors) {
  const auto at = errors.rfind("blockwise: ");
  REQUIRE(at != std::string::npos);
  CHECK(std::count(errors.begin() + static_cast<std::ptrdiff_t>(at), errors.end(), '\n') == 1);
}

void check_same(const Contents& found, const Contents& right) {
  CHECK(found.size() == right.size());
  for (const auto& [name, text] : right) {
    INFO(name);
    REQUIRE(found.contains(name));
    // Not printed: some pieces are files.
    if (found.at(name) == text) continue;
    if (text.size() < 4000) CHECK(found.at(name) == text);
    if (text.size() >= 4000) FAIL("another content");
  }
}

}  // namespace

std::function<int()> program_with(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "blockwise");
  return [arguments]() mutable {
    std::vector<char*> words;
    for (auto& argument : arguments) words.push_back(argument.data());
    return run_program(static_cast<int>(words.size()), words.data());
  };
}

struct FaultWalk::End {
  int exit_code = -1;  // -signal where a signal ended it
  std::int64_t calls = 0;
  std::string errors;  // standard error
};

FaultWalk::FaultWalk(FaultyWork work, std::int64_t stop_at)
    : work_(std::move(work)), before_(work_.folder.string() + "-before") {
  if (stop_at > 0) {
    REQUIRE(start(FaultKind::kill, stop_at).exit_code == -SIGKILL);
    fs::copy(work_.folder, before_, fs::copy_options::recursive);
  }
  const auto end = start(FaultKind::none, 0);
  INFO(end.errors);
  REQUIRE(end.exit_code == 0);
  calls_ = end.calls;
  right_ = work_.read();
}

FaultWalk::~FaultWalk() {
  std::error_code ignored;
  fs::remove_all(before_, ignored);
}

FaultWalk::End FaultWalk::start(FaultKind kind, std::int64_t at) const {
  const TemporaryFolder folder;
  const auto errors = (folder / "err").string();
  const SharedNumber calls;
  const pid_t process = ::fork();
  if (process < 0) throw std::runtime_error("fork failed");
  if (process == 0) {
    redirect_output(errors);
    inject_fault(kind, at, work_.folder.string());
    const int code = work_.run();
    *calls = counted_calls();
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(process, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), *calls,
          read_text_file(errors)};
}

void FaultWalk::reset() const {
  fs::remove_all(work_.folder);
  if (fs::exists(before_)) fs::copy(before_, work_.folder, fs::copy_options::recursive);
}

void FaultWalk::check_end(FaultKind kind, const End& end) const {
  INFO(end.errors);
  if (kind == FaultKind::kill) {
    CHECK(end.exit_code == -SIGKILL);
  } else if (kind == FaultKind::torn) {  // 0 after the last write that crosses a page
    CHECK((end.exit_code == -SIGKILL || end.exit_code == 0));
  } else if (end.exit_code == 0) {
    check_same(work_.read(), right_);
  } else {
    CHECK((end.exit_code == 1 || end.exit_code == 2));
    check_sentence(end.errors);
  }
}

void FaultWalk::walk(FaultKind kind, std::int64_t usual) const {
  const auto tried = tried_calls(calls_, usual);
  std::size_t quiet = 0;
  for (const auto call : tried) {
    INFO("call " << call << " of " << calls_);
    reset();
    const auto end = start(kind, call);
    if (end.exit_code == 0) ++quiet;
    check_end(kind, end);
    const auto again = start(FaultKind::none, 0);
    INFO(again.errors);
    REQUIRE(again.exit_code == 0);
    check_same(work_.read(), right_);
  }
  // What fails without a word is removing what is not needed, or closing what was only read.
  CHECK(quiet <= tried.size() / 4);
  WARN(tried.size() << " of " << calls_ << " calls tried, " << quiet << " failed without a word");
}

}  // namespace blockwise::testing
