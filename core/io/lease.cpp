#include "core/io/lease.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/base/error.hpp"
#include "core/text/printable_text.hpp"

namespace blockwise {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::string_view kNameBegin = "claim-";
constexpr std::string_view kNameEnd = ".json";
constexpr std::string_view kPartial = ".partial";
// Between what stays and the number of renewals.
constexpr std::string_view kAfterIdentity = ",\"renewals\":";
constexpr std::size_t kLargestClaim = 4096;

[[noreturn]] void fail_to_claim(const fs::path& file, int error) {
  throw std::runtime_error(
      fmt::format("{}: cannot be written: {}", file.string(), std::strerror(error)));
}

// Closes itself; -1 where it could not be opened.
struct Descriptor {
  int number;
  explicit Descriptor(int opened) : number(opened) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

fs::path claim_file(const fs::path& folder, std::int64_t number) {
  return folder / fmt::format("{}{}{}", kNameBegin, number, kNameEnd);
}

// Of claim-N.json; 0 for another name.
std::int64_t claim_number(const std::string& name) {
  std::int64_t number = 0;
  if (!name.starts_with(kNameBegin) || !name.ends_with(kNameEnd)) return 0;
  const auto* begin = name.data() + kNameBegin.size();
  const auto* end = name.data() + name.size() - kNameEnd.size();
  const auto [rest, error] = std::from_chars(begin, end, number);
  return error == std::errc() && rest == end && number > 0 ? number : 0;
}

std::int64_t newest_claim(const fs::path& folder) {
  std::int64_t newest = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    newest = std::max(newest, claim_number(entry.path().filename().string()));
  }
  return newest;
}

// With what processes left that were killed while they made one; who is just making one is told so
// by link(2), and looks again.
void remove_older_claims(const fs::path& folder, std::int64_t than) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    const auto number = claim_number(name);
    const bool is_part = name.starts_with("claim-") && name.ends_with(kPartial);
    if (is_part || (number > 0 && number < than)) ::unlink(entry.path().c_str());
  }
}

// Opened anew for every look: that is when a network file system asks its server. Nothing where
// there is no such file.
std::optional<std::string> claim_text(const fs::path& file) {
  const Descriptor open(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (open.number < 0) return std::nullopt;
  std::string text(kLargestClaim, '\0');
  const auto count = ::read(open.number, text.data(), text.size());
  text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return text;
}

std::string boot_of_machine() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  file >> boot;
  return boot;
}

// The number of a process tells it from others of its machine, the nanoseconds from earlier ones.
std::string new_identity(std::chrono::seconds length) {
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const Json json = {
      {"boot", boot_of_machine()},
      {"host", host},
      {"lease_seconds", length.count()},
      {"process", ::getpid()},
      {"since", fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z", fmt::gmtime(now.tv_sec), now.tv_nsec)}};
  auto text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.pop_back();
  return text;
}

struct Claim {
  LeaseHolder holder;
  std::int64_t seconds = Lease::kLength.count();
};

// A claim that cannot be read is one that is being written, or damaged: somebody's all the same.
Claim read_claim(const std::string& text) {
  Claim claim;
  const auto json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return claim;
  const auto word = [&](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : "";
  };
  const auto number = [&](const char* key, std::int64_t otherwise) {
    const auto found = json.find(key);
    const bool is_there = found != json.end() && found->is_number_integer();
    return is_there ? found->get<std::int64_t>() : otherwise;
  };
  claim.holder = {word("host"), number("process", 0), word("boot"), word("since")};
  const auto seconds = number("lease_seconds", claim.seconds);
  claim.seconds = std::clamp(seconds, Lease::kShortest, Lease::kLongest);
  return claim;
}

// Whether nobody holds the claim any more that says this.
bool has_expired(const std::string& text, LeaseWatch& watch, LocalHolders local) {
  const auto now = boot_seconds();
  const auto claim = read_claim(text);
  if (watch.seen != text) {
    watch.was_renewed = watch.was_renewed || watch.seen;
    watch.seen = text;
    watch.unchanged = now;
  }
  const bool is_local = !claim.holder.boot.empty() && claim.holder.boot == boot_of_machine();
  if (is_local && local == LocalHolders::gone) return true;
  return now - watch.unchanged >= static_cast<double>(claim.seconds);
}

bool write_whole(int descriptor, const std::string& text) {
  const auto count = ::pwrite(descriptor, text.data(), text.size(), 0);
  return count == static_cast<ssize_t>(text.size()) && ::fsync(descriptor) == 0;
}

void write_new(const fs::path& file, const std::string& text) {
  const Descriptor open(
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (open.number < 0) fail_to_claim(file, errno);
  if (write_whole(open.number, text)) return;
  const int error = errno;
  ::unlink(file.c_str());
  fail_to_claim(file, error);
}

std::size_t links_of(const fs::path& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 ? status.st_nlink : 0;
}

// A name that no other process thinks of.
fs::path part_of(const fs::path& file) {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof(number), 0) != sizeof(number)) fail_to_claim(file, errno);
  auto part = file;
  part += fmt::format(".{:016x}{}", number, kPartial);
  return part;
}

// Whole or not at all. False where somebody was faster.
bool make_claim(const fs::path& file, const std::string& text) {
  const auto part = part_of(file);
  write_new(part, text);
  const bool linked = ::link(part.c_str(), file.c_str()) == 0;
  const int error = errno;
  // The answer of a network file system may have got lost on the way.
  const bool made = linked || links_of(part) == 2;
  ::unlink(part.c_str());
  if (!made && error != EEXIST && error != ENOENT) fail_to_claim(file, error);
  return made;
}

}  // namespace

double boot_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::string LeaseHolder::text() const {
  return fmt::format("{} (process {}) since {}", printable(host), process, printable(since));
}

// ---- taking it ---------------------------------------------------------------------------------

std::optional<Lease> Lease::take(const fs::path& folder, LeaseWatch& watch, LocalHolders local,
                                 std::chrono::seconds length) {
  const auto before = newest_claim(folder);
  const auto expired = before > 0 ? claim_text(claim_file(folder, before)) : std::nullopt;
  if (before > 0 && !expired) return std::nullopt;  // given back at this moment: the next look
  if (expired && !has_expired(*expired, watch, local)) return std::nullopt;
  Lease lease;
  lease.number_ = before + 1;
  lease.file_ = claim_file(folder, lease.number_);
  lease.identity_ = new_identity(length);
  lease.length_ = length;
  if (!make_claim(lease.file_, lease.text())) return std::nullopt;
  lease.gives_back_ = true;
  // A slow one may have looked at what others have taken over, and given back, in the meantime.
  const bool is_newest = newest_claim(folder) == lease.number_;
  if (!is_newest || (expired && claim_text(claim_file(folder, before)) != expired)) {
    return std::nullopt;
  }
  remove_older_claims(folder, lease.number_);
  watch = {};
  return lease;
}

std::optional<Lease> Lease::taken_by(std::int64_t process, const fs::path& file) {
  const auto text = claim_text(file);
  if (!text) return std::nullopt;
  const auto claim = read_claim(*text);
  const auto& holder = claim.holder;
  if (holder.process != process || holder.boot != boot_of_machine()) return std::nullopt;
  Lease lease;
  lease.file_ = file;
  lease.number_ = claim_number(file.filename().string());
  lease.identity_ = text->substr(0, text->find(kAfterIdentity));
  lease.length_ = std::chrono::seconds(claim.seconds);
  return lease;
}

std::optional<LeaseHolder> Lease::holder(const fs::path& folder) {
  std::error_code none;
  if (!fs::is_directory(folder, none)) return std::nullopt;
  const auto number = newest_claim(folder);
  const auto text = number > 0 ? claim_text(claim_file(folder, number)) : std::nullopt;
  if (!text) return std::nullopt;
  return read_claim(*text).holder;
}

Lease::Lease(Lease&& other) noexcept
    : file_(std::move(other.file_)),
      number_(other.number_),
      identity_(std::move(other.identity_)),
      length_(other.length_),
      renewals_(other.renewals_),
      gives_back_(std::exchange(other.gives_back_, false)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(number_, other.number_);
  std::swap(identity_, other.identity_);
  std::swap(length_, other.length_);
  std::swap(renewals_, other.renewals_);
  std::swap(gives_back_, other.gives_back_);
  return *this;
}

Lease::~Lease() {
  if (gives_back_ && is_ours()) ::unlink(file_.c_str());
}

// ---- keeping it --------------------------------------------------------------------------------

// As long after every renewal as before, so that it is written over in one go.
std::string Lease::text() const {
  return fmt::format("{}{}{:>12}}}\n", identity_, kAfterIdentity, renewals_);
}

bool Lease::is_ours() const {
  const auto text = claim_text(file_);
  return text && text->starts_with(identity_);
}

Lease::Renewal Lease::renew() {
  const Descriptor open(::open(file_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  const bool is_gone = open.number < 0 && (errno == ENOENT || errno == ESTALE || errno == ENOTDIR);
  if (is_gone) return Renewal::lost;
  if (open.number < 0) return Renewal::failed;
  const auto text = claim_text(file_);
  if (!text) return Renewal::failed;
  if (!text->starts_with(identity_)) return Renewal::lost;
  struct stat next {};
  const auto successor = claim_file(file_.parent_path(), number_ + 1);
  if (::stat(successor.c_str(), &next) == 0) return Renewal::lost;
  ++renewals_;
  return write_whole(open.number, this->text()) ? Renewal::done : Renewal::failed;
}

}  // namespace blockwise
