#include "core/parallel/ranks.hpp"

#include <ATen/ATen.h>
#include <fmt/ranges.h>
// LibTorch has Gloo in it and does not bring its headers: see cmake/debian_packages.txt.
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <future>
#include <thread>
#include <utility>

#include "core/base/error.hpp"
#include "core/memory/device.hpp"
#include "core/parallel/device_backend.hpp"

namespace blockwise {

struct Ranks::Group {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> host, device;
  // Of a device whose rank never answered transfers are still on their way.
  bool is_broken = false;

  ~Group() {
    if (!device) return;
    try {
      is_broken ? device->abort() : device->shutdown();
    } catch (const std::exception&) {  // what the others hear of it they say
    }
  }
  c10d::Backend& of(const at::Tensor& values) const { return values.is_cpu() ? *host : *device; }
};

namespace {

using Work = c10::intrusive_ptr<c10d::Work>;

c10::intrusive_ptr<c10d::Store> meeting_point(const RankPlace& place,
                                              std::chrono::seconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = place.port;
  options.isServer = place.rank == 0 && !place.launcher_serves;
  options.numWorkers = std::size_t(place.size);
  options.waitWorkers = !place.launcher_serves;
  options.timeout = timeout;
  auto store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
  return c10::make_intrusive<c10d::PrefixStore>("blockwise/" + place.attempt, std::move(store));
}

// The network that Gloo is to use: of this name, as PyTorch reads it too, or the one on which this
// machine reaches the meeting point.
std::shared_ptr<gloo::transport::Device> network(const RankPlace& place) {
  if (const char* name = std::getenv("GLOO_SOCKET_IFNAME")) {
    return c10d::ProcessGroupGloo::createDeviceForInterface(name);
  }
  const bool is_here = place.address == "127.0.0.1" || place.address == "localhost";
  return is_here ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                 : c10d::ProcessGroupGloo::createDefaultDevice();
}

// LibTorch's errors end in a trace of the stack.
std::string reason_of(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = of_torch ? of_torch->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

std::string alive_key(std::int64_t rank) { return fmt::format("alive/{}", rank); }

}  // namespace

Shares even_shares(std::int64_t values, std::int64_t ranks) {
  Shares shares;
  for (std::int64_t r = 0; r <= ranks; ++r) shares.push_back(values * r / ranks);
  return shares;
}

Ranks::Ranks() = default;
Ranks::~Ranks() = default;

Ranks::Ranks(const RankPlace& place, std::chrono::seconds timeout, std::string_view device)
    : rank_(place.rank), size_(place.size), device_(resolve_device(device)) {
  if (place.is_alone()) return;
  if (!device_.is_cpu()) {
    take_cuda_device(place.local_rank);
    device_ = resolve_device(device);
  }
  // What is sent to a process that has gone is an error of the transfer, which says who.
  std::signal(SIGPIPE, SIG_IGN);
  group_ = std::make_unique<Group>();
  try {
    group_->store = meeting_point(place, timeout);
    auto options = c10d::ProcessGroupGloo::Options::create(timeout);
    options->devices.push_back(network(place));
    group_->host =
        c10::make_intrusive<c10d::ProcessGroupGloo>(group_->store, int(rank_), int(size_), options);
    if (!device_.is_cpu()) {
      group_->device = make_device_backend(group_->store, rank_, size_, timeout);
    }
  } catch (const InputError&) {
    throw;
  } catch (const std::exception& error) {
    throw std::runtime_error(fmt::format("rank {} of {}: no meeting at {}:{} within {} s: {}",
                                         rank_, size_, place.address, place.port, timeout.count(),
                                         reason_of(error)));
  }
}

namespace {

// A transfer fails in every process that talks to one which has gone, and then in those that talk
// to these. Each that is left says so where all meet; who says nothing is the one. Throws where
// the meeting point has gone.
std::vector<std::int64_t> silent_ranks(c10d::Store& store, std::int64_t rank, std::int64_t size) {
  constexpr std::chrono::seconds kAnswer{2}, kLinger{3};
  store.set(alive_key(rank), std::vector<std::uint8_t>{1});
  std::this_thread::sleep_for(kAnswer);
  std::vector<std::int64_t> silent;
  for (std::int64_t r = 0; r < size; ++r) {
    if (!store.check({alive_key(r)})) silent.push_back(r);
  }
  // With this process the store may go, which others still ask.
  if (rank == 0) std::this_thread::sleep_for(kLinger);
  return silent;
}

}  // namespace

// In a thread that may be left behind: of a network that stalls no answer comes, not even that
// there is none.
void Ranks::fail(const std::string& what) const {
  group_->is_broken = true;
  constexpr std::chrono::seconds kPatience{10};
  std::packaged_task<std::vector<std::int64_t>()> ask(
      [store = group_->store, rank = rank_, size = size_] {
        return silent_ranks(*store, rank, size);
      });
  auto answer = ask.get_future();
  std::thread(std::move(ask)).detach();
  std::vector<std::int64_t> gone;
  try {
    if (answer.wait_for(kPatience) != std::future_status::ready) {
      throw std::runtime_error("no answer");
    }
    gone = answer.get();
  } catch (const std::exception&) {
    throw std::runtime_error(fmt::format(
        "rank {} of {}: rank 0, where all meet, has left, or the network stalls", rank_, size_));
  }
  throw std::runtime_error(
      gone.empty() ? fmt::format("rank {} of {}: the others did not answer: {}", rank_, size_, what)
                   : fmt::format("rank {} of {}: gone, or not answering: rank {}", rank_, size_,
                                 fmt::join(gone, ", ")));
}

namespace {

// Of one process: done before it starts.
class NoTransfer : public Ranks::Transfer {
 public:
  void wait() override {}
};

class WorkTransfer : public Ranks::Transfer {
 public:
  using Failed = std::function<void(const std::string&)>;
  WorkTransfer(std::vector<Work> works, std::vector<at::Tensor> tensors, Failed failed)
      : works_(std::move(works)), tensors_(std::move(tensors)), failed_(std::move(failed)) {}
  // Of what failed, or nobody has waited for, Gloo may still use the memory.
  ~WorkTransfer() override {
    if (!done_) static_cast<void>(new std::vector<at::Tensor>(std::move(tensors_)));
  }

  void wait() override {
    try {
      for (const auto& work : works_) work->wait();
      done_ = true;
    } catch (const std::exception& error) {
      failed_(reason_of(error));
    }
  }

 private:
  std::vector<Work> works_;
  std::vector<at::Tensor> tensors_;
  Failed failed_;
  bool done_ = false;
};

// What Gloo gets: its threads let go of a tensor when they like, and memory is to be freed by the
// thread that took it, whose MemoryMeter counts it. On a device the allocator is to know who uses
// it.
at::Tensor lent(const at::Tensor& values) {
  if (!values.is_cpu()) return values;
  return at::from_blob(values.data_ptr(), values.sizes(), values.options());
}

}  // namespace

std::unique_ptr<Ranks::Transfer> Ranks::start_scatter(const at::Tensor& values,
                                                      const Shares& shares,
                                                      const at::Tensor& received) const {
  const auto own = shares[std::size_t(rank_) + 1] - shares[std::size_t(rank_)];
  check_equal(received.numel(), own * size_, "room for the shares of all ranks");
  std::vector<std::int64_t> sent;
  for (std::size_t r = 0; r + 1 < shares.size(); ++r) sent.push_back(shares[r + 1] - shares[r]);
  return start_exchange(values, sent, received, std::vector(std::size_t(size_), own));
}

std::unique_ptr<Ranks::Transfer> Ranks::start_exchange(const at::Tensor& values,
                                                       const std::vector<std::int64_t>& sent,
                                                       const at::Tensor& received,
                                                       const std::vector<std::int64_t>& got) const {
  if (is_alone()) {
    received.copy_(values);
    return std::make_unique<NoTransfer>();
  }
  auto sizes_in = sent, sizes_out = got;
  auto in = lent(values), out = lent(received);
  const auto failed = [this](const std::string& what) { fail(what); };
  try {
    return std::make_unique<WorkTransfer>(
        std::vector<Work>{group_->of(values).alltoall_base(out, in, sizes_out, sizes_in)},
        std::vector<at::Tensor>{values, received}, failed);
  } catch (const std::exception& error) {
    fail(reason_of(error));
  }
}

std::unique_ptr<Ranks::Transfer> Ranks::start_share(const at::Tensor& values,
                                                    const Shares& shares) const {
  if (is_alone()) return std::make_unique<NoTransfer>();
  std::vector<Work> works;
  std::vector<at::Tensor> tensors;
  try {
    for (std::int64_t r = 0; r < size_; ++r) {
      const auto begin = shares[std::size_t(r)], end = shares[std::size_t(r) + 1];
      if (begin == end) continue;
      tensors.push_back(values.narrow(0, begin, end - begin));
      std::vector<at::Tensor> share{lent(tensors.back())};
      c10d::BroadcastOptions options;
      options.rootRank = r;
      works.push_back(group_->of(values).broadcast(share, options));
    }
  } catch (const std::exception& error) {
    fail(reason_of(error));
  }
  const auto failed = [this](const std::string& what) { fail(what); };
  return std::make_unique<WorkTransfer>(std::move(works), std::move(tensors), failed);
}

void Ranks::sum(const at::Tensor& values) const {
  if (is_alone()) return;
  const at::NoGradGuard no_grad;
  const auto shares = even_shares(values.numel(), size_);
  const auto begin = shares[std::size_t(rank_)], own = shares[std::size_t(rank_) + 1] - begin;
  const auto received = at::empty({size_, own}, values.options());
  start_scatter(values, shares, received.view({-1}))->wait();
  if (own > 0) {
    add_by_tree(received);
    values.narrow(0, begin, own).copy_(received[0]);
  }
  start_share(values, shares)->wait();
  if (!values.is_cpu()) meet();
}

void Ranks::take_first(const at::Tensor& values) const {
  Shares shares(std::size_t(size_) + 1, values.numel());
  shares.front() = 0;
  start_share(values, shares)->wait();
  if (!values.is_cpu()) meet();
}

void Ranks::meet() const {
  if (is_alone() || device_.is_cpu()) return;
  const double here = 1.0;
  gather({&here, 1});
}

std::vector<double> Ranks::gather(std::span<const double> own) const {
  if (is_alone()) return {own.begin(), own.end()};
  const auto count = std::int64_t(own.size());
  std::vector<double> all(std::size_t(count * size_));
  auto values = at::from_blob(all.data(), {count * size_}, at::kDouble);
  std::copy(own.begin(), own.end(), all.begin() + rank_ * count);
  Shares shares;
  for (std::int64_t r = 0; r <= size_; ++r) shares.push_back(r * count);
  start_share(values, shares)->wait();
  return all;
}

std::int64_t Ranks::number_of_first(std::int64_t number) const {
  if (is_alone()) return number;
  const auto value = at::full({1}, number, at::kLong);
  take_first(value);
  return value.item<std::int64_t>();
}

std::string Ranks::text_of_first(const std::string& text) const {
  if (is_alone()) return text;
  const auto length = number_of_first(std::int64_t(text.size()));
  if (length == 0) return "";
  std::string all = is_first() ? text : std::string(std::size_t(length), '\0');
  take_first(at::from_blob(all.data(), {length}, at::kByte));
  return all;
}

void add_by_tree(const at::Tensor& parts) {
  const at::NoGradGuard no_grad;
  const auto count = parts.size(0);
  std::int64_t step = 1;
  for (; step < count; step *= 2) {
    for (std::int64_t i = 0; i + 2 * step <= count; i += 2 * step) parts[i].add_(parts[i + step]);
  }
  // What is left are runs of lengths that are the bits of count, the longest first.
  std::int64_t end = count, last = -1;
  for (std::int64_t bit = 1; bit <= count; bit *= 2) {
    if ((count & bit) == 0) continue;
    const auto begin = end - bit;
    if (last >= 0) parts[begin].add_(parts[last]);
    last = begin;
    end = begin;
  }
}

}  // namespace blockwise
