// A mapper that has nothing to do with slat, run beside the hostile MMU: docs/hostile-mmu.md goes through it.
#include <cstdio>
#include <slat/testing/machine.hpp>
using namespace slat::testing;
using slat::HostPhys;

// Arm stage 2, 39 bits, no FEAT_BBM: a root, a table of blocks, a table of pages.
Machine mmu{ArmReader{{.granule_bits = 12, .input_bits = 39, .root = 2, .output_bits = 48}}};
constexpr HostPhys root{0x7'0000'0000}, blocks = root + 0x1000, pages = root + 0x2000;
constexpr std::uint64_t guest_memory = 0x1'0000'0000, table_bits = 0x3, page_bits = 0x7ff, block_bits = 0x7fd;

void flush_ipa(std::uint64_t ipa, unsigned level) {
  mmu.tell(What::dsb_ishst);
  mmu.tell(What::tlbi_ipas2e1is, (0b0100ull | level) << 44 | ipa >> 12);  // TTL: 4K granule, a leaf of this level
  mmu.tell(What::dsb_ish);
  mmu.tell(What::tlbi_vmalle1is);
  mmu.tell(What::dsb_ish);
  mmu.tell(What::isb);
}

int main() {
  for (auto const frame : {root, blocks, pages}) mmu.allocate(frame), mmu.zero(frame);
  mmu.tell(What::root, root);
  for (unsigned i = 0; i != 512; ++i) mmu.store(pages + 8 * i, (guest_memory + 0x1000 * i) | page_bits);
  mmu.store(blocks, pages.raw() | table_bits);
  mmu.store(root, blocks.raw() | table_bits);
  mmu.tell(What::dsb_ishst);

  // Dirty logging is over: the 512 pages become one block again.
  mmu.store(blocks, 0);
  flush_ipa(0, 2);
  mmu.release(pages);
  mmu.store(blocks, guest_memory | block_bits);
  mmu.tell(What::dsb_ishst);
  mmu.finish();

  auto const& violation = mmu.violation();
  std::puts(violation ? violation->text.substr(0, violation->text.find('\n')).c_str() : "sound");
  if (violation) std::fputs(text(shrink(mmu.trace())).c_str(), stdout);
}
