#include "tools/diff.hpp"

#include <algorithm>

#include "tools/describe.hpp"
#include "tools/runs.hpp"
#include "tools/words.hpp"

namespace slat::tool {

std::vector<Mapping> mappings_of(const Gathered& gathered) {
  auto const& scheme = gathered.scheme;
  std::vector<Mapping> out;
  for (auto const& run : runs_of(gathered)) {
    auto const& leaf = run.first;
    if (!leaf.valid()) continue;
    auto attributes = rights_text(leaf.rights) + " " + memory_name(scheme, leaf.decoded.type);
    if (auto const share = share_name(scheme, leaf.decoded.type); !share.empty()) attributes += " " + share;
    if (leaf.decoded.special != 0) attributes += " special " + hex(leaf.decoded.special);
    if (auto const bits = software_text(scheme, leaf.entry); !bits.empty()) attributes += " software " + bits;
    if (leaf.decoded.fault != testing::Fault::none)
      attributes += " " + fault_name(scheme, leaf.decoded.fault, leaf.level);
    out.push_back({run.range.begin.raw(), run.range.size, run.host().raw(), leaf.range.size, std::move(attributes),
                   marks_text(scheme, leaf.decoded), leaf.decoded.contiguous});
  }
  return out;
}

namespace {

/// The part of a mapping from `at` on.
Mapping from(Mapping mapping, std::uint64_t at) {
  mapping.host += at - mapping.begin;
  mapping.bytes -= at - mapping.begin;
  mapping.begin = at;
  return mapping;
}

bool alike(const Mapping& a, const Mapping& b, bool marks, bool sizes) {
  return (!sizes || (a.leaf == b.leaf && a.contiguous == b.contiguous)) && a.attributes == b.attributes &&
         (!marks || a.marks == b.marks);
}

/// Whether `next` goes on where `mapping`, `bytes` before it, left off.
bool continues(const std::optional<Mapping>& mapping, const std::optional<Mapping>& next, std::uint64_t bytes,
               bool marks) {
  if (!mapping || !next) return !mapping && !next;
  return mapping->host + bytes == next->host && alike(*mapping, *next, marks, true);
}

/// Walks through one side.
class Side {
 public:
  explicit Side(const std::vector<Mapping>& all) : all_{all} {}

  /// What maps `at`, and up to where that is all that can be said.
  std::optional<Mapping> look(std::uint64_t at, std::optional<std::uint64_t>& until) {
    while (next_ != all_.size() && all_[next_].end() <= at) ++next_;
    if (next_ == all_.size()) return {};
    auto const& mapping = all_[next_];
    auto const edge = mapping.begin > at ? mapping.begin : mapping.end();
    until = until ? std::min(*until, edge) : edge;
    if (mapping.begin > at) return {};
    return from(mapping, at);
  }

 private:
  const std::vector<Mapping>& all_;
  std::size_t next_ = 0;
};

}  // namespace

std::vector<Change> diff(const std::vector<Mapping>& before, const std::vector<Mapping>& after, bool marks,
                         bool sizes) {
  std::vector<Change> out;
  Side old{before}, now{after};
  for (std::uint64_t at = 0;;) {
    std::optional<std::uint64_t> until;
    auto was = old.look(at, until);
    auto is = now.look(at, until);
    if (!until) return out;
    auto const equal = was && is ? was->host == is->host && alike(*was, *is, marks, sizes) : !was && !is;
    if (!equal) {
      auto* const last = out.empty() ? nullptr : &out.back();
      if (last != nullptr && last->begin + last->bytes == at && continues(last->before, was, last->bytes, marks) &&
          continues(last->after, is, last->bytes, marks))
        last->bytes += *until - at;
      else
        out.push_back({at, *until - at, std::move(was), std::move(is)});
    }
    at = *until;
  }
}

void print_diff(std::ostream& out, const std::vector<Change>& changes) {
  auto const side = [&](char sign, const Change& change, const std::optional<Mapping>& mapping) {
    if (!mapping) return;
    out << sign << ' ' << range(change.begin, change.bytes) << " -> " << range(mapping->host, change.bytes) << "  "
        << size(mapping->leaf) << "  " << mapping->attributes << "  " << mapping->marks
        << (mapping->contiguous ? " contiguous" : "") << '\n';
  };
  for (auto const& change : changes) {
    side('-', change, change.before);
    side('+', change, change.after);
  }
}

}  // namespace slat::tool
