#pragma once

// A trace as text: what kind of machine it was, and an event a line.
//
//   slat-trace 1
//   arm granule_bits=0xc input_bits=0x28 root=0x2 output_bits=0x2c fwb=0x0 ...
//   frames base=0x700000000 count=0x40 needs_publish=0x1 waits_for_readers=0x0 poison=0x1
//   0 allocate 0x700000000 0x2000
//   ...
//
// Empty lines, and lines that begin with # or ---, are comments.

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <slat/testing/arm_reader.hpp>
#include <slat/testing/ept_reader.hpp>
#include <slat/testing/event.hpp>
#include <slat/testing/npt_reader.hpp>
#include <slat/testing/violation.hpp>

namespace slat::testing {

struct MachineOptions {
  HostPhys base{0x7'0000'0000};  // where the frames are that events speak of
  std::size_t frames = 64;
  bool needs_publish = false;      // x86: walkers need not see a store before it was published (What::publish)
  bool waits_for_readers = false;  // frames may go only after What::readers_gone
  bool poison = true;              // a frame is given out full of what looks like entries; else of zeros
  std::uint64_t seed = 1;
  unsigned period = 0;  // hardware acts by itself before one store in so many; 0: when it is told to
};

template <class Reader>
struct Trace {
  Reader reader;
  MachineOptions options;
  std::vector<Event> events;
};
using AnyTrace = std::variant<Trace<ArmReader>, Trace<EptReader>, Trace<NptReader>>;

/// Why a text is no trace.
struct BadTrace {
  std::size_t line = 0;
  std::string_view why;
};

namespace detail {

// The fields of each line, for writing and for reading.
template <class Visit>
void each_field(ArmFeatures& f, Visit visit) {
  visit("granule_bits", f.granule_bits), visit("input_bits", f.input_bits), visit("root", f.root);
  visit("output_bits", f.output_bits), visit("fwb", f.fwb), visit("xnx", f.xnx), visit("ha", f.ha);
  visit("hd", f.hd), visit("bbm", f.bbm), visit("xs", f.xs), visit("house_rules", f.house_rules);
}
template <class Visit>
void each_field(EptFeatures& f, Visit visit) {
  visit("levels", f.levels), visit("output_bits", f.output_bits), visit("top_leaf", f.top_leaf);
  visit("execute_only", f.execute_only), visit("mode_based_execute", f.mode_based_execute);
  visit("accessed_dirty", f.accessed_dirty), visit("page_size_erratum", f.page_size_erratum);
  visit("verify_paging", f.verify_paging), visit("paging_write", f.paging_write);
  visit("shadow_stack", f.shadow_stack), visit("sub_page", f.sub_page), visit("ve", f.ve);
  visit("house_rules", f.house_rules), visit("l1tf", f.l1tf);
}
template <class Visit>
void each_field(NptFeatures& f, Visit visit) {
  visit("levels", f.levels), visit("output_bits", f.output_bits), visit("top_leaf", f.top_leaf);
  visit("no_execute", f.no_execute), visit("pat", f.pat), visit("house_rules", f.house_rules);
}
template <class Visit>
void each_field(MachineOptions& o, Visit visit) {
  auto base = o.base.raw();
  visit("base", base), visit("count", o.frames), visit("needs_publish", o.needs_publish);
  visit("waits_for_readers", o.waits_for_readers), visit("poison", o.poison);
  o.base = HostPhys{base};
}

template <class Fields>
std::string text_of(std::string_view word, Fields fields) {
  std::string line{word};
  each_field(fields, [&](std::string_view name, const auto& value) {
    line += ' ';
    line += name;
    line += '=';
    line += hex(static_cast<std::uint64_t>(value));
  });
  return line + "\n";
}

/// Reads `word name=0x... name=0x...`, all of the names in their order. False when the line says anything else.
template <class Fields>
bool read(std::string_view line, std::string_view word, Fields& fields) {
  auto good = line.substr(0, word.size()) == word;
  line.remove_prefix(good ? word.size() : 0);
  each_field(fields, [&](std::string_view name, auto& value) {
    auto const head = ' ' + std::string{name} + "=0x";
    std::uint64_t number = 0;
    good = good && line.substr(0, head.size()) == head;
    if (!good) return;
    line.remove_prefix(head.size());
    auto const [end, wrong] = std::from_chars(line.data(), line.data() + line.size(), number, 16);
    good = wrong == std::errc{};
    line.remove_prefix(static_cast<std::size_t>(end - line.data()));
    using Value = std::remove_reference_t<decltype(value)>;
    value = static_cast<Value>(number);
    good = good && static_cast<std::uint64_t>(value) == number;
  });
  return good && line.empty();
}

// No machine has other values, and a reader counts on that.
constexpr bool possible(const ArmFeatures& f) {
  if (f.granule_bits != 12 && f.granule_bits != 14 && f.granule_bits != 16) return false;
  if (f.root > 3 || f.input_bits > 48 || f.output_bits > 48 || f.output_bits < 32 || f.bbm > 2) return false;
  auto const start = f.granule_bits + f.root * (f.granule_bits - 3);
  return f.input_bits > start && f.input_bits <= start + f.granule_bits - 3 + 4;
}
template <class Features>
constexpr bool possible(const Features& f) {
  return (f.levels == 4 || f.levels == 5) && f.output_bits >= 32 && f.output_bits <= 52 && f.top_leaf <= 2;
}
template <class Reader>
constexpr bool possible(const Reader& reader, const MachineOptions& options) {
  return options.frames != 0 && options.frames <= (1u << 26) / reader.shape().granule() &&
         options.base.aligned_to(reader.shape().granule()) && options.base.raw() < 1ull << 52;
}

constexpr std::string_view word_for(const ArmReader&) { return "arm"; }
constexpr std::string_view word_for(const EptReader&) { return "ept"; }
constexpr std::string_view word_for(const NptReader&) { return "npt"; }

/// The lines of a text that are no comments, one by one.
class Lines {
 public:
  explicit Lines(std::string_view text) : text_{text} {}

  /// False at the end.
  bool next(std::string_view& line) {
    while (!text_.empty()) {
      line = text_.substr(0, text_.find('\n'));
      text_.remove_prefix(std::min(line.size() + 1, text_.size()));
      ++number_;
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
      if (!line.empty() && line.front() != '#' && line.substr(0, 3) != "---") return true;
    }
    return false;
  }
  std::size_t number() const { return number_; }

 private:
  std::string_view text_;
  std::size_t number_ = 0;
};

}  // namespace detail

template <class Reader>
std::string text(const Trace<Reader>& trace) {
  auto out = std::string{"slat-trace 1\n"};
  out += detail::text_of(detail::word_for(trace.reader), trace.reader.features());
  out += detail::text_of("frames", trace.options);
  for (auto const& event : trace.events) out += text(event) + "\n";
  return out;
}

/// The trace that a text says, or the first line that says none.
inline std::variant<AnyTrace, BadTrace> parse_trace(std::string_view text) {
  detail::Lines lines{text};
  std::string_view line;
  if (!lines.next(line) || line != "slat-trace 1") return BadTrace{lines.number(), "not a trace of this version"};
  if (!lines.next(line)) return BadTrace{lines.number(), "no machine"};
  ArmFeatures arm{};
  EptFeatures ept{};
  NptFeatures npt{};
  auto const with = [&]<class Reader>(const Reader& reader) -> std::variant<AnyTrace, BadTrace> {
    Trace<Reader> trace{reader, {}, {}};
    if (!lines.next(line) || !detail::read(line, "frames", trace.options) || !detail::possible(reader, trace.options))
      return BadTrace{lines.number(), "no frames"};
    while (lines.next(line)) {
      auto const event = parse_event(line);
      if (!event) return BadTrace{lines.number(), "no event"};
      trace.events.push_back(*event);
    }
    return AnyTrace{std::move(trace)};
  };
  if (detail::read(line, "arm", arm) && detail::possible(arm)) return with(ArmReader{arm});
  if (detail::read(line, "ept", ept) && detail::possible(ept)) return with(EptReader{ept});
  if (detail::read(line, "npt", npt) && detail::possible(npt)) return with(NptReader{npt});
  return BadTrace{lines.number(), "no machine"};
}

}  // namespace slat::testing
