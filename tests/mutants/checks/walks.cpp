// Every way into a table that holds blocks and pages, over frames that know when a walk leaves them.

#include <array>
#include <optional>
#include <string>

#include <slat/arch/x86_64/ept.hpp>
#include <slat/mm/page_table.hpp>

#include "mutants/check.hpp"

namespace slat::test {

const char* const check_name = "walks";

namespace {

/// A page asked for that was never given out is noted, and read as one of zeros.
class Bounded {
 public:
  static constexpr std::uint64_t size = 4096;

  explicit Bounded(std::string& complaint) : complaint_{&complaint} {}

  std::optional<HostPhys> allocate(std::uint64_t) noexcept {
    if (count_ == tables_.size()) return {};
    return HostPhys{base + size * count_++};
  }
  // Nothing is used twice here.
  void release(HostPhys, std::uint64_t) noexcept {}
  Entry* view(HostPhys at) const noexcept {
    if (at.raw() >= base && at.raw() < base + size * count_) return tables_[(at.raw() - base) / size].data();
    if (complaint_->empty()) *complaint_ = "a walk takes what the guest owns for a table";
    zeros_.fill(0);
    return zeros_.data();
  }
  std::uint64_t& word(HostPhys at) noexcept {
    view(at);
    return at.raw() >= base && at.raw() < base + size * count_ ? words_[(at.raw() - base) / size] : nothing_;
  }

 private:
  static constexpr std::uint64_t base = 0x7'0000'0000;
  using Page = std::array<Entry, size / sizeof(Entry)>;

  std::string* complaint_;
  std::size_t count_ = 0;
  mutable std::array<Page, 128> tables_{};
  mutable Page zeros_{};
  std::array<std::uint64_t, 128> words_{};
  std::uint64_t nothing_ = 0;
};

struct NoTlb {
  void operator()(HostPhys, const Stale&) noexcept {}
  void publish() noexcept {}
};

}  // namespace

Outcome run_check() {
  Outcome outcome;
  Bounded frames{outcome.violation};
  constexpr x86_64::EptFeatures cpu{.pa_bits = 46, .leaf_2m = true, .leaf_1g = true, .pschange_mc_no = true};
  auto table = *PageTable<x86_64::Ept, Bounded, NoTlb>::create(*x86_64::Ept::create(cpu, {}), frames, NoTlb{});
  auto const step = [&](auto call) {
    if (!outcome.violation.empty()) return;
    ++outcome.operations;
    if (!call()) outcome.violation = "a call was refused";
  };
  GuestRange const ram{GuestPhys{1_GiB}, 2_GiB};
  GuestRange const page{GuestPhys{1_GiB + 6_MiB}, 4_KiB};
  GuestRange const other{GuestPhys{2_GiB + 8_KiB}, 8_KiB};
  step([&] { return table.map(ram, HostPhys{4_GiB}, rwx).operator bool(); });
  step([&] { return table.query(page.begin).host_of(page.begin).raw() == 4_GiB + 6_MiB; });
  step([&] { return table.frames_needed(Unmap{page}).operator bool(); });
  step([&] { return table.protect(page, ro).operator bool(); });
  step([&] { return table.unmap(other).operator bool(); });
  step([&] { return table.map(other, HostPhys{8_GiB}, rw).operator bool(); });
  step([&] { return table.coalesce(ram).operator bool(); });
  step([&] { return table.harvest(ram, {false, true}, [](GuestRange) {}).operator bool(); });
  step([&] { return bool{table.audit()}; });
  step([&] { return table.unmap(ram).operator bool(); });
  return outcome;
}

}  // namespace slat::test
