# One line per library, program and test, with every direct dependency named.
# docs/ARCHITECTURE.md says which folder may depend on which.

set(FEDTUNE_WARNINGS -Wall -Wextra -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # At -O2 GCC 12 reports copies and moves inside std::string (GCC bug 105651).
  list(APPEND FEDTUNE_WARNINGS -Wno-restrict -Wno-maybe-uninitialized)
endif()

# fedtune_library(<name> [SRCS ...] [DEPS ...])
function(fedtune_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SRCS;DEPS")
  if(arg_SRCS)
    add_library(${name} STATIC ${arg_SRCS})
    set(scope PUBLIC)
    target_compile_options(${name} PRIVATE ${FEDTUNE_WARNINGS})
  else()
    add_library(${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${name} ${scope} ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} ${scope} ${arg_DEPS})
  add_library(fedtune::${name} ALIAS ${name})
endfunction()

# fedtune_program(<name> SRCS ... DEPS ...)
function(fedtune_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SRCS;DEPS")
  add_executable(${name} ${arg_SRCS})
  target_compile_options(${name} PRIVATE ${FEDTUNE_WARNINGS})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_DEPS})
endfunction()

# Everything that ctest starts, but for the programs.
add_custom_target(all_tests)
add_custom_target(fuzz_targets)

# fedtune_test(<name> [THREADS] DEPS ...): builds <name>.cpp and registers its
# cases. Tests run from the repository's root. THREADS: it starts threads; the
# thread sanitizer has nothing to say about any other, so only these are built
# for it. A test's own code is not optimised: compiling it well costs more than
# running it once.
function(fedtune_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "THREADS" "" "DEPS")
  if(FEDTUNE_SANITIZE STREQUAL thread AND NOT arg_THREADS)
    return()
  endif()
  add_executable(${name} ${name}.cpp)
  target_compile_options(${name} PRIVATE ${FEDTUNE_WARNINGS} $<$<CONFIG:Debug>:-O0>)
  target_link_libraries(${name} PRIVATE ${arg_DEPS} fedtune::test_support GTest::gmock
                                        GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  add_dependencies(all_tests ${name})
  gtest_discover_tests(${name} NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST
                       WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} PROPERTIES TIMEOUT 900)
endfunction()

# fedtune_fuzz_target(<name> DEPS ...): builds <name>.cpp with libFuzzer and
# registers a run over tests/fuzz/corpus/<name> for FEDTUNE_FUZZ_SECONDS.
set(FEDTUNE_FUZZ_SECONDS 60 CACHE STRING "How long each fuzz target runs under ctest")
function(fedtune_fuzz_target name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "DEPS")
  if(NOT FEDTUNE_FUZZ)
    return()
  endif()
  add_executable(${name} ${name}.cpp)
  target_compile_options(${name} PRIVATE ${FEDTUNE_WARNINGS} -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE ${arg_DEPS})
  add_dependencies(fuzz_targets ${name})
  set(found ${CMAKE_CURRENT_BINARY_DIR}/corpus/${name})
  file(MAKE_DIRECTORY ${found})
  add_test(NAME fuzz.${name}
           COMMAND ${name} -max_total_time=${FEDTUNE_FUZZ_SECONDS} -rss_limit_mb=2048
                   -timeout=10 -print_final_stats=1 ${found}
                   ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 600)
endfunction()
