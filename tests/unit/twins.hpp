#pragma once

// A table beside a twin that is only ever changed by apply().

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include <slat/mm/cursor.hpp>
#include <slat/testing/oracle.hpp>
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;

template <class Table>
Result<> call(Table& table, const Map& verb) {
  return table.map(verb.range, verb.host, verb.attr);
}
template <class Table>
Result<> call(Table& table, const Replace& verb) {
  return table.replace(verb.range, verb.host, verb.attr);
}
template <class Table>
Result<> call(Table& table, const Unmap& verb) {
  return table.unmap(verb.range);
}
template <class Table>
Result<> call(Table& table, const Protect& verb) {
  return table.protect(verb.range, verb.attr);
}
template <class Table>
Result<> call(Table& table, const Split& verb) {
  return table.split(verb.range);
}
template <class Table>
Result<> call(Table& table, const Coalesce& verb) {
  return table.coalesce(verb.range);
}

template <class Table>
Result<> call(Cursor<Table>& cursor, const Map& verb) {
  return cursor.map(verb.host, verb.attr);
}
template <class Table>
Result<> call(Cursor<Table>& cursor, const Unmap&) {
  return cursor.unmap();
}
template <class Table>
Result<> call(Cursor<Table>& cursor, const Protect& verb) {
  return cursor.protect(verb.attr);
}

/// A table that writes down every store, barrier, invalidation and frame.
template <class Format>
struct Written {
  using Table = PageTable<Format, RecordingFrames, RecordingHook>;

  Written(const Format& format, std::size_t spare_frames)
      : frames{recorder, format.geometry().table_bytes(),
               format.geometry().root_bytes() / format.geometry().table_bytes() + spare_frames},
        table{*Table::create(format, frames, RecordingHook{recorder})} {
    recorder.keep_all();
  }
  void begin() { edit.reset(new typename Table::Edit{table->edit()}); }

  Recorder recorder;
  RecordingFrames frames;
  std::optional<Table> table;
  std::unique_ptr<typename Table::Edit> edit;
};

/// Two tables in equal pools, one changed by calls and one by apply(). What the one writes, tells and owes must be the
/// other's, in the same order, and so must every word of memory.
template <class Format>
class Twins {
  using Side = Written<Format>;

 public:
  Twins(const Format& format, std::size_t spare_frames) : fast_{format, spare_frames}, slow_{format, spare_frames} {}

  template <class Verb>
  bool make(const Verb& verb) {
    auto const a = call(*fast_.table, verb);
    auto const b = slow_.table->apply(verb);
    compare(a, b);
    return bool(a);
  }
  /// The same with a call of the fast table's cursor. What it has changed is counted when its run ends, so that only
  /// what is stored and told can be compared until then.
  template <class Verb>
  bool step(Cursor<typename Side::Table>& cursor, const Verb& verb) {
    auto const a = call(cursor, verb);
    auto const b = slow_.table->apply(verb);
    if (bool(a) != bool(b) || (!a && a.error() != b.error())) complain("other answers");
    if (cursor.at() != (a ? verb.range.end() : verb.range.begin)) complain("elsewhere");
    compare_logs();
    return bool(a);
  }
  /// What means nothing: it is to be refused.
  template <class Verb>
  void refuse(const Verb& verb) {
    if (make(verb)) complain("not refused");
  }
  void harvest(GuestRange range, Age what) {
    auto const ignore = [](GuestRange) {};
    compare(fast_.table->harvest(range, what, ignore), slow_.table->harvest(range, what, ignore));
  }
  void unmap_telling(GuestRange range) {
    auto const ignore = [](GuestRange) {};
    Age const what{false, true};
    compare(fast_.table->unmap(range, what, ignore), slow_.table->unmap(range, what, ignore));
  }
  /// Hardware marks what translates `at`.
  void use(GuestPhys at, bool write) {
    use(fast_, at, write);
    use(slow_, at, write);
  }
  void open() {
    if (fast_.edit) return;
    fast_.begin();
    slow_.begin();
  }
  void settle() {
    if (!fast_.edit) return;
    fast_.edit->settle();
    slow_.edit->settle();
    compare();
  }
  void close() {
    fast_.edit.reset();
    slow_.edit.reset();
    compare();
  }
  bool finish() {
    close();
    if (auto const audit = fast_.table->audit(); !audit) complain(std::string{name(audit.flaw)});
    if (fast_.table->tables() != slow_.table->tables()) complain("other tables");
    fast_.table.reset();
    slow_.table.reset();
    compare();
    if (fast_.frames.in_use() != 0) complain("frames leaked");
    return sound();
  }

  auto& table() { return *fast_.table; }
  Recorder& recorder() { return fast_.recorder; }
  bool sound() const { return complaint_.empty() && !fast_.recorder.violation() && !slow_.recorder.violation(); }
  std::string why() const {
    auto out = complaint_;
    for (auto const* side : {&fast_, &slow_})
      if (side->recorder.violation()) out += side->recorder.violation()->text;
    return out;
  }

 private:
  static void use(Side& side, GuestPhys at, bool write) {
    auto const can = side.table->format().hardware_age();
    auto const leaf = side.table->query(at);
    if (leaf.kind != Kind::leaf) return;
    auto const& geometry = side.table->geometry();
    auto where = side.table->root();
    for (auto level = geometry.root; level != leaf.level; --level)
      where = side.table->format().address(level, side.frames.view(where)[geometry.index(at, level)]);
    auto& entry = side.frames.view(where)[geometry.index(at, leaf.level)];
    write = write && leaf.attr.allows(Prot::w);
    entry = side.table->format().aged(leaf.level, entry, {can.accessed, can.dirty && write});
  }

  void compare(const Result<>& a, const Result<>& b) {
    if (bool(a) != bool(b) || (!a && a.error() != b.error())) complain("other answers");
    compare();
  }
  void compare() {
    compare_logs();
    auto& a = fast_.frames;
    auto& b = slow_.frames;
    for (std::size_t i = 0; i != a.count(); ++i) {
      auto const frame = a.frame(i);
      if (a.owns(frame) != b.owns(frame)) return complain("other frames");
      if (!a.owns(frame)) continue;
      if (std::memcmp(a.view(frame), b.view(frame), a.granule()) != 0) return complain("other entries");
      if (a.word(frame) != b.word(frame)) return complain("other words");
    }
  }
  void compare_logs() {
    auto const& a = fast_.recorder.kept();
    auto const& b = slow_.recorder.kept();
    for (; compared_ < a.size() && compared_ < b.size(); ++compared_)
      if (a[compared_] != b[compared_]) complain(text(a[compared_]) + " is not " + text(b[compared_]));
    if (a.size() != b.size()) complain("one did more: " + text((a.size() < b.size() ? b : a)[compared_]));
    auto const& told = fast_.recorder.invalidations();
    auto const& wanted = slow_.recorder.invalidations();
    if (told.size() != wanted.size()) return complain("other invalidations");
    if (told.empty()) return;
    if (told.back().only_rights_shrank() != wanted.back().only_rights_shrank() ||
        told.back().tables() != wanted.back().tables())
      complain("another reason to invalidate");
  }
  void complain(const std::string& what) {
    if (complaint_.empty()) complaint_ = what + "\n";
  }

  Side fast_, slow_;
  std::size_t compared_ = 0;
  std::string complaint_;
};

}  // namespace slat::test
