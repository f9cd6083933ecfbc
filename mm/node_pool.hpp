#pragma once

// Index nodes, all of one size, carved out of blocks from a node source.
//
//   block   [pad to alignment] header | node | node | node | node
//
// Blocks with a free node are in a ring: those wholly free at its end, so that a node is taken from one in use first.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <slat/mm/node_source.hpp>

namespace slat {

/// Gives out nodes of up to `node_bytes`. Only the writer of a set calls it; it is never asked for more nodes than it
/// has free. What it is given in a node begins as a `Head`, whose `slot` is the pool's.
template <NodeSource Nodes, class Head, std::size_t node_bytes>
class NodePool {
  static constexpr std::size_t scalar = 16;

  struct Block {
    void* memory;
    Block* next;
    Block* previous;
    std::uint32_t free;  // one bit for each free node
  };
  static_assert(alignof(Block) <= scalar && sizeof(Block) % alignof(Head) == 0);

  // A block may begin at any multiple of `scalar`.
  static constexpr std::size_t fit(std::size_t block, std::size_t to) {
    auto const size = (node_bytes + to - 1) / to * to;
    auto const nodes = (block - sizeof(Block) - (to > scalar ? to - scalar : 0)) / size;
    return nodes < 32 ? nodes : 32;
  }
  static constexpr bool wasteful(std::size_t block) {
    return block - fit(block, alignof(Head)) * node_bytes > block / 8;
  }
  static constexpr std::size_t spare = 64;  // what a block is short of a power of two: see NodeSource
  /// The smallest block, of a frame or more, of which nodes fill seven eighths; four frames are enough for that.
  static constexpr std::size_t choose_block() {
    constexpr std::size_t frame = 4096;
    for (auto size = frame; size <= 4 * frame; size *= 2)
      if (!wasteful(size - spare)) return size - spare;
    return std::bit_ceil(4 * node_bytes) - spare;
  }

 public:
  static constexpr std::size_t block_bytes = choose_block();
  /// A cache line where that costs no node.
  static constexpr std::size_t align = fit(block_bytes, 64) == fit(block_bytes, alignof(Head)) ? 64 : alignof(Head);
  static constexpr std::size_t stride = (node_bytes + align - 1) / align * align;
  static constexpr std::size_t nodes_per_block = fit(block_bytes, align);
  static_assert(nodes_per_block != 0 && alignof(Head) <= scalar);

  /// Blocks that were taken and are not in use: given back unless adopt() gets them.
  class Room {
   public:
    explicit Room(const Nodes& nodes) : nodes_{nodes} {}
    Room(Room&& from) noexcept : nodes_{from.nodes_}, blocks_{std::exchange(from.blocks_, nullptr)} {}
    Room& operator=(Room&&) = delete;
    [[gnu::always_inline]] ~Room() {
      if (blocks_ != nullptr) [[unlikely]]
        release_all();
    }

   private:
    friend NodePool;
    [[gnu::noinline]] void release_all() {
      while (blocks_ != nullptr) release(nodes_, std::exchange(blocks_, blocks_->next));
    }

    [[no_unique_address]] Nodes nodes_;
    Block* blocks_ = nullptr;
  };

  explicit NodePool(Nodes nodes) : nodes_{std::move(nodes)} {}
  NodePool(const NodePool&) = delete;
  NodePool& operator=(const NodePool&) = delete;
  /// Takes all that `from` has; this pool has nothing. Both go on with the source of `from`.
  void take_over(NodePool& from) {
    nodes_ = from.nodes_;
    ring_ = std::exchange(from.ring_, nullptr);
    free_ = std::exchange(from.free_, 0);
    in_use_ = std::exchange(from.in_use_, 0);
  }

  const Nodes& source() const { return nodes_; }
  std::size_t free() const { return free_; }
  std::size_t in_use() const { return in_use_; }

  /// Puts into `room`, which is empty, what it takes to have `wanted` free nodes. False when the source has too little.
  /// Changes nothing here.
  [[nodiscard]] bool reserve(std::size_t wanted, Room& room) { return wanted <= free_ || take(wanted, room); }
  void adopt(Room&& room) {
    if (room.blocks_ != nullptr) [[unlikely]]
      link_all(room);
  }

  template <class Node>
  Node* make() {
    static_assert(sizeof(Node) <= node_bytes && alignof(Node) <= align);
    auto* const block = ring_;
    auto const slot = static_cast<unsigned>(std::countr_zero(block->free));
    block->free &= block->free - 1;
    --free_;
    ++in_use_;
    if (block->free == 0) unlink(block);
    auto* const node = std::construct_at(static_cast<Node*>(static_cast<void*>(first_of(block) + slot * stride)));
    node->slot = static_cast<std::uint8_t>(slot);
    return node;
  }
  /// Takes back what make() gave. A block with no node in use goes back to the source, but for `spare_nodes`.
  template <class Node>
  void give_back(Node* node, std::size_t spare_nodes) {
    auto const slot = node->slot;
    std::destroy_at(node);
    auto* const first = static_cast<std::byte*>(static_cast<void*>(node)) - slot * stride;
    auto* const block = static_cast<Block*>(static_cast<void*>(first - sizeof(Block)));
    if (block->free != 0) unlink(block);
    block->free |= 1u << slot;
    ++free_;
    --in_use_;
    if (block->free != all_free) return link_first(block);
    link_last(block);
    trim(spare_nodes);
  }
  /// Whether so many nodes are free that a block may have none in use.
  bool may_trim() const { return free_ >= nodes_per_block; }
  /// Releases blocks with no node in use, as long as `spare_nodes` are left.
  void trim(std::size_t spare_nodes) {
    if (free_ >= spare_nodes + nodes_per_block) [[unlikely]]
      release_idle(spare_nodes);
  }

 private:
  static constexpr std::uint32_t all_free = 0xffff'ffffu >> (32 - nodes_per_block);

  [[gnu::noinline]] bool take(std::size_t wanted, Room& room) {
    for (auto have = free_; have < wanted; have += nodes_per_block) {
      void* const memory = nodes_.allocate(block_bytes);
      if (memory == nullptr) return false;
      room.blocks_ = std::construct_at(static_cast<Block*>(header_in(memory)), memory, room.blocks_, nullptr, all_free);
    }
    return true;
  }
  [[gnu::noinline]] void link_all(Room& room) {
    while (room.blocks_ != nullptr) {
      link_last(std::exchange(room.blocks_, room.blocks_->next));
      free_ += nodes_per_block;
    }
  }
  [[gnu::noinline]] void release_idle(std::size_t spare_nodes) {
    while (ring_ != nullptr && free_ >= spare_nodes + nodes_per_block) {
      auto* const block = ring_->previous;
      if (block->free != all_free) return;
      unlink(block);
      free_ -= nodes_per_block;
      release(nodes_, block);
    }
  }

  /// The header ends where the first node begins.
  static void* header_in(void* memory) {
    auto const at = reinterpret_cast<std::uintptr_t>(memory);
    auto const first = (at + sizeof(Block) + align - 1) / align * align;
    return static_cast<std::byte*>(memory) + (first - at - sizeof(Block));
  }
  static std::byte* first_of(Block* block) {
    return static_cast<std::byte*>(static_cast<void*>(block)) + sizeof(Block);
  }
  static void release(Nodes& nodes, Block* block) { nodes.release(block->memory, block_bytes); }

  void link_first(Block* block) {
    link_last(block);
    ring_ = block;
  }
  void link_last(Block* block) {
    if (ring_ == nullptr) ring_ = block->previous = block;
    block->next = ring_;
    block->previous = ring_->previous;
    block->previous->next = block->next->previous = block;
  }
  void unlink(Block* block) {
    block->previous->next = block->next;
    block->next->previous = block->previous;
    if (ring_ == block) ring_ = block->next == block ? nullptr : block->next;
  }

  [[no_unique_address]] Nodes nodes_;
  Block* ring_ = nullptr;   // blocks with a free node
  std::size_t free_ = 0;    // nodes
  std::size_t in_use_ = 0;  // nodes
};

}  // namespace slat
