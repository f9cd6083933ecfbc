#pragma once

// A file, opened for reading at any offset. Not mapped: one that shrinks while it is read is an error, not a signal.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "tools/failure.hpp"

namespace slat::tool {

class OpenFile {
 public:
  explicit OpenFile(std::string path)
      : path_{std::move(path)}, fd_{open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)} {
    // Not to wait for a pipe's other end: it is refused below.
    if (fd_ < 0) throw Failure{"cannot open '" + path_ + "': " + std::strerror(errno)};
    struct stat status {};
    if (fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
      close(fd_);
      throw Failure{"'" + path_ + "' is no regular file"};
    }
    bytes_ = static_cast<std::uint64_t>(status.st_size);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { close(fd_); }

  const std::string& path() const { return path_; }
  std::uint64_t bytes() const { return bytes_; }

  /// The bytes at `offset`; the range lies within bytes().
  void read(std::uint64_t offset, std::span<std::byte> to) const {
    while (!to.empty()) {
      auto const got = pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) throw Failure{"cannot read '" + path_ + "': " + (got < 0 ? std::strerror(errno) : "it shrank")};
      to = to.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
  }

 private:
  std::string path_;
  int fd_;
  std::uint64_t bytes_ = 0;
};

}  // namespace slat::tool
