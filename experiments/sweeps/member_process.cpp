#include "experiments/sweeps/member_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/io/folder_lock.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;

int open_log(const fs::path& log) {
  fs::create_directories(log.parent_path());
  const int file = ::open(log.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file >= 0) return file;
  throw std::runtime_error(fmt::format("{}: {}", log.string(), std::strerror(errno)));
}

// Somebody may have deleted the folder between the opening of its log and the lock.
bool is_still_at(int file, const fs::path& path) {
  struct stat opened {
  }, named{};
  return ::fstat(file, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

std::vector<std::string> words_of(const SweepManifest& sweep, const SweepMember& member,
                                  std::int64_t threads, const fs::path& lease) {
  return {"train",
          (sweep.folder / member.config).string(),
          "--threads",
          fmt::format("{}", threads),
          "--progress-lines",
          "--claim",
          lease.string(),
          "--claim-holder",
          fmt::format("{}", ::getpid())};
}

}  // namespace

fs::path log_file(const SweepManifest& sweep, const SweepMember& member) {
  return sweep.folder / fs::path(member.config).parent_path() / "log.txt";
}

// ---- the claim ---------------------------------------------------------------------------------

MemberClaim::MemberClaim(int log) : log_(log), begin_(::lseek(log, 0, SEEK_END)) {}

std::optional<MemberClaim> MemberClaim::take(const fs::path& log, LeaseWatch& watch,
                                             std::chrono::seconds length) {
  for (;;) {
    MemberClaim claim(open_log(log));
    const bool locked = ::flock(claim.log_, LOCK_EX | LOCK_NB) == 0;
    const bool is_taken = !locked && errno == EWOULDBLOCK;
    if (!is_taken && !is_still_at(claim.log_, log)) continue;
    const auto folder = log.parent_path();
    // Its own lock goes with a member. The folder's may be that of a report, for a moment.
    if (is_taken) watch.was_renewed = true;
    if (is_taken || FolderLock::is_taken(folder)) return std::nullopt;
    // Some network file systems have no such locks.
    const auto local = locked ? LocalHolders::gone : LocalHolders::unknown;
    claim.lease_ = Lease::take(folder, watch, local, length);
    if (!claim.lease_) return std::nullopt;
    return claim;
  }
}

MemberClaim::MemberClaim(MemberClaim&& other) noexcept
    : log_(std::exchange(other.log_, -1)), begin_(other.begin_), lease_(std::move(other.lease_)) {}

MemberClaim& MemberClaim::operator=(MemberClaim&& other) noexcept {
  std::swap(log_, other.log_);
  std::swap(begin_, other.begin_);
  std::swap(lease_, other.lease_);
  return *this;
}

MemberClaim::~MemberClaim() {
  if (log_ >= 0) ::close(log_);
}

std::string MemberClaim::last_line() const {
  constexpr off_t kTail = 1 << 16;
  const auto end = ::lseek(log_, 0, SEEK_END);
  const auto begin = std::max(begin_, end - kTail);
  if (begin >= end) return "";
  std::string text(static_cast<std::size_t>(end - begin), '\0');
  const auto count = ::pread(log_, text.data(), text.size(), begin);
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  text.resize(text.find_last_not_of(" \r\n") + 1);
  text.erase(0, text.find_last_of('\n') + 1);
  constexpr std::string_view kProgram = "blockwise: ";
  return text.starts_with(kProgram) ? text.substr(kProgram.size()) : text;
}

// ---- the process -------------------------------------------------------------------------------

MemberProcess::MemberProcess(MemberClaim claim, const SweepManifest& sweep,
                             const SweepMember& member, MemberStarter& starter,
                             std::int64_t threads)
    : claim_(std::move(claim)), member_(&member), starter_(&starter) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::strerror(errno));
  pipe_ = ends[0];
  try {
    process_ =
        starter.start(words_of(sweep, member, threads, claim_.lease_file()), ends[1], claim_.log());
  } catch (...) {
    ::close(ends[0]);
    ::close(ends[1]);
    throw;
  }
  ::close(ends[1]);
}

MemberProcess::MemberProcess(MemberProcess&& other) noexcept
    : claim_(std::move(other.claim_)),
      member_(other.member_),
      starter_(other.starter_),
      process_(other.process_),
      pipe_(std::exchange(other.pipe_, -1)),
      unread_(std::move(other.unread_)),
      step_(other.step_),
      loss_(other.loss_),
      tokens_per_second_(other.tokens_per_second_) {}

MemberProcess& MemberProcess::operator=(MemberProcess&& other) noexcept {
  std::swap(claim_, other.claim_);
  std::swap(member_, other.member_);
  std::swap(starter_, other.starter_);
  std::swap(process_, other.process_);
  std::swap(pipe_, other.pipe_);
  std::swap(unread_, other.unread_);
  std::swap(step_, other.step_);
  std::swap(loss_, other.loss_);
  std::swap(tokens_per_second_, other.tokens_per_second_);
  return *this;
}

MemberProcess::~MemberProcess() {
  if (pipe_ >= 0) ::close(pipe_);
}

void MemberProcess::signal(int number) const { ::kill(process_, number); }

int MemberProcess::wait() const { return starter_->wait(process_); }

void MemberProcess::parse_line(const std::string& line) {
  long long step = 0;
  double loss = 0.0, rate = 0.0;
  if (std::sscanf(line.c_str(), "progress %lld %lf %lf", &step, &loss, &rate) != 3) return;
  step_ = step;
  loss_ = loss;
  tokens_per_second_ = rate;
}

bool MemberProcess::read_progress() {
  char buffer[4096];
  const auto count = ::read(pipe_, buffer, sizeof(buffer));
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  if (count == 0) return false;
  unread_.append(buffer, static_cast<std::size_t>(count));
  for (auto end = unread_.find('\n'); end != std::string::npos; end = unread_.find('\n')) {
    parse_line(unread_.substr(0, end));
    unread_.erase(0, end + 1);
  }
  return true;
}

}  // namespace blockwise
