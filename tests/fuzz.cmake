# Fuzz targets: one executable for each tests/fuzz/x_fuzz.cpp, one test for each target. A test runs the corpus, then
# fuzzes for SLAT_FUZZ_SECONDS.
set(SLAT_FUZZ_SECONDS 60 CACHE STRING "How long each fuzz target is run")

file(GLOB sources CONFIGURE_DEPENDS fuzz/*_fuzz.cpp)
foreach(source IN LISTS sources)
  cmake_path(GET source STEM name)
  # Texts of traces reach the judge alone, no table of the library: a quarter of the time.
  set(seconds ${SLAT_FUZZ_SECONDS})
  if(name STREQUAL "trace_fuzz" AND seconds GREATER 3)
    math(EXPR seconds "${seconds} / 4")
  endif()
  string(REGEX REPLACE "_fuzz$" "" target ${name})
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE slat::testing)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wconversion -Wshadow -Werror)
  # Inputs are choices, not magic words: to trace comparisons takes half of the time and finds nothing.
  target_compile_options(${name} PRIVATE -fno-sanitize-coverage=trace-cmp)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_test(NAME fuzz:${target}
           COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/scripts/fuzz ${target} ${seconds} $<TARGET_FILE_DIR:${name}>)
  math(EXPR limit "${SLAT_FUZZ_SECONDS} * 2 + 300")
  set_tests_properties(fuzz:${target} PROPERTIES LABELS fuzz TIMEOUT ${limit})
endforeach()
