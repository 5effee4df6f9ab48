// Processes that meet on this machine, for tests of ranks.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/parallel/ranks.hpp"
#include "tests/support/child_process.hpp"

namespace blockwise::testing {

// A port of this machine that nobody uses at the moment.
inline std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  if (::bind(socket, plain, size) != 0 || ::getsockname(socket, plain, &size) != 0) {
    throw std::runtime_error("no free port");
  }
  ::close(socket);
  return ntohs(address.sin_port);
}

// What each of `size` forked processes says after work(ranks, say).
template <typename Work>
std::vector<ChildResult> on_ranks(std::int64_t size, Work work) {
  const auto port = free_port();
  std::vector<std::unique_ptr<ChildProcess>> processes;
  for (std::int64_t rank = 0; rank < size; ++rank) {
    processes.push_back(std::make_unique<ChildProcess>([&, rank](const auto& say) {
      RankPlace place;
      place.rank = rank;
      place.size = size;
      place.address = "127.0.0.1";
      place.port = port;
      const Ranks ranks(place, std::chrono::seconds(60));
      work(ranks, say);
    }));
  }
  std::vector<ChildResult> results;
  for (auto& process : processes) results.push_back(process->wait());
  return results;
}

}  // namespace blockwise::testing
