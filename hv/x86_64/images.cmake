target_sources(board PRIVATE x86_64/entry.S x86_64/vectors.S x86_64/board.cpp x86_64/svm_entry.S
                             x86_64/vmx_entry.S)

# A flat binary with a multiboot header, for hv/x86_64/machine.
function(add_machine_image name)
  add_bare_image(${name} ${ARGN})
  add_flat_binary(${name} ${name})
endfunction()

# The end of the ROM that a machine without firmware gets.
set(rom_script "${CMAKE_CURRENT_SOURCE_DIR}/x86_64/rom.ld")
add_executable(rom x86_64/rom.S)
set_target_properties(rom PROPERTIES LINK_DEPENDS "${rom_script}")
target_link_options(rom PRIVATE "LINKER:-T,${rom_script}")
target_link_libraries(rom PRIVATE bare)
add_flat_binary(rom rom)

add_machine_image(hv x86_64/main.cpp)
add_machine_image(machine_tests "${machine_tests}/main.cpp" "${machine_tests}/stub.S" "${machine_tests}/small_guest.S")

# A guest that is a 32-bit multiboot kernel.
add_custom_command(
  OUTPUT multiboot_guest.elf
  COMMAND ${CMAKE_ASM_COMPILER} "$<$<BOOL:${CMAKE_ASM_COMPILER_TARGET}>:--target=${CMAKE_ASM_COMPILER_TARGET}>" -m32 -nostdlib -static -Wl,-Ttext=0x100000 -Wl,--build-id=none -Wl,-z,noexecstack
          "${machine_tests}/multiboot_guest.S" -o multiboot_guest.elf
  DEPENDS "${machine_tests}/multiboot_guest.S"
  COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(multiboot_guest ALL DEPENDS multiboot_guest.elf)

add_initrd(guest/init.cpp)
