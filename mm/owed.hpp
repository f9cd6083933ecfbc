#pragma once

// Things other than tables that may be reused only after an edit's invalidation has returned.

namespace slat {

/// Something that owes its own frames back: an edit that is told of it calls pay() once, after the invalidation. It
/// links itself, so that no debt needs memory. Pinned while an edit knows it; the writer's, as the table is.
class Owed {
 public:
  /// Gives back what is owed. Called once for each edit that was told of it.
  using Pay = void (*)(Owed&) noexcept;

  /// `pay` gets the object itself.
  explicit constexpr Owed(Pay pay) : pay_{pay} {}
  Owed(const Owed&) = delete;
  Owed& operator=(const Owed&) = delete;

  /// Puts itself at the head of `list`, unless it is in one already.
  constexpr void join(Owed*& list) {
    if (listed_) return;
    listed_ = true;
    next_ = list;
    list = this;
  }
  /// Pays all of `list` and leaves it empty.
  static void pay_all(Owed*& list) {
    while (list != nullptr) {
      Owed& one = *list;
      list = one.next_;
      one.listed_ = false;
      one.pay_(one);
    }
  }

 protected:
  ~Owed() = default;

 private:
  Pay pay_;
  Owed* next_ = nullptr;
  bool listed_ = false;
};

}  // namespace slat
