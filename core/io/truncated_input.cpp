#include "core/io/truncated_input.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <mutex>
#include <string>

namespace blockwise {

// Slots are made once and used again, never freed: the handler may be reading the list at any
// moment, and can take no lock.
struct InputRange::Slot {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};  // 0: free
  std::string message;                 // ready to be written; changed while the slot is free
  Slot* next = nullptr;
};

namespace {

// A signal handler has no arguments of its own: what it reads must have a fixed place.
constinit std::atomic<InputRange::Slot*> first_slot{nullptr};
constinit std::mutex slots_are_taken;
struct sigaction action_before {};

constexpr int kBadInput = 2;

const InputRange::Slot* slot_of(std::uintptr_t address) {
  for (const auto* slot = first_slot.load(); slot != nullptr; slot = slot->next) {
    if (address >= slot->begin.load() && address < slot->end.load()) return slot;
  }
  return nullptr;
}

// Async-signal-safe: atomic loads, write, _exit, sigaction and raise.
void on_bus_error(int, siginfo_t* info, void*) {
  const bool sent = info->si_code <= 0;  // by kill(); there is no address
  const auto* slot = sent ? nullptr : slot_of(reinterpret_cast<std::uintptr_t>(info->si_addr));
  if (slot != nullptr) {
    const auto written = ::write(STDERR_FILENO, slot->message.data(), slot->message.size());
    static_cast<void>(written);
    ::_exit(kBadInput);
  }
  // The instruction runs again and does what it did before; a sent signal is sent again.
  ::sigaction(SIGBUS, &action_before, nullptr);
  if (sent) ::raise(SIGBUS);
}

InputRange::Slot* take_slot() {
  for (auto* slot = first_slot.load(); slot != nullptr; slot = slot->next) {
    if (slot->end.load() == 0) return slot;
  }
  auto* slot = new InputRange::Slot;
  slot->next = first_slot.load();
  first_slot.store(slot);
  return slot;
}

}  // namespace

InputRange::InputRange(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const std::scoped_lock lock(slots_are_taken);
  slot_ = take_slot();
  slot_->message = fmt::format("blockwise: {}: became shorter while it was read\n", path.string());
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  slot_->begin.store(begin);
  slot_->end.store(begin + bytes.size());
}

InputRange::~InputRange() {
  const std::scoped_lock lock(slots_are_taken);
  slot_->end.store(0);
}

void end_on_truncated_input() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &action_before);
}

}  // namespace blockwise
