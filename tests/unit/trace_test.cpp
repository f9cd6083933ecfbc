// A trace is saved as text, read again, replayed to the same violation, and shrunk until nothing can be left out.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <variant>

#include <slat/testing/machine.hpp>
#include <slat/testing/oracle.hpp>

#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

template <class Format>
class TraceOf : public FormatTest<Format> {
 protected:
  static OracleOptions options() { return {.frames = 96, .tlb = {.seed = 3, .period = 3}, .keep_trace = true}; }
};

/// A fair amount of everything, and nothing wrong.
template <class Checked>
void work(Checked& oracle) {
  auto const shape = oracle.table().geometry();
  auto const page = shape.page_size();
  auto const block = shape.span(1);
  GuestRange const blocks{GuestPhys{0}, 2 * block};
  HostPhys const ram{16 * block};
  ASSERT_TRUE(oracle.map(blocks, ram, rwx));
  ASSERT_TRUE(oracle.protect({GuestPhys{block - page}, 2 * page}, ro));
  ASSERT_TRUE(oracle.harvest(blocks, {false, true}));
  {
    auto edit = oracle.edit();
    ASSERT_TRUE(oracle.unmap({GuestPhys{0}, page}));
    ASSERT_TRUE(oracle.replace({GuestPhys{page}, page}, ram + 8 * block, rw));
  }
  ASSERT_TRUE(oracle.protect(blocks, rwx));
  ASSERT_TRUE(oracle.coalesce(blocks));
  ASSERT_TRUE(oracle.unmap({GuestPhys{block}, block}));
}

FORMAT_TEST(TraceOf, ASoundRunIsSoundWhenReplayedFromItsText) {
  Oracle<Format> oracle{this->make(), TestFixture::options()};
  work(oracle);
  oracle.destroy();
  ASSERT_EQ(oracle.violation(), Offence::none) << oracle.why();
  auto const trace = oracle.trace();
  auto const parsed = parse_trace(text(trace));
  auto const* const any = std::get_if<AnyTrace>(&parsed);
  ASSERT_NE(any, nullptr) << std::get<BadTrace>(parsed).line << ": " << std::get<BadTrace>(parsed).why;
  using Saved = Trace<typename Oracle<Format>::Reader>;
  auto const& saved = std::get<Saved>(*any);
  EXPECT_EQ(saved.events, trace.events);
  auto const [violation, events] = replay(saved);
  EXPECT_FALSE(violation) << violation->text;
  EXPECT_EQ(events, trace.events.size());
  EXPECT_GT(events, 100u);
}

/// The trace without what was done in its last hook that makes a difference.
template <class Reader>
Trace<Reader> sabotaged(const Trace<Reader>& trace) {
  auto const is = [](What what) { return [what](const Event& event) { return event.what == what; }; };
  for (auto hook = trace.events.size(); hook-- != 0;) {
    if (trace.events[hook].what != What::hook) continue;
    auto without = trace;
    auto const begin = without.events.begin() + static_cast<std::ptrdiff_t>(hook);
    auto const settled = std::find_if(begin, without.events.end(), is(What::settled));
    auto const first = std::find_if(begin + 1, settled, [&](const Event& event) {
      return event.what != What::asked && event.what != What::asked_everything;
    });
    without.events.erase(first, settled);
    if (replay(without).violation) return without;
  }
  return trace;
}

template <class Variant>
class Shrinking : public ::testing::Test {};
using Some = ::testing::Types<Arm4k, Arm4kBbm2Dirty, Ept4, Npt4>;
TYPED_TEST_SUITE(Shrinking, Some);

TYPED_TEST(Shrinking, LeavesAFewEventsThatOffendAlikeAndNoneToSpare) {
  Oracle<typename TypeParam::Format> oracle{TypeParam::make(), {.frames = 24, .tlb = {.seed = 3}, .keep_trace = true}};
  GuestRange const block{GuestPhys{0}, 2_MiB};
  for (auto i = 0; i != 3; ++i) {
    ASSERT_TRUE(oracle.map(block, HostPhys{1_GiB}, rwx));
    ASSERT_TRUE(oracle.protect({GuestPhys{4_KiB}, 4_KiB}, ro));
    ASSERT_TRUE(oracle.unmap(block));
  }
  ASSERT_EQ(oracle.violation(), Offence::none) << oracle.why();
  auto const trace = sabotaged(oracle.trace());
  auto const violation = replay(trace).violation;
  ASSERT_TRUE(violation);
  auto const small = shrink(trace);
  auto const again = replay(small).violation;
  ASSERT_TRUE(again);
  EXPECT_EQ(again->offence, violation->offence) << again->text;
  EXPECT_LT(small.events.size(), 20u) << text(small);
  for (std::size_t i = 0; i != small.events.size(); ++i) {
    auto fewer = small;
    fewer.events.erase(fewer.events.begin() + static_cast<std::ptrdiff_t>(i));
    auto const other = replay(fewer).violation;
    EXPECT_TRUE(!other || other->offence != violation->offence) << i << "\n" << text(small);
  }
}

TEST(TraceText, SaysWhichLineIsNone) {
  auto const line_of = [](const std::string& text) {
    auto const parsed = parse_trace(text);
    auto const* const bad = std::get_if<BadTrace>(&parsed);
    return bad == nullptr ? 0 : bad->line;
  };
  Machine<NptReader> machine{NptReader{{.levels = 4, .output_bits = 48, .top_leaf = 2, .no_execute = true, .pat = 6}}};
  machine.allocate(HostPhys{0x7'0000'0000});
  machine.tell(What::root, HostPhys{0x7'0000'0000});
  auto const good = text(machine.trace());
  auto const lines = static_cast<std::size_t>(std::count(good.begin(), good.end(), '\n'));
  EXPECT_EQ(line_of(good), 0u) << good;
  EXPECT_EQ(line_of("# a comment\n\n" + good + "--- another\r\n"), 0u);
  EXPECT_TRUE(std::holds_alternative<BadTrace>(parse_trace("")));
  EXPECT_EQ(line_of("slat-trace 2\n"), 1u);
  EXPECT_EQ(line_of("slat-trace 1\narm granule_bits=0xd\n"), 2u);
  EXPECT_EQ(line_of(good + "0 store 0x1 0x2\n"), lines + 1);
  EXPECT_EQ(line_of(good + "0 stare 0x1\n"), lines + 1);
  EXPECT_EQ(line_of(good + "0 release 0x1 0x2 0x3\n"), lines + 1);
  EXPECT_EQ(line_of(good + "900 publish\n"), lines + 1);
}

TEST(TraceText, EveryKindOfEventComesBackAsItWas) {
  for (auto const& [what, word, values] : what_words) {
    Event event{what, 7, {}};
    for (unsigned i = 0; i != values; ++i) event.values[i] = 0x1234'5678'9abc'def0 >> 4 * i;
    EXPECT_EQ(parse_event(text(event)), event) << word;
  }
}

}  // namespace
}  // namespace slat::test
