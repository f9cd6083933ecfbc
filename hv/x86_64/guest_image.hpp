#pragma once

// Any guest that there is a way to load.

#include "hv/x86_64/linux_guest.hpp"
#include "hv/x86_64/multiboot_guest.hpp"

namespace hv {

/// `ram` is the guest's, in bytes. `buffers` outlive the result.
inline OrRefusal<LoadedGuest> load_guest(const GuestFiles& files, std::uint64_t ram, LoadBuffers& buffers) {
  if (ram <= high_ram) return does_not_fit;
  if (ram > device_area.begin.raw()) return Refusal{"a guest has 3 GiB of RAM at most: above are its devices"};
  if (bzimage::is_one(files.kernel)) return load_linux(files, ram, buffers);
  if (auto const header = multiboot::find_header(files.kernel)) return load_multiboot(files, *header, ram, buffers);
  return Refusal{"the guest is neither a bzImage nor a 32-bit multiboot kernel"};
}

}  // namespace hv
