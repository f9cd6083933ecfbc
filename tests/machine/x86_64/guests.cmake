# Guests of the x86_64 hypervisor, in `tree` and, by the other compiler, in `clang_tree`: Debian's kernel and a small
# multiboot kernel, as guests under SVM and under VMX. Label `linux_x86`.
add_custom_target(debian_kernel_x86_64 ALL COMMAND "${PROJECT_SOURCE_DIR}/cmake/debian-kernel" x86_64
                                                   "${PROJECT_BINARY_DIR}/debian-x86_64")

function(add_guest_test name)
  add_test(NAME linux_x86.${name} COMMAND ${ARGN})
  # Bochs interprets.
  set_tests_properties(linux_x86.${name} PROPERTIES LABELS linux_x86 TIMEOUT 240)
endfunction()

function(read_rows file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/${file}")
  file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/${file}" rows REGEX "^[^#]")
  set(rows "${rows}" PARENT_SCOPE)
endfunction()

set(boot "${CMAKE_CURRENT_LIST_DIR}/../boot")
set(kernel "${PROJECT_BINARY_DIR}/debian-x86_64/linux")
read_rows(linux_cases)
foreach(row IN LISTS rows)
  string(REGEX REPLACE " *\\| *" ";" columns "${row}")
  list(GET columns 0 name)
  list(GET columns 1 machine)
  list(GET columns 2 arguments)
  separate_arguments(arguments)
  add_guest_test(${name} "${boot}" ${machine} "${tree}" "${kernel}" ${arguments})
endforeach()
add_guest_test(svm.clang "${boot}" x86_64 "${clang_tree}" "${kernel}" --populate demand)
add_guest_test(vmx.clang "${boot}" x86_64-vmx "${clang_tree}" "${kernel}" --populate demand)

read_rows(multiboot_cases)
foreach(row IN LISTS rows)
  string(REGEX REPLACE " *\\| *" ";" columns "${row}")
  list(POP_FRONT columns name)
  foreach(machine IN ITEMS x86_64 x86_64-vmx)
    foreach(populate IN ITEMS blocks demand)
      string(REPLACE "x86_64-vmx" vmx kind "${machine}")
      string(REPLACE "x86_64" svm kind "${kind}")
      add_guest_test(multiboot.${kind}.${populate}.${name} "${CMAKE_CURRENT_LIST_DIR}/multiboot" ${machine} "${tree}"
                     ${populate} ${columns})
    endforeach()
  endforeach()
endforeach()

add_guest_test(refusals "${CMAKE_CURRENT_LIST_DIR}/refusals" "${tree}")
