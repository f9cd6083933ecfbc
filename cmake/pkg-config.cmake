# slat.pc, and one for each further target with the same name. They are for every architecture, so they lie in share/.
set(slat_directory ${CMAKE_INSTALL_DATADIR}/pkgconfig)
file(RELATIVE_PATH slat_prefix /${slat_directory} /)
string(REGEX REPLACE "/$" "" slat_prefix ${slat_prefix})
# Appending an absolute path replaces what was there.
set(slat_includedir "\${prefix}")
cmake_path(APPEND slat_includedir ${CMAKE_INSTALL_INCLUDEDIR})

function(slat_pkg_config slat_name slat_description slat_fields)
  configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/slat.pc.in ${PROJECT_BINARY_DIR}/${slat_name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${slat_name}.pc DESTINATION ${slat_directory} COMPONENT dev)
endfunction()
slat_pkg_config(slat "${PROJECT_DESCRIPTION} (C++20, headers only)" "Cflags: -I\${includedir}")
slat_pkg_config(slat-aarch64 "Arm stage-2 translation tables" "Requires: slat = ${PROJECT_VERSION}")
slat_pkg_config(slat-x86_64 "Intel EPT and AMD nested page tables" "Requires: slat = ${PROJECT_VERSION}")
slat_pkg_config(slat-testing "The hostile MMU, for tests of second-stage mappers on a host"
                "Requires: slat-aarch64 = ${PROJECT_VERSION}, slat-x86_64 = ${PROJECT_VERSION}")
