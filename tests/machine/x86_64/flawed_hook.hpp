#pragma once

// A shootdown with one thing left out on purpose. With no flaw it is the library's.

#include <slat/arch/x86_64/shootdown.hpp>

#include "tests/machine/x86_64/options.hpp"

namespace slat::test {

template <class Hook, class Machine>
class FlawedHook {
 public:
  FlawedHook(Hook hook, Machine machine, Flaw flaw) : hook_{hook}, machine_{machine}, flaw_{flaw} {}

  void operator()(HostPhys root, const Stale& stale) noexcept {
    switch (flaw_) {
      case Flaw::none: return hook_(root, stale);
      case Flaw::others: static_cast<void>(machine_.invalidate(root)); return;
      case Flaw::hook: return;
    }
  }
  void publish() noexcept { hook_.publish(); }

 private:
  Hook hook_;
  Machine machine_;
  Flaw flaw_;
};

}  // namespace slat::test
