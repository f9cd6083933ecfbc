#pragma once

#include <benchmark/benchmark.h>

#include <chrono>

namespace slat::bench {

template <class Act>
double seconds(Act act) {
  auto const start = std::chrono::steady_clock::now();
  act();
  benchmark::ClobberMemory();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace slat::bench
