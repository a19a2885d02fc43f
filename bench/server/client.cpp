// Clients of a server that cost next to nothing: they stand for those of other machines, and what they take of this one would be counted as
// the server's. Connections stay open; the milliseconds are CLOCK_MONOTONIC's. Commands are lines of stdin, answers lines of stdout, fields
// are separated by tabs:
//   first PORT BODY    one request to its end             -> when it was sent, when its first text was read, its status
//   body BODY          what clients ask for
//   begun BODY         a client, and what it asks for first
//   loop PORT          they ask again and again           -> started
//   stop               they are cut off                   -> how many had no good answer
//   drop               connections of `first` are closed  -> dropped
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

double now_ms() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

std::string request_of(const std::string& body) {
  return "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

// One connection, one request at a time.
class Client {
 public:
  explicit Client(int port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      std::perror("connect");
      std::exit(1);
    }
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(socket_); }

  int socket() const { return socket_; }
  double asked_ms() const { return asked_ms_; }
  double read_ms() const { return read_ms_; }
  std::string status() const { return head_.size() < 12 ? "none" : head_.substr(9, 3); }
  bool answered() const { return ended_ && status() == "200" && tail_.find("[DONE]") != std::string::npos; }

  void ask(const std::string& request) {
    head_.clear();
    tail_.clear();
    read_ms_ = 0;
    ended_ = false;
    asked_ms_ = now_ms();
    std::size_t sent = 0;
    while (sent < request.size()) {
      const ssize_t bytes = send(socket_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (bytes <= 0) return;
      sent += static_cast<std::size_t>(bytes);
    }
  }

  // What is there, or comes next. False: the answer is at its end, or cut off.
  bool take() {
    char bytes[1 << 16];
    const ssize_t count = recv(socket_, bytes, sizeof bytes, 0);
    const double at_ms = now_ms();
    if (count <= 0) return false;
    if (head_.size() < 12) head_.append(bytes, static_cast<std::size_t>(count));
    tail_.append(bytes, static_cast<std::size_t>(count));
    if (read_ms_ == 0 && tail_.find("\"text\":\"") != std::string::npos) read_ms_ = at_ms;
    ended_ = tail_.ends_with("\r\n0\r\n\r\n");
    if (tail_.size() > kept_bytes) tail_.erase(0, tail_.size() - kept_bytes);
    return !ended_;
  }

 private:
  static constexpr std::size_t kept_bytes = 200;
  int socket_;
  double asked_ms_ = 0, read_ms_ = 0;
  bool ended_ = false;
  std::string head_, tail_;
};

class Loop {
 public:
  std::vector<std::string> bodies, begun;

  explicit Loop(int epoll) : epoll_(epoll) {}

  void start(int port) {
    failed_ = 0;
    for (std::size_t i = 0; i < begun.size(); ++i) {
      clients_.push_back({std::make_unique<Client>(port), i});
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      epoll_ctl(epoll_, EPOLL_CTL_ADD, clients_[i].client->socket(), &event);
      clients_[i].client->ask(begun[i]);
    }
  }

  // Something came for one of them. Who gets no good answer asks no more.
  void take(std::size_t index) {
    Asker& asker = clients_[index];
    if (asker.client->take()) return;
    if (asker.client->answered()) return asker.client->ask(bodies[asker.next++ % bodies.size()]);
    ++failed_;
    epoll_ctl(epoll_, EPOLL_CTL_DEL, asker.client->socket(), nullptr);
  }

  int stop() {
    clients_.clear();
    bodies.clear();
    begun.clear();
    return failed_;
  }

 private:
  struct Asker {
    std::unique_ptr<Client> client;
    std::size_t next;
  };
  int epoll_;
  std::vector<Asker> clients_;
  int failed_ = 0;
};

class Commands {
 public:
  explicit Commands(int epoll) : loop_(epoll) {}

  void obey(const std::string& line) {
    const auto tab = line.find('\t');
    const std::string name = line.substr(0, tab), rest = tab == std::string::npos ? "" : line.substr(tab + 1);
    if (name == "first")
      first(rest);
    else if (name == "body")
      loop_.bodies.push_back(request_of(rest));
    else if (name == "begun")
      loop_.begun.push_back(request_of(rest));
    else if (name == "loop") {
      loop_.start(std::atoi(rest.c_str()));
      std::puts("started");
    } else if (name == "stop")
      std::printf("%d\n", loop_.stop());
    else if (name == "drop") {
      single_.clear();
      std::puts("dropped");
    } else {
      std::fprintf(stderr, "client: no command '%s'\n", name.c_str());
      std::exit(2);
    }
    std::fflush(stdout);
  }

  void take(std::size_t index) { loop_.take(index); }

 private:
  void first(const std::string& rest) {
    const auto tab = rest.find('\t');
    const int port = std::atoi(rest.substr(0, tab).c_str());
    auto& client = single_[port];
    if (client == nullptr) client = std::make_unique<Client>(port);
    client->ask(request_of(rest.substr(tab + 1)));
    while (client->take())
      ;
    std::printf("%.6f\t%.6f\t%s\n", client->asked_ms(), client->read_ms(),
                client->answered() ? "200" : client->status().c_str());
  }

  Loop loop_;
  std::map<int, std::unique_ptr<Client>> single_;
};

}  // namespace

int main() {
  constexpr std::uint64_t commands_come = ~std::uint64_t{0};
  const int epoll = epoll_create1(0);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = commands_come}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
  Commands commands(epoll);
  std::string lines;
  epoll_event events[64];
  while (true) {
    const int count = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 != commands_come) {
        commands.take(events[i].data.u64);
        continue;
      }
      char bytes[1 << 16];
      const ssize_t read_bytes = read(STDIN_FILENO, bytes, sizeof bytes);
      if (read_bytes <= 0) return 0;
      lines.append(bytes, static_cast<std::size_t>(read_bytes));
      // Sockets that were closed have no events any more.
      const bool any = lines.find('\n') != std::string::npos;
      for (std::size_t end; (end = lines.find('\n')) != std::string::npos; lines.erase(0, end + 1))
        commands.obey(lines.substr(0, end));
      if (any) break;
    }
  }
}
