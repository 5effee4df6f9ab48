// The right to do one piece of work, among processes of any number of machines that share a folder:
// a lease, which its holder renews and which others take over where it no longer does.
//
// The lease is a file claim-N.json in the folder that names its holder (host, process, time). N is
// one more than that of the lease taken over, and a file is only ever made whole and under a new
// name (link(2), atomic on network file systems, too), so of two that take over one wins.
//
// Clocks of different machines are never compared. Who waits takes a lease over once it has itself
// seen the file unchanged for the length that the file states, by its own clock, which has to run
// at the same rate to within a few percent. The holder renews every sixth of the length and may
// count on its lease for two thirds of it after a renewal (lease_keeper.hpp): the last third is for
// what the file system delays. A holder that a machine suspends between two instructions for longer
// than that may still make one write after it lost its lease; nothing short of the file system
// could refuse it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace blockwise {

// Counts while the machine is suspended, too: seconds of CLOCK_BOOTTIME.
double boot_seconds();

struct LeaseHolder {
  std::string host;
  std::int64_t process = 0;
  std::string boot;   // of the machine's kernel: the same number on another boot is another process
  std::string since;  // UTC

  // "host (process 123) since 2026-01-01T00:00:00Z"
  std::string text() const;
};

// What one process has seen of a lease that another one holds.
struct LeaseWatch {
  std::optional<std::string> seen;  // the file, as it was when it was looked at last
  double unchanged = 0.0;           // boot_seconds() since when it is so
  bool was_renewed = false;         // while this looked: the holder lives
};

// What is known of holders on this machine.
enum class LocalHolders {
  unknown,  // they count as those of other machines do
  gone      // none lives: the caller has a lock that each of them would still hold
};

class Lease {
 public:
  static constexpr std::chrono::seconds kLength{120};
  // Shorter ones would expire in the pauses that busy network file systems make.
  static constexpr std::int64_t kShortest = 3, kLongest = 86'400;

  // Nothing while another process has it, which `watch` remembers for the next try. Throws
  // std::runtime_error "FILE: cannot be written: REASON", std::filesystem::filesystem_error.
  static std::optional<Lease> take(const std::filesystem::path& folder, LeaseWatch& watch,
                                   LocalHolders local, std::chrono::seconds length = kLength);
  // What another process of this machine has taken for this one: as if this were it. Nothing where
  // that has lost it.
  static std::optional<Lease> taken_by(std::int64_t process, const std::filesystem::path& file);
  // Who holds the folder's lease at this moment, for messages.
  static std::optional<LeaseHolder> holder(const std::filesystem::path& folder);

  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  // Gives it back where this took it and still has it.
  ~Lease();

  enum class Renewal {
    done,
    failed,  // for now: the file system did not answer as it should
    lost     // another process has it, or the folder was deleted
  };
  Renewal renew();

  const std::filesystem::path& file() const { return file_; }
  std::chrono::seconds length() const { return length_; }

 private:
  Lease() = default;
  std::string text() const;
  bool is_ours() const;

  std::filesystem::path file_;
  std::int64_t number_ = 0;  // of the file's name
  std::string identity_;     // what the file begins with
  std::chrono::seconds length_{0};
  std::int64_t renewals_ = 0;
  bool gives_back_ = false;  // not where it was moved from, nor where the parent does
};

}  // namespace blockwise
