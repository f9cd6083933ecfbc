#include "containers.hpp"

#include <array>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <map>
#include <utility>

#include <absl/container/btree_map.h>
#include <boost/intrusive/avl_set.hpp>
#include <boost/intrusive/set.hpp>

namespace slat::bench {
namespace {

struct Value {
  std::uint64_t size;
  std::array<std::uint64_t, 4> rest;
};

/// A map that holds its values.
template <class Map>
struct Owning {
  using At = typename Map::iterator;
  Map map;

  At begin() { return map.begin(); }
  At end() { return map.end(); }
  At behind(std::uint64_t x) { return map.upper_bound(x); }
  static std::uint64_t start(At at) { return at->first; }
  static Value& value(At at) { return at->second; }
  void insert(At next, std::uint64_t start, const Value& value) { map.emplace_hint(next, start, value); }
  void erase(At at) { map.erase(at); }
};

/// A set of nodes that others own: here a store that never shrinks, the node that was freed last first.
template <template <class...> class Set, class Hook>
struct Linking {
  struct Node : Hook {
    std::uint64_t start;
    Value value;
    friend bool operator<(const Node& a, const Node& b) { return a.start < b.start; }
  };
  struct Start {
    using type = std::uint64_t;
    const type& operator()(const Node& node) const { return node.start; }
  };
  using Nodes = Set<Node, boost::intrusive::key_of_value<Start>, boost::intrusive::constant_time_size<false>>;
  using At = typename Nodes::iterator;
  std::deque<Node> store;
  std::vector<Node*> free;
  Nodes nodes;

  At begin() { return nodes.begin(); }
  At end() { return nodes.end(); }
  At behind(std::uint64_t x) { return nodes.upper_bound(x); }
  static std::uint64_t start(At at) { return at->start; }
  static Value& value(At at) { return at->value; }
  void insert(At next, std::uint64_t start, const Value& value) {
    if (free.empty()) free.push_back(&store.emplace_back());
    auto* const node = free.back();
    free.pop_back();
    node->start = start;
    node->value = value;
    nodes.insert_before(next, *node);
  }
  void erase(At at) {
    free.push_back(&*at);
    nodes.erase(at);
  }
};

/// What a set of regions does, over either.
template <class Map>
class Regions : public Container {
 public:
  void fill(std::span<const std::uint64_t> starts, std::uint64_t size) override {
    for (auto const start : starts) insert(start, size);
  }
  std::uint64_t find_one_by_one(std::span<const std::uint64_t> queries) const override {
    std::uint64_t sum = 0, last = 0;
    for (auto const x : queries) {
      last = find(x + last).rest[0];
      sum += last;
    }
    return sum;
  }
  std::uint64_t find_each(std::span<const std::uint64_t> queries) const override {
    std::uint64_t sum = 0;
    for (auto const x : queries) sum += find(x).size;
    return sum;
  }
  void replace(std::span<const std::uint64_t> starts, std::uint64_t out, std::uint64_t size) override {
    for (auto const start : starts) {
      auto const at = holding(start);
      if (at == map_.end()) std::abort();
      map_.erase(at);
      insert(std::exchange(out, start), size);
    }
  }
  void split_and_merge(std::span<const std::uint64_t> at) override {
    for (auto const x : at) {
      auto const whole = holding(x);
      if (whole == map_.end()) std::abort();
      auto rest = Map::value(whole);
      auto const kept = x - Map::start(whole);
      rest.size -= kept;
      Map::value(whole).size = kept;
      map_.insert(std::next(whole), x, rest);

      auto const second = holding(x);
      auto const first = std::prev(second);
      if (Map::start(first) + Map::value(first).size != x) std::abort();
      Map::value(first).size += Map::value(second).size;
      map_.erase(second);
    }
  }

 private:
  const Value& find(std::uint64_t x) const {
    auto const at = holding(x);
    if (at == map_.end()) std::abort();
    return Map::value(at);
  }
  /// The region that holds `x`, or the end.
  auto holding(std::uint64_t x) const {
    auto at = map_.behind(x);
    if (at == map_.begin()) return map_.end();
    --at;
    return x - Map::start(at) < Map::value(at).size ? at : map_.end();
  }
  /// Puts a region where none overlaps it.
  void insert(std::uint64_t start, std::uint64_t size) {
    auto const next = map_.behind(start);
    if (next != map_.end() && Map::start(next) - start < size) std::abort();
    if (next != map_.begin())
      if (auto const before = std::prev(next); start - Map::start(before) < Map::value(before).size) std::abort();
    map_.insert(next, start, Value{size, {}});
  }

  mutable Map map_;
};

using Link = boost::intrusive::link_mode<boost::intrusive::normal_link>;
template <class... Options>
using RedBlack = boost::intrusive::set<Options...>;
template <class... Options>
using Avl = boost::intrusive::avl_set<Options...>;

}  // namespace

std::unique_ptr<Container> make_container(unsigned kind) {
  switch (kind) {
    case 0: return std::make_unique<Regions<Owning<std::map<std::uint64_t, Value>>>>();
    case 1: return std::make_unique<Regions<Linking<RedBlack, boost::intrusive::set_base_hook<Link>>>>();
    case 2: return std::make_unique<Regions<Linking<Avl, boost::intrusive::avl_set_base_hook<Link>>>>();
    default: return std::make_unique<Regions<Owning<absl::btree_map<std::uint64_t, Value>>>>();
  }
}

}  // namespace slat::bench
