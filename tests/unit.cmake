# One executable for each tests/unit/x_test.cpp. Its cases run in four processes: one for each of four thousand cases
# costs more than most of them. GoogleTest is built from Debian's sources with this tree's own compiler and flags: so the
# same file serves the sanitizers and the cross compiler.
set(GOOGLETEST_SOURCE_DIR /usr/src/googletest CACHE PATH "Sources of GoogleTest")
set(BUILD_GMOCK OFF CACHE BOOL "")
set(INSTALL_GTEST OFF CACHE BOOL "")
add_subdirectory(${GOOGLETEST_SOURCE_DIR} googletest EXCLUDE_FROM_ALL SYSTEM)

add_library(unit_test INTERFACE)
target_link_libraries(unit_test INTERFACE slat::testing GTest::gtest_main)
target_include_directories(unit_test INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests)
target_compile_options(unit_test INTERFACE -Wall -Wextra -Wconversion -Wshadow -Werror)

set(SLAT_UNIT_TESTS "*" CACHE STRING "Which files of tests/unit, as a pattern without the suffix")
set(SLAT_UNIT_EXCEPT "" CACHE STRING "And which of these not, as a regular expression")
set(SLAT_UNIT_OPTIMISED "" CACHE STRING "Which of them to build with -Og whatever the flags say, as a regular expression")
file(GLOB sources CONFIGURE_DEPENDS unit/${SLAT_UNIT_TESTS}.cpp)
foreach(source IN LISTS sources)
  cmake_path(GET source STEM name)
  if(SLAT_UNIT_EXCEPT AND name MATCHES "${SLAT_UNIT_EXCEPT}")
    continue()
  endif()
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE unit_test)
  # Parsing GoogleTest takes longer than most of these files: once is enough.
  if(SLAT_UNIT_OPTIMISED AND name MATCHES "${SLAT_UNIT_OPTIMISED}")
    target_compile_options(${name} PRIVATE -Og)
  elseif(NOT precompiled)
    target_precompile_headers(${name} PRIVATE <gtest/gtest.h>)
    set(precompiled ${name})
  else()
    target_precompile_headers(${name} REUSE_FROM ${precompiled})
  endif()
  foreach(shard RANGE 3)
    add_test(NAME ${name}:${shard} COMMAND ${name})
    set_tests_properties(${name}:${shard} PROPERTIES LABELS unit TIMEOUT 600 ENVIRONMENT
      "GTEST_TOTAL_SHARDS=4;GTEST_SHARD_INDEX=${shard};LLVM_PROFILE_FILE=${PROJECT_BINARY_DIR}/profiles/${name}.%m")
  endforeach()
endforeach()

# What all of these execute of mm/ and arch/, where the compiler counts it; and that too little of it is a failure.
if(CMAKE_CXX_FLAGS MATCHES "-fcoverage-mapping")
  set(coverage ${CMAKE_CURRENT_SOURCE_DIR}/scripts/coverage ${PROJECT_BINARY_DIR})
  add_test(NAME coverage:mm-and-arch COMMAND ${coverage})
  set_tests_properties(coverage:mm-and-arch PROPERTIES LABELS coverage TIMEOUT 900 RUN_SERIAL TRUE)
  add_test(NAME coverage:too-little-fails
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/scripts/expect_failure "less than the wanted 98 % of lines" ${coverage}
                   memory_set_join_test)
  set_tests_properties(coverage:too-little-fails PROPERTIES LABELS coverage TIMEOUT 300)
endif()
