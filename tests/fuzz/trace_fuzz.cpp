// Any text at all, read as a trace and replayed: it is refused with the line that is wrong, or it is a machine and a
// list of events, and comes back as the same when it is written again. Events that cannot be are passed over.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>

#include <slat/testing/machine.hpp>

namespace {

using namespace slat::testing;

void require(bool holds, const char* what, std::string_view text) {
  if (holds) return;
  std::fprintf(stderr, "trace: %s\n%.*s\n", what, static_cast<int>(text.size()), text.data());
  std::abort();
}

template <class Reader>
void check(const Trace<Reader>& trace) {
  auto const written = text(trace);
  auto const again = parse_trace(written);
  auto const* const same = std::get_if<AnyTrace>(&again);
  require(same != nullptr, "what was written cannot be read", written);
  require(std::get<Trace<Reader>>(*same).events == trace.events, "what was written reads otherwise", written);
  auto const first = replay(trace), second = replay(trace);
  require(first.events == second.events, "two replays differ", written);
  require(first.violation.has_value() == second.violation.has_value() &&
              (!first.violation || first.violation->text == second.violation->text),
          "two replays see different things", written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  std::string_view const input{reinterpret_cast<const char*>(bytes), size};
  auto const parsed = parse_trace(input);
  if (auto const* const trace = std::get_if<AnyTrace>(&parsed))
    std::visit([](const auto& one) { check(one); }, *trace);
  else
    require(std::get<BadTrace>(parsed).line <= size + 1, "a line that is not there", input);
  return 0;
}
