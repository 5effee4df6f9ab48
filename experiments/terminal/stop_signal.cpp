#include "experiments/terminal/stop_signal.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

namespace blockwise {
namespace {

struct StopSignal {
  int number;
  const char* name;
  bool again_quits;  // a person's signals, not those that are repeated by themselves
};

constexpr std::array<StopSignal, 6> kSignals = {{{SIGINT, "SIGINT", true},
                                                 {SIGTERM, "SIGTERM", true},
                                                 {SIGHUP, "SIGHUP", false},
                                                 {SIGUSR1, "SIGUSR1", false},
                                                 {SIGUSR2, "SIGUSR2", false},
                                                 {SIGXCPU, "SIGXCPU", false}}};

struct Message {
  char text[160];
  std::size_t size;
};

// A signal handler can reach nothing but variables like these. The messages are written before the
// handlers are installed and only read afterwards.
volatile std::sig_atomic_t stop_flag = 0;
std::array<Message, kSignals.size()> messages;

// Calls nothing but write(2), which a handler may.
void request_stop(int number) {
  const int error = errno;
  const bool first = stop_flag == 0;
  if (first) stop_flag = number;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    if (kSignals[i].number != number || (!first && !kSignals[i].again_quits)) continue;
    if (::write(STDERR_FILENO, messages[i].text, messages[i].size) < 0) continue;
  }
  errno = error;
}

// Behind a progress line that is being rewritten there is no line's end yet.
Message message_of(const StopSignal& signal, const std::string& unit, bool terminal) {
  const auto text = fmt::format("{}blockwise: {}: stopping after this {}{}\n", terminal ? "\n" : "",
                                signal.name, unit, signal.again_quits ? "; again to quit" : "");
  Message message{};
  message.size = std::min(text.size(), sizeof(message.text));
  std::copy_n(text.begin(), message.size, message.text);
  return message;
}

void install(const StopSignal& signal) {
  struct sigaction before {};
  sigaction(signal.number, nullptr, &before);
  if (signal.number == SIGHUP && before.sa_handler == SIG_IGN) return;
  struct sigaction action {};
  action.sa_handler = request_stop;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  if (signal.again_quits) action.sa_flags |= SA_RESETHAND;  // the second takes the default way
  sigaction(signal.number, &action, nullptr);
}

}  // namespace

void install_stop_handlers(const std::string& unit) {
  const bool terminal = ::isatty(STDERR_FILENO) == 1;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    messages[i] = message_of(kSignals[i], unit, terminal);
  }
  for (const auto& signal : kSignals) install(signal);
}

bool stop_requested() { return stop_flag != 0; }

std::string stop_signal_name() {
  const auto found = std::ranges::find(kSignals, int{stop_flag}, &StopSignal::number);
  return found == kSignals.end() ? "a signal" : found->name;
}

void forget_stop() { stop_flag = 0; }

}  // namespace blockwise
