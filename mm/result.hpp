#pragma once

// A value, or the error that explains its absence.

#include <memory>
#include <type_traits>
#include <utility>

#include <slat/mm/error.hpp>

namespace slat {

/// A `T`, or why there is none. Dropping one is a warning. (C++20 has no std::expected, and libstdc++ 12's is neither
/// [[nodiscard]] nor visible to clang 16.)
template <class T = void>
class [[nodiscard]] Result {
 public:
  /// A value, or a reason: a function returns either as it is.
  /// @{
  constexpr Result(T value) : value_{std::move(value)}, ok_{true} {}
  constexpr Result(const Error& why) : why_{why}, ok_{false} {}
  /// @}
  /// Takes the value; what is left of the source may only be destroyed.
  constexpr Result(Result&& from) noexcept : ok_{from.ok_} {
    if (ok_)
      std::construct_at(&value_, std::move(from.value_));
    else
      std::construct_at(&why_, from.why_);
  }
  Result(const Result&) = delete;
  Result& operator=(Result&&) = delete;
  Result& operator=(const Result&) = delete;
  constexpr ~Result()
    requires(!std::is_trivially_destructible_v<T>)
  {
    if (ok_) std::destroy_at(&value_);
  }
  constexpr ~Result() = default;

  /// Whether there is a value.
  constexpr explicit operator bool() const { return ok_; }
  /// The value. Only when the result is true.
  /// @{
  constexpr T& operator*() & { return value_; }
  constexpr const T& operator*() const& { return value_; }
  constexpr T&& operator*() && { return std::move(value_); }
  constexpr T* operator->() { return &value_; }
  constexpr const T* operator->() const { return &value_; }
  /// @}
  /// The reason. Only when the result is false.
  constexpr const Error& error() const { return why_; }

 private:
  union {
    T value_;
    Error why_;
  };
  bool ok_;
};

/// Success, or why not.
template <>
class [[nodiscard]] Result<void> {
 public:
  /// Success, or a reason.
  /// @{
  constexpr Result() : none_{}, ok_{true} {}
  constexpr Result(const Error& why) : why_{why}, ok_{false} {}
  /// @}

  /// Whether it is success.
  constexpr explicit operator bool() const { return ok_; }
  /// The reason. Only when the result is false.
  constexpr const Error& error() const { return why_; }
  /// Nothing: for SLAT_TRY.
  constexpr void operator*() const {}

 private:
  struct None {};
  union {
    None none_;
    Error why_;
  };
  bool ok_;
};

}  // namespace slat

/// The value of `expr`, or return its error from this function.
#define SLAT_TRY(expr)           \
  __extension__({                \
    auto slat_try_ = (expr);     \
    if (!slat_try_) [[unlikely]] \
      return slat_try_.error();  \
    *std::move(slat_try_);       \
  })
