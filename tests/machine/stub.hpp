#pragma once

// stub.S as C++ sees it: addresses in the image, from which a guest address follows.

#include <cstddef>
#include <cstdint>
#include <span>

#include <slat/mm/address.hpp>

extern "C" const std::byte stub_begin[], stub_end[], stub_load[], stub_store[], stub_call[], stub_read_on[],
    stub_write_on[], stub_vectors[];

namespace slat::test {

inline std::span<const std::byte> stub() { return {stub_begin, stub_end}; }

/// Where the guest finds what is at `label`, when the stub is at `code`.
inline GuestPhys in_stub(GuestPhys code, const std::byte* label) {
  return code + static_cast<std::uint64_t>(label - stub_begin);
}

}  // namespace slat::test
