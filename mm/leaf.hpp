#pragma once

// What can be read back from a table.

#include <slat/mm/concepts.hpp>
#include <slat/mm/text.hpp>

namespace slat {

/// One slot's translation, decoded.
struct Leaf {
  Kind kind = Kind::absent;  // broken: what follows is what it will be, and no CPU can use it now
  Level level = 0;           // of the slot
  GuestRange range{};        // all that the slot translates; for absent, all that is known to be absent
  HostPhys host{};           // of range.begin
  Attr attr{};               // as it was asked for
  Age age{};                 // what hardware has seen of it
  Entry entry = 0;           // as it stands in the table

  /// Where `at`, an address in `range`, translates to.
  constexpr HostPhys host_of(GuestPhys at) const { return host + (at - range.begin); }
};

/// "rwx", "r--", "rwU" (execute at user level only), "rwS" (at supervisor level only).
template <TextSink Out>
constexpr void print(Out& out, Prot prot) {
  out(allows(prot, Prot::r) ? "r"sv : "-"sv);
  out(allows(prot, Prot::w) ? "w"sv : "-"sv);
  bool const user = allows(prot, Prot::x_user);
  bool const supervisor = allows(prot, Prot::x_supervisor);
  out(user && supervisor ? "x"sv : user ? "U"sv : supervisor ? "S"sv : "-"sv);
}

/// In words.
constexpr std::string_view name(Memory memory) {
  switch (memory) {
    case Memory::normal: return "normal"sv;
    case Memory::write_through: return "write-through"sv;
    case Memory::uncached: return "uncached"sv;
    case Memory::device: return "device"sv;
    case Memory::device_strict: return "device-strict"sv;
  }
  return "unknown"sv;
}

/// "rwx normal", with " sw1" to " sw3" behind it where software bits are set.
template <TextSink Out>
constexpr void print(Out& out, const Attr& attr) {
  print(out, attr.prot);
  out(" "sv);
  out(name(attr.memory));
  if (attr.software != 0) {
    out(" sw"sv);
    print_decimal(out, attr.software);
  }
}

/// Merges equal neighbours and prints a line for each run:
///   [0x40000000, 0x80000000) -> 0x80000000  1G x1  rwx normal  AD
template <TextSink Out>
class Dump {
 public:
  /// Prints to `out`, which outlives it.
  explicit constexpr Dump(Out& out) : out_{&out} {}

  /// The next leaf, in address order.
  constexpr void operator()(const Leaf& leaf) {
    if (count_ != 0 && continues(leaf)) {
      run_.range.size += leaf.range.size;
      ++count_;
      return;
    }
    finish();
    run_ = leaf;
    count_ = 1;
    leaf_size_ = leaf.range.size;
  }
  /// Prints the last run.
  constexpr void finish() {
    if (count_ == 0) return;
    auto& out = *out_;
    print_range(out, run_.range);
    out(" -> "sv);
    print_hex(out, run_.host.raw());
    out("  "sv);
    print_size(out, leaf_size_);
    out(" x"sv);
    print_decimal(out, count_);
    out("  "sv);
    print(out, run_.attr);
    out("  "sv);
    out(run_.age.accessed ? "A"sv : "-"sv);
    out(run_.age.dirty ? "D"sv : "-"sv);
    if (run_.kind == Kind::broken) out("  broken"sv);
    out("\n"sv);
    count_ = 0;
  }

 private:
  constexpr bool continues(const Leaf& leaf) const {
    return leaf.range.begin == run_.range.end() && leaf.host == run_.host + run_.range.size && leaf.attr == run_.attr &&
           leaf.age == run_.age && leaf.kind == run_.kind && leaf.range.size == leaf_size_;
  }

  Out* out_;
  Leaf run_{};
  std::uint64_t count_ = 0;
  std::uint64_t leaf_size_ = 0;
};

}  // namespace slat
