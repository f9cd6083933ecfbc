// One property for each family of formats, for RapidCheck: after any list of commands, on a set of areas, its table and
// the scopes of wider edits, everything is what the flat map says (world.hpp). A list that fails is shrunk, and each of
// its commands too, until only those are left that matter.
//
// RC_PARAMS in the environment holds RapidCheck's own parameters, separated by blanks, in place of those below:
//   seed=N           where to begin; it is printed with every run
//   max_success=N    so many lists for each family
//   max_size=N       and so many commands in the longest
//   reproduce=TEXT   the list that a failure has printed

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/state.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <string>
#include <string_view>

#include "model/families.hpp"
#include "model/layout.hpp"
#include "model/random.hpp"
#include "model/world.hpp"

namespace slat::test {
namespace {

/// What commands must know before they are run.
struct State {
  bool editing = false;
};

template <class Format>
using Command = rc::state::Command<State, World<Format>>;

/// A command after which everything is compared.
template <class Format>
class Checked : public Command<Format> {
 public:
  void run(const State&, World<Format>& world) const override {
    act(world);
    if (!world.sound()) RC_FAIL(world.why());
  }

 protected:
  virtual void act(World<Format>& world) const = 0;

  /// Where blocks fit. `which` tells hosts apart.
  static HostPhys host(const World<Format>& world, GuestRange range, std::uint64_t which) {
    auto const unit = world.geometry().span(world.geometry().top_leaf);
    auto const skew = which / 2 * world.geometry().page_size();
    return HostPhys{(1 + which % 2) * 4 * unit + (range.begin - world.flat().universe().begin.down_to(unit)) + skew};
  }
  static Attr attr(const World<Format>& world, unsigned which) {
    constexpr Attr choices[] = {
        rwx, rw, rx, rw | Memory::device, rw | Memory::uncached, {Prot::rwx, Memory::normal, 1}};
    auto const chosen = choices[which];
    return world.format().supports(chosen) ? chosen : rwx;
  }
};

/// On some strips. Small numbers are at the beginning of the universe, and few.
template <class Format>
class OnStrips : public Checked<Format> {
 public:
  void show(std::ostream& out) const override {
    out << name() << " " << count_ << " from strip " << first_ << detail();
  }

 protected:
  virtual std::string_view name() const = 0;
  virtual std::string detail() const { return ""; }

  GuestRange range(const World<Format>& world) const {
    auto const& flat = world.flat();
    auto const first = first_ % flat.size();
    return flat.range({first, first + std::min(count_, flat.size() - first)});
  }

 private:
  std::size_t first_ = *rc::gen::inRange<std::size_t>(0, 128);
  std::size_t count_ = *rc::gen::weightedOneOf<std::size_t>({{4, rc::gen::inRange<std::size_t>(1, 6)},
                                                             {2, rc::gen::inRange<std::size_t>(30, 110)},
                                                             {1, rc::gen::just<std::size_t>(256)}});
};

/// Maps linear memory, over what is there or not.
template <class Format>
class MapLinear : public OnStrips<Format> {
  std::uint64_t host_ = *rc::gen::inRange<std::uint64_t>(0, 4);
  unsigned attr_ = *rc::gen::inRange(0u, 6u);
  bool over_ = *rc::gen::weightedElement<bool>({{3, true}, {1, false}});

  std::string_view name() const override { return over_ ? "map over" : "map"; }
  std::string detail() const override {
    return ", host " + std::to_string(host_) + ", attributes " + std::to_string(attr_);
  }
  void act(World<Format>& world) const override {
    auto const range = this->range(world);
    world.map_linear(range, this->host(world, range, host_), this->attr(world, attr_), over_);
  }
};
/// A whole universe of blocks, to be cut.
template <class Format>
class MapBlocks : public Checked<Format> {
  void show(std::ostream& out) const override { out << "map all of it over"; }
  void act(World<Format>& world) const override {
    auto const all = world.flat().universe();
    world.map_linear(all, this->host(world, all, 0), rwx, true);
  }
};
template <class Format>
class MapLazy : public OnStrips<Format> {
  unsigned source_ = *rc::gen::inRange(0u, 2u);

  std::string_view name() const override { return "map lazy over"; }
  std::string detail() const override { return ", source " + std::to_string(source_); }
  void act(World<Format>& world) const override { world.map_lazy(this->range(world), source_, rwx, true); }
};
template <class Format>
class Unmap : public OnStrips<Format> {
  std::string_view name() const override { return "unmap"; }
  void act(World<Format>& world) const override { world.unmap(this->range(world)); }
};
template <class Format>
class Protect : public OnStrips<Format> {
  unsigned attr_ = *rc::gen::inRange(0u, 6u);

  std::string_view name() const override { return "protect"; }
  std::string detail() const override { return ", attributes " + std::to_string(attr_); }
  void act(World<Format>& world) const override { world.protect(this->range(world), this->attr(world, attr_), true); }
};
template <class Format>
class Split : public OnStrips<Format> {
  std::string_view name() const override { return "split"; }
  void act(World<Format>& world) const override { world.split(this->range(world)); }
};
template <class Format>
class Coalesce : public OnStrips<Format> {
  std::string_view name() const override { return "coalesce"; }
  void act(World<Format>& world) const override { world.coalesce(this->range(world)); }
};
template <class Format>
class Harvest : public OnStrips<Format> {
  bool accessed_ = *rc::gen::arbitrary<bool>();

  std::string_view name() const override { return accessed_ ? "harvest all of" : "harvest dirty"; }
  void act(World<Format>& world) const override {
    world.harvest(this->range(world), {accessed_ && world.format().harvestable().accessed, true});
  }
};
/// The guest uses the first page of each strip, or faults there.
template <class Format>
class Use : public OnStrips<Format> {
  bool write_ = *rc::gen::arbitrary<bool>();

  std::string_view name() const override { return write_ ? "write" : "read"; }
  void act(World<Format>& world) const override {
    auto const page = world.geometry().page_size();
    auto const strips = world.flat().within(this->range(world));
    for (auto i = strips.first; i != strips.last && world.sound(); ++i) {
      auto const range = world.flat()[i].range;
      // World wants faults where a page is a strip.
      if (range.size == page && !world.walk(range.begin).decoded.leaf())
        world.resolve(range.begin, write_ ? Prot::w : Prot::r);
      world.use(range.begin, write_);
    }
  }
};

template <class Format>
class BeginEdit : public Command<Format> {
  void checkPreconditions(const State& state) const override { RC_PRE(!state.editing); }
  void apply(State& state) const override { state.editing = true; }
  void run(const State&, World<Format>& world) const override { world.begin_edit(); }
  void show(std::ostream& out) const override { out << "begin an edit"; }
};
template <class Format>
class EndEdit : public Checked<Format> {
  void checkPreconditions(const State& state) const override { RC_PRE(state.editing); }
  void apply(State& state) const override { state.editing = false; }
  void act(World<Format>& world) const override { world.end_edit(); }
  void show(std::ostream& out) const override { out << "end the edit"; }
};
template <class Format>
class Settle : public Checked<Format> {
  void checkPreconditions(const State& state) const override { RC_PRE(state.editing); }
  void act(World<Format>& world) const override { world.settle(); }
  void show(std::ostream& out) const override { out << "settle"; }
};

template <class Family>
void everything_agrees() {
  using Format = typename Family::Format;
  auto const variant = *rc::gen::inRange<std::uint64_t>(0, 200);
  auto const period = *rc::gen::element(0u, 3u, 40u);
  Random random{variant};
  auto const format = Family::draw(random);
  auto const geometry = format.geometry();
  Layout const layout{geometry, 2, false, random};
  Census census;
  WorldOptions const options{.frames = static_cast<std::size_t>(geometry.root_bytes() / geometry.table_bytes()) + 12,
                             .period = period,
                             .large_page = 8 * geometry.page_size(),
                             .thorough = 4};
  World<Format> world{format, layout.bounds, options, census};
  rc::state::check(State{}, world,
                   rc::state::gen::execOneOfWithArgs<MapLinear<Format>, MapLinear<Format>, MapBlocks<Format>,
                                                     MapLazy<Format>, Unmap<Format>, Protect<Format>, Protect<Format>,
                                                     Split<Format>, Coalesce<Format>, Harvest<Format>, Use<Format>,
                                                     BeginEdit<Format>, EndEdit<Format>, Settle<Format>>());
  world.finish();
  if (!world.sound()) RC_FAIL(world.why());
}

template <class Family>
class Property : public ::testing::Test {};

TYPED_TEST_SUITE(Property, Families, FamilyName);

TYPED_TEST(Property, AfterAnyListOfCommandsEverythingIsWhatTheFlatMapSays) {
  // Read by RapidCheck when the first property is checked.
  auto const mine = "seed=1 max_size=60 max_success=" + std::to_string(400 / SLAT_MODEL_PART);
  setenv("RC_PARAMS", mine.c_str(), 0);
  std::printf("RC_PARAMS='%s'\n", std::getenv("RC_PARAMS"));
  EXPECT_TRUE(rc::check(TypeParam::name, everything_agrees<TypeParam>));
}

}  // namespace
}  // namespace slat::test
