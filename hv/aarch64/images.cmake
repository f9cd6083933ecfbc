target_sources(board PRIVATE aarch64/entry.S aarch64/guest.S aarch64/stage1.cpp aarch64/death.cpp)

add_bare_image(hv aarch64/main.cpp)
add_bare_image(machine_tests "${machine_tests}/main.cpp" "${machine_tests}/stub.S")

# A guest that is a flat binary.
add_executable(flat_guest "${machine_tests}/flat_guest.S")
target_link_options(flat_guest PRIVATE LINKER:-Ttext=0)
add_flat_binary(flat_guest flat_guest)

add_initrd(guest/init.cpp)
