# What can be seen without building this tree: each check is one command of a second or two, so that a failure names
# its file. `static_check(suite name command...)` registers one; ctest's label is the suite.
set(scripts ${CMAKE_CURRENT_SOURCE_DIR}/scripts)
function(static_check suite name)
  add_test(NAME ${suite}:${name} COMMAND ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${suite}:${name} PROPERTIES LABELS ${suite} TIMEOUT 300)
endfunction()

set(warnings -Wall -Wextra -Wconversion -Wshadow -Werror)
set(host g++ -std=c++20 -Iinclude ${warnings})
set(host_clang clang++-16 -std=c++20 -Iinclude ${warnings})
set(arm aarch64-linux-gnu-g++ -std=c++20 -Iinclude ${warnings})
set(arm_clang clang++-16 --target=aarch64-linux-gnu -std=c++20 -Iinclude ${warnings})

# Freestanding: one object that instantiates the library asks the C library for nothing but the four mem functions.
foreach(target IN ITEMS aarch64 x86_64)
  foreach(compiler IN ITEMS gcc clang)
    foreach(level IN ITEMS O0 O2)
      static_check(freestanding ${target}-${compiler}-${level} ${scripts}/freestanding ${target} ${compiler} ${level})
    endforeach()
  endforeach()
endforeach()
static_check(freestanding catches-a-call-to-the-heap ${scripts}/expect_failure "may not need: _Znwm"
             ${scripts}/freestanding x86_64 gcc O2 tests/freestanding/hosted.cpp)

# Compile-fail: mistakes that must not compile, each beside its corrected twin.
file(GLOB mistakes RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS compile_fail/*.cpp)
foreach(mistake IN LISTS mistakes)
  cmake_path(GET mistake STEM name)
  static_check(compile_fail ${name}-gcc ${scripts}/compile_fail ${mistake} ${host})
  static_check(compile_fail ${name}-clang ${scripts}/compile_fail ${mistake} ${host_clang})
endforeach()

# Headers: each public one compiles alone. What is Arm's compiles as Arm code, because one file of it holds asm.
file(GLOB_RECURSE headers RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/mm/*.hpp
     ${PROJECT_SOURCE_DIR}/arch/*.hpp ${PROJECT_SOURCE_DIR}/testing/*.hpp)
# headers_compile(name headers... COMPILER command...): these, one after the other, are one translation unit.
function(headers_compile name)
  cmake_parse_arguments(PARSE_ARGV 1 "" "" "" COMPILER)
  list(TRANSFORM _UNPARSED_ARGUMENTS PREPEND "-include;slat/" OUTPUT_VARIABLE included)
  static_check(headers ${name} ${_COMPILER} -fsyntax-only ${included} -x c++ /dev/null)
endfunction()
foreach(header IN LISTS headers)
  set(compilers host host_clang)
  if(header MATCHES "^arch/aarch64/")
    set(compilers arm arm_clang)
  endif()
  foreach(compiler IN LISTS compilers)
    headers_compile(${header}-${compiler} ${header} COMPILER ${${compiler}})
  endforeach()
endforeach()
# All of them together as C++23, and by the newest clang that Debian 12 has.
set(arm_headers ${headers})
list(FILTER arm_headers EXCLUDE REGEX "^arch/x86_64/")
set(host_headers ${headers})
list(FILTER host_headers EXCLUDE REGEX "^arch/aarch64/tlb.hpp$")
foreach(mode IN ITEMS "g++ -std=c++23" "clang++-16 -std=c++2b" "clang++-22 -std=c++20" "clang++-22 -std=c++23")
  separate_arguments(command UNIX_COMMAND "${mode} -Iinclude")
  string(REPLACE " -std=" "-" name ${mode})
  headers_compile(all-${name} ${host_headers} COMPILER ${command} ${warnings})
  if(mode MATCHES "^clang")
    list(APPEND command --target=aarch64-linux-gnu)
  else()
    list(TRANSFORM command PREPEND aarch64-linux-gnu- AT 0)
  endif()
  headers_compile(all-${name}-arm ${arm_headers} COMPILER ${command} ${warnings})
endforeach()

# Includes: who may include what; and that each of these rules can fail.
foreach(rule IN ITEMS mm arch set standard spelling machine)
  static_check(includes ${rule} ${scripts}/includes ${rule})
endforeach()
static_check(includes every-rule-can-fail ${scripts}/includes_can_fail)

# Format and lint.
file(GLOB_RECURSE sources RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/hv/*.[ch]pp
     ${PROJECT_SOURCE_DIR}/tests/*.[ch]pp ${PROJECT_SOURCE_DIR}/bench/*.[ch]pp
     ${PROJECT_SOURCE_DIR}/tools/*.[ch]pp ${PROJECT_SOURCE_DIR}/testing/*.cpp)
foreach(file IN LISTS headers sources)
  static_check(format ${file} clang-format-16 --dry-run --Werror ${file})
endforeach()
# Headers are linted where they are used.
list(FILTER sources EXCLUDE REGEX "hpp$|^tests/compile_fail/|^tests/freestanding/hosted.cpp")
# The inspector's are built as one source, and so looked at: most of the time would go into headers that all include.
set(inspector ${sources})
list(FILTER inspector INCLUDE REGEX "^tools/")
list(FILTER inspector EXCLUDE REGEX "^tools/main.cpp")
list(REMOVE_ITEM sources ${inspector})
static_check(tidy tools ${scripts}/tidy ${inspector})
foreach(file IN LISTS sources)
  static_check(tidy ${file} ${scripts}/tidy ${file})
endforeach()

# Commands: what they answer to bad arguments, and how they end.
static_check(commands refusals ${scripts}/commands)
static_check(commands ends ${scripts}/ends)

# Consumers: the library as other projects get it, running the README's own example; and without an operating system.
foreach(way IN ITEMS installed pkg-config deb fetched)
  static_check(consumer ${way} ${scripts}/consumer ${way})
endforeach()
foreach(way IN ITEMS installed pkg-config fetched)
  static_check(consumer ${way}-aarch64 ${scripts}/consumer ${way} aarch64)
endforeach()
static_check(consumer deb-x86_64 ${scripts}/consumer deb x86_64)

# Documents: what they say is so. Their programs take longer than the rest, and are a suite of their own.
foreach(check IN ITEMS rules example pictures links)
  static_check(documents ${check} ${scripts}/documents ${check})
endforeach()
file(GLOB pages RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/*.md)
list(REMOVE_ITEM pages docs/tutorial.md)
foreach(page IN LISTS pages ITEMS README.md)
  static_check(programs ${page} ${scripts}/documents programs ${page})
endforeach()
foreach(check IN ITEMS tutorial formats reference)
  static_check(programs ${check} ${scripts}/documents ${check})
endforeach()
static_check(programs every-check-can-fail ${scripts}/documents_can_fail)

# Mutants: real defects, seeded in a copy of the tree, and what finds each.
file(GLOB patches RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS mutants/*.patch)
foreach(patch IN LISTS patches)
  cmake_path(GET patch STEM LAST_ONLY name)
  static_check(mutants ${name} ${scripts}/mutant ${patch})
endforeach()
file(GLOB checks RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS mutants/checks/*.cpp)
foreach(check IN LISTS checks)
  cmake_path(GET check STEM name)
  static_check(mutants none-${name} ${scripts}/mutant none ${name})
endforeach()
static_check(mutants no-line-twice ${scripts}/mutant --distinct)
static_check(mutants table ${scripts}/mutant --table)
static_check(mutants useless-patches-fail ${scripts}/mutant_can_fail)
