#include "core/io/trial_process.hpp"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>

#include "core/base/error.hpp"
#include "tests/support/catch.hpp"

using namespace blockwise;
using namespace blockwise::testing;
using Kind = TrialResult::Kind;

TEST_CASE("Trial: what the work ends with is told") {
  CHECK(run_trial([] {}).kind == Kind::done);
  const auto refused = run_trial([] { throw InputError("a.h5: damaged"); });
  CHECK((refused.kind == Kind::input_error && refused.text == "a.h5: damaged"));
  const auto failed = run_trial([] { throw std::runtime_error("disk full"); });
  CHECK((failed.kind == Kind::error && failed.text == "disk full"));
}

TEST_CASE("Trial: a death is told and is not ours") {
  const auto aborted = run_trial([] { std::abort(); });
  CHECK(aborted.kind == Kind::died);
  CHECK_THAT(aborted.text, Contains("signal 6 ("));
  const auto crashed = run_trial([] { ::raise(SIGSEGV); });
  CHECK(crashed.kind == Kind::died);
  CHECK_THAT(crashed.text, Contains("signal 11 ("));
  const auto silent = run_trial([] { ::_exit(0); });
  CHECK((silent.kind == Kind::died && silent.text == "no answer"));
}

TEST_CASE("Trial: work without an end is ended") {
  const TrialLimits short_limits{1, 1};
  const auto waiting = run_trial([] { ::pause(); }, short_limits);
  CHECK((waiting.kind == Kind::died && waiting.text == "no end in sight"));
  const auto computing = run_trial(
      [] {
        for (std::atomic<int> i = 0;; ++i) {
        }
      },
      {1, 60});
  CHECK((computing.kind == Kind::died && computing.text == "no end in sight"));
}

TEST_CASE("Trial: what the work changes in memory stays there") {
  int value = 1;
  CHECK(run_trial([&] { value = 2; }).kind == Kind::done);
  CHECK(value == 1);
}

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("Trial: memory that was never set is not zero") {
  const auto result = run_trial([] {
    const std::unique_ptr<volatile unsigned char[]> fresh(new volatile unsigned char[5000]);
    if (fresh[2000] == 0) throw InputError("zero");
  });
  CHECK(result.kind == Kind::done);
}
#endif
