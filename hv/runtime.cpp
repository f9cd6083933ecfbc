// What a compiler expects of its surroundings although the program is freestanding. Bytewise on purpose where the
// alignment is unknown: the first calls come with the MMU off, when unaligned accesses fault.

#include <cstddef>
#include <cstdint>

// This file is compiled so that the compiler does not turn these loops into calls of themselves (see CMakeLists.txt).

namespace {

using Word = std::uint64_t;

bool words(const void* a, const void* b) {
  return ((reinterpret_cast<std::uintptr_t>(a) | reinterpret_cast<std::uintptr_t>(b)) & (sizeof(Word) - 1)) == 0;
}

}  // namespace

extern "C" {

void* memcpy(void* __restrict to, const void* __restrict from, std::size_t size) {
  auto* t = static_cast<unsigned char*>(to);
  auto const* f = static_cast<const unsigned char*>(from);
  if (words(to, from)) {
    for (; size >= sizeof(Word); size -= sizeof(Word), t += sizeof(Word), f += sizeof(Word))
      *reinterpret_cast<Word*>(t) = *reinterpret_cast<const Word*>(f);
  }
  while (size-- != 0) *t++ = *f++;
  return to;
}

void* memmove(void* to, const void* from, std::size_t size) {
  auto* const t = static_cast<unsigned char*>(to);
  auto const* const f = static_cast<const unsigned char*>(from);
  if (reinterpret_cast<std::uintptr_t>(t) - reinterpret_cast<std::uintptr_t>(f) >= size) return memcpy(to, from, size);
  while (size-- != 0) t[size] = f[size];
  return to;
}

void* memset(void* to, int value, std::size_t size) {
  auto* t = static_cast<unsigned char*>(to);
  auto const byte = static_cast<unsigned char>(value);
  if (words(to, nullptr)) {
    for (; size >= sizeof(Word); size -= sizeof(Word), t += sizeof(Word))
      *reinterpret_cast<Word*>(t) = Word{byte} * 0x0101010101010101;
  }
  while (size-- != 0) *t++ = byte;
  return to;
}

int memcmp(const void* a, const void* b, std::size_t size) {
  auto const* x = static_cast<const unsigned char*>(a);
  auto const* y = static_cast<const unsigned char*>(b);
  for (; size-- != 0; ++x, ++y)
    if (*x != *y) return *x - *y;
  return 0;
}

std::size_t strlen(const char* text) {
  std::size_t length = 0;
  while (text[length] != '\0') ++length;
  return length;
}

void* memchr(const void* where, int value, std::size_t size) {
  auto const* at = static_cast<const unsigned char*>(where);
  for (; size-- != 0; ++at)
    if (*at == static_cast<unsigned char>(value)) return const_cast<unsigned char*>(at);
  return nullptr;
}

}  // extern "C"
