// Ranges at and past the ends of what there is: each is refused, or taken, or absent, as the sum without overflow says.

#include <array>

#include <slat/testing/oracle.hpp>
#include "mutants/check.hpp"

namespace slat::test {
using namespace slat::testing;

const char* const check_name = "corners";

namespace {

constexpr std::uint64_t page = 4096;
constexpr unsigned input_bits = 40, output_bits = 42;

std::string text_of(std::uint64_t begin, std::uint64_t size) { return text({GuestPhys{begin}, size}); }

/// Whether [begin, begin + size) lies below 2^bits: by numbers that have room for the sum.
bool fits(std::uint64_t begin, std::uint64_t size, unsigned bits) {
  auto const end = static_cast<unsigned __int128>(begin) + size;
  return end <= static_cast<unsigned __int128>(1) << bits;
}

class Corners {
 public:
  explicit Corners(Outcome& outcome) : outcome_{&outcome} {}

  void run() {
    // Something at the bottom, that an address with too many bits would find.
    require(table_.map({GuestPhys{0}, 16 * page}, HostPhys{0}, rwx).operator bool(), "the first pages were refused");
    for (auto const begin : addresses)
      for (auto const size : {page, 2 * page, 1_GiB, 1_TiB, 1_TiB << 23}) {
        guest(begin, size);
        host(begin, size);
      }
    for (auto const at : addresses) look(at);
    for (auto const begin : addresses) contain({GuestPhys{begin}, page});
  }

 private:
  static constexpr std::uint64_t top = 0 - page;  // the last page of all
  static constexpr std::array<std::uint64_t, 10> addresses{0,          page,
                                                           1ull << 32, (1ull << 40) - page,
                                                           1ull << 40, (1ull << 42) - page,
                                                           1ull << 42, (1ull << 52) - page,
                                                           1ull << 63, top};

  void require(bool right, const std::string& what) {
    if (!outcome_->violation.empty()) return;
    ++outcome_->operations;
    if (!right) outcome_->violation = what;
  }
  void guest(std::uint64_t begin, std::uint64_t size) {
    auto const planned = table_.frames_needed(Unmap{{GuestPhys{begin}, size}});
    bool const right = fits(begin, size, input_bits);
    require(planned || !right, "a range inside the input size was refused: " + text_of(begin, size));
    require(!planned || right, "a range past the input size was taken: " + text_of(begin, size));
  }
  void host(std::uint64_t begin, std::uint64_t size) {
    if (!fits(1ull << 39, size, input_bits)) return;
    auto const planned = table_.frames_needed(Map{{GuestPhys{1ull << 39}, size}, HostPhys{begin}, rwx});
    bool const right = fits(begin, size, output_bits);
    require(planned || !right, "a host range inside the output size was refused: " + text_of(begin, size));
    require(!planned || right, "a host range past the output size was taken: " + text_of(begin, size));
  }
  void look(std::uint64_t at) {
    auto const leaf = table_.query(GuestPhys{at});
    auto const mapped = at < 16 * page;
    require(mapped || leaf.kind == Kind::absent, "an address is translated that was never mapped: " + hex(at));
  }
  void contain(GuestRange range) {
    require(range.contains(range.begin) && range.contains(range.last()) && range.contains(range),
            "a range does not contain itself: " + text(range));
    require(!range.contains(range.begin - 1) && !range.contains(range.last() + 1),
            "a range contains what is beside it: " + text(range));
  }

  Outcome* outcome_;
  Recorder recorder_;
  RecordingFrames frames_{recorder_, page, 16};
  PageTable<aarch64::Stage2<>, RecordingFrames, RecordingHook> table_ =
      *PageTable<aarch64::Stage2<>, RecordingFrames, RecordingHook>::create(
          *aarch64::Stage2<>::create({.pa_bits = output_bits, .granule_4k = true}, {.ipa_bits = input_bits}), frames_,
          RecordingHook{recorder_});
};

}  // namespace

Outcome run_check() {
  Outcome outcome;
  Corners{outcome}.run();
  return outcome;
}

}  // namespace slat::test
