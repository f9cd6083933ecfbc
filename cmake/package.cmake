# `cpack -G DEB`: one package for each install component. What installs into another component than `dev` makes another
# package, named by CPACK_DEBIAN_<COMPONENT>_PACKAGE_NAME, and is of this machine's architecture unless it says otherwise.
set(CPACK_PACKAGE_CONTACT "The slat authors <slat@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)

set(CPACK_DEBIAN_DEV_DESCRIPTION "Maps guest-physical to host-physical memory: stage-2 tables on Arm, EPT on Intel,
nested page tables on AMD. Headers alone, for freestanding and hosted C++20, with a
CMake package and pkg-config files.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libslat-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
# Debian has its licences there.
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libslat-dev RENAME copyright COMPONENT dev)

if("tools" IN_LIST SLAT_BUILD)
  set(CPACK_DEBIAN_TOOLS_DESCRIPTION "Shows and checks second-stage tables of any hypervisor: Arm stage 2, EPT and NPT,
in a raw image, in an ELF core, or in a live QEMU.")
  set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME slat-tools)
  set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION devel)
  set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/slat-tools RENAME copyright COMPONENT tools)
endif()
get_cmake_property(CPACK_COMPONENTS_ALL COMPONENTS)
list(REMOVE_ITEM CPACK_COMPONENTS_ALL Unspecified)
include(CPack)
