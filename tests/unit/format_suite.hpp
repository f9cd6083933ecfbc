#pragma once

// Suites that run on every format, without a copy of every test for every variant: a test is a template over the
// format's type, of which there are few, and is registered once for each variant of it.
//
//   template <class Format> class Promise : public FormatTest<Format> { ... this->make() ... };
//   FORMAT_TEST(Promise, OneProtectIsOneShootdown) { ... }

#include <gtest/gtest.h>

#include <string>

#include "unit/formats.hpp"

namespace slat::test {

template <class Format>
class FormatTest : public ::testing::Test {
 public:
  static inline Format (*chosen)() = nullptr;

 protected:
  static Format make() { return chosen(); }
};

namespace detail {

template <template <class> class Test, class Variant>
bool register_variant(const std::string& suite, const char* name, const char* file, int line) {
  using Format = typename Variant::Format;
  using Fixture = typename Test<Format>::TestFixture;
  ::testing::RegisterTest((suite + "/" + Variant::name).c_str(), name, nullptr, nullptr, file, line, []() -> Fixture* {
    FormatTest<Format>::chosen = &Variant::make;
    return new Test<Format>;
  });
  return true;
}

template <template <class> class Test, class... Variants>
bool register_all(::testing::Types<Variants...>, const char* suite, const char* name, const char* file, int line) {
  return (register_variant<Test, Variants>(suite, name, file, line) && ...);
}

}  // namespace detail
}  // namespace slat::test

#define FORMAT_TEST(suite, name)                                                                                      \
  template <class Format>                                                                                             \
  class suite##_##name : public suite<Format> {                                                                       \
   public:                                                                                                            \
    using TestFixture = suite<Format>;                                                                                \
    void TestBody() override;                                                                                         \
  };                                                                                                                  \
  [[maybe_unused]] const bool registered_##suite##_##name =                                                           \
      ::slat::test::detail::register_all<suite##_##name>(::slat::test::Formats{}, #suite, #name, __FILE__, __LINE__); \
  template <class Format>                                                                                             \
  void suite##_##name<Format>::TestBody()
