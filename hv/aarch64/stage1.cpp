// EL2's own stage 1: every address is itself, devices below RAM and write-back memory above. Runs on the boot CPU with
// the MMU and caches off. [arm/a-profile] D8

#include <array>
#include <cstdint>

#include <slat/mm/address.hpp>

#include "hv/aarch64/board.hpp"
#include "hv/aarch64/cache.hpp"
#include "hv/aarch64/machine.hpp"

using namespace slat::literals;

namespace {

// 512 GiB in blocks of 1 GiB, the only table.
alignas(4096) constinit std::array<std::uint64_t, 512> table{};

constexpr std::uint64_t block = 1u << 0;
constexpr std::uint64_t accessed = 1u << 10;
constexpr std::uint64_t inner_shareable = 3u << 8;
constexpr std::uint64_t memory = block | accessed | inner_shareable | 0u << 2;  // attribute 0 of EL2_MAIR
constexpr std::uint64_t device = block | accessed | 1u << 2 | 1ull << 54;       // attribute 1, never executed

}  // namespace

/// The root, for CPUs that start later and read it with their caches off.
extern "C" {
extern constinit std::uint64_t hv_stage1_root;
constinit std::uint64_t hv_stage1_root = 0;
std::uint64_t hv_describe_memory(std::uint64_t x0);
}

/// Fills the table in and returns its address. `x0` is what the boot loader passed.
std::uint64_t hv_describe_memory(std::uint64_t x0) {
  auto ram = hv::HostRange{slat::HostPhys{hv::board::ram}, slat::HostPhys{hv::board::ram + 1_GiB}};
  if (auto const tree = hv::boot_tree(x0)) ram = hv::describe(*tree).ram;
  table[0] = device;
  for (auto at = ram.begin.down_to(1_GiB); at < ram.end; at = at + 1_GiB)
    if (at.raw() / 1_GiB < table.size()) table[at.raw() / 1_GiB] = at.raw() | memory;
  hv_stage1_root = reinterpret_cast<std::uint64_t>(table.data());
  // These stores went past the caches: what a cache may still hold of the same lines is older.
  hv::cache::invalidate(table.data(), sizeof table);
  hv::cache::invalidate(&hv_stage1_root, sizeof hv_stage1_root);
  return hv_stage1_root;
}
