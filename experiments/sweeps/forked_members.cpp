#include "experiments/sweeps/forked_members.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <system_error>

#include "core/io/wait_for_process.hpp"
#include "experiments/records/exit_code.hpp"

namespace blockwise {
namespace {

// ---- messages ----------------------------------------------------------------------------------

// A request is one packet: a process to wait for, or, with no process, the words of a new one, a
// zero byte behind each, and its two descriptors beside them.
struct Request {
  pid_t process = 0;
  std::vector<std::string> words;
  std::array<int, 2> files = {-1, -1};  // standard output, standard error
};
// The process that was started, or the status of the one that ended.
struct Reply {
  int value = 0;
  int error = 0;  // as errno says it
};

constexpr std::size_t kMostBytes = 1 << 16;

// Room for two descriptors beside a packet.
union Attachment {
  char bytes[CMSG_SPACE(sizeof(Request::files))];
  cmsghdr aligned;
};

std::string packed(const Request& request) {
  std::string text(reinterpret_cast<const char*>(&request.process), sizeof(request.process));
  for (const auto& word : request.words) text.append(word.c_str(), word.size() + 1);
  return text;
}

std::vector<std::string> unpacked_words(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    words.emplace_back(text.substr(0, text.find('\0')));
    text.remove_prefix(words.back().size() + 1);
  }
  return words;
}

bool send_request(int socket, const Request& request) {
  auto text = packed(request);
  iovec part{text.data(), text.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Attachment attachment{};
  if (!request.words.empty()) {
    message.msg_control = attachment.bytes;
    message.msg_controllen = sizeof(attachment.bytes);
    auto* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(request.files));
    std::memcpy(CMSG_DATA(header), request.files.data(), sizeof(request.files));
  }
  ssize_t sent = -1;
  do sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(text.size());
}

// Nothing at the end of the socket.
std::optional<Request> receive_request(int socket) {
  std::string text(kMostBytes, '\0');
  iovec part{text.data(), text.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Attachment attachment{};
  message.msg_control = attachment.bytes;
  message.msg_controllen = sizeof(attachment.bytes);
  const auto count = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  Request request;
  if (count < static_cast<ssize_t>(sizeof(request.process))) return std::nullopt;
  std::memcpy(&request.process, text.data(), sizeof(request.process));
  text.resize(static_cast<std::size_t>(count));
  request.words = unpacked_words(std::string_view(text).substr(sizeof(request.process)));
  const auto* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr) {
    std::memcpy(request.files.data(), CMSG_DATA(header), sizeof(request.files));
  }
  return request;
}

std::optional<Reply> receive_reply(int socket) {
  Reply reply;
  ssize_t count = -1;
  do count = ::recv(socket, &reply, sizeof(reply), 0);
  while (count < 0 && errno == EINTR);
  return count == sizeof(reply) ? std::optional(reply) : std::nullopt;
}

// ---- the second process ------------------------------------------------------------------------

class Server {
 public:
  // signals: those that members have blocked.
  Server(int socket, const MemberProgram& program, const sigset_t& signals)
      : socket_(socket), program_(program), signals_(signals) {}

  [[noreturn]] void run() const {
    while (const auto request = receive_request(socket_)) {
      const auto reply =
          request->process > 0 ? Reply{wait_for(request->process), 0} : fork_member(*request);
      for (const int file : request->files) {
        if (file >= 0) ::close(file);
      }
      if (::send(socket_, &reply, sizeof(reply), MSG_NOSIGNAL) < 0) break;
    }
    // What the process that it is a copy of wants to do at its end is not this one's to do.
    ::_exit(0);
  }

 private:
  Reply fork_member(const Request& request) const {
    const pid_t process = ::fork();
    if (process == 0) be_member(request);
    return process < 0 ? Reply{0, errno} : Reply{process, 0};
  }

  // As after exec: with the descriptors and the signals of a new process.
  [[noreturn]] void be_member(const Request& request) const {
    ::close(socket_);
    ::dup2(request.files[0], STDOUT_FILENO);
    ::dup2(request.files[1], STDERR_FILENO);
    for (const int file : request.files) ::close(file);
    ::sigprocmask(SIG_SETMASK, &signals_, nullptr);
    std::exit(program_(request.words));
  }

  int socket_;
  const MemberProgram& program_;
  const sigset_t& signals_;
};

}  // namespace

bool has_one_thread() {
  std::error_code unknown;
  const std::filesystem::directory_iterator threads("/proc/self/task", unknown);
  return !unknown && std::distance(begin(threads), end(threads)) == 1;
}

ForkedMembers::ForkedMembers(const MemberProgram& program) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::runtime_error(fmt::format("no socket could be made: {}", std::strerror(errno)));
  }
  std::fflush(nullptr);  // or what is not written yet would be written twice
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  server_ = ::fork();
  if (server_ == 0) {
    ::close(ends[0]);
    Server(ends[1], program, before).run();
  }
  const int error = errno;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::close(ends[1]);
  socket_ = ends[0];
  if (server_ > 0) return;
  ::close(socket_);
  throw std::runtime_error(fmt::format("no process could be made: {}", std::strerror(error)));
}

ForkedMembers::~ForkedMembers() {
  ::close(socket_);
  wait_for(server_);
}

pid_t ForkedMembers::start(const std::vector<std::string>& words, int output, int log) {
  Request request{0, words, {output, log}};
  if (packed(request).size() > kMostBytes) {
    throw std::runtime_error("a member cannot be started: its command line is too long");
  }
  const auto reply = send_request(socket_, request) ? receive_reply(socket_) : std::nullopt;
  if (!reply) {
    throw std::runtime_error("a member cannot be started: the process that starts them has ended");
  }
  if (reply->error == 0) return reply->value;
  throw std::runtime_error(
      fmt::format("a member cannot be started: {}", std::strerror(reply->error)));
}

int ForkedMembers::wait(pid_t process) {
  const auto reply =
      send_request(socket_, Request{process, {}, {-1, -1}}) ? receive_reply(socket_) : std::nullopt;
  return reply ? reply->value : W_EXITCODE(kExitFailed, 0);
}

}  // namespace blockwise
