# One line per library, program and test, with every direct dependency named.
# docs/ARCHITECTURE.md says which folder may depend on which.

set(FEDTUNE_WARNINGS -Wall -Wextra -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # At -O2 GCC 12 reports copies and moves inside std::string (GCC bug 105651).
  list(APPEND FEDTUNE_WARNINGS -Wno-restrict -Wno-maybe-uninitialized)
endif()

set(FEDTUNE_TEST_OPTIONS ${FEDTUNE_WARNINGS} $<$<CONFIG:Debug>:-O0> ${FEDTUNE_UNCOUNTED})

include(cmake/PrecompiledHeaders.cmake)

# fedtune_library(<name> [SRCS ...] [DEPS ...])
function(fedtune_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SRCS;DEPS")
  if(arg_SRCS)
    add_library(${name} STATIC ${arg_SRCS})
    set(scope PUBLIC)
    target_compile_options(${name} PRIVATE ${FEDTUNE_WARNINGS})
    if("torchwheel::cpu" IN_LIST arg_DEPS)  # No fuzz target has it.
      target_compile_options(${name} PRIVATE ${FEDTUNE_UNCOUNTED})
      fedtune_precompile(${name} TENSORS)
    else()
      fedtune_precompile(${name} CODE)
    endif()
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
  fedtune_precompile(${name} CODE)
endfunction()

# Everything that ctest starts, but for the programs.
add_custom_target(all_tests)
add_custom_target(fuzz_targets)

# fedtune_test(<name> [THREADS] [LONG] [TOGETHER] [LESSER_CPUS] DEPS ...): builds <name>.cpp and
# registers its cases, one by one; under a sanitizer, where a process takes long to
# start and to end, all of them as one test. Tests run from the repository's root.
# THREADS: it starts threads; the thread sanitizer has nothing to say about any other,
# so only these are built for it. LONG: it is started before others, under a sanitizer
# in four parts. TOGETHER: always one test, because with LibTorch, too, a process takes
# a hundred times as long to start as a case to run. LESSER_CPUS: once more as on CPUs
# that have less (base/cpu.h), but for sanitizers. A test's own code is not optimised:
# compiling it well costs more than running it once.
function(fedtune_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "THREADS;LONG;TOGETHER;LESSER_CPUS" "" "DEPS")
  if(FEDTUNE_SANITIZE STREQUAL thread AND NOT arg_THREADS)
    return()
  endif()
  add_executable(${name} ${name}.cpp)
  target_compile_options(${name} PRIVATE ${FEDTUNE_TEST_OPTIONS})
  target_link_libraries(${name} PRIVATE ${arg_DEPS} fedtune::test_support GTest::gmock
                                        GTest::gtest_main)
  fedtune_precompile(${name} TESTS)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
  add_dependencies(all_tests ${name})
  set(properties TIMEOUT 900)
  if(arg_LONG)
    list(APPEND properties COST 100)
  endif()
  if(NOT FEDTUNE_SANITIZE AND NOT arg_TOGETHER)
    # To load LibTorch from a cold disk takes more than the five seconds of CMake's default.
    gtest_discover_tests(${name} NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 120
                         WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} PROPERTIES ${properties})
  elseif(arg_LONG)
    foreach(part RANGE 3)
      add_test(NAME ${name}.${part} COMMAND ${name} --gtest_brief
               WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
      set_tests_properties(${name}.${part} PROPERTIES ${properties}
                           ENVIRONMENT "GTEST_TOTAL_SHARDS=4;GTEST_SHARD_INDEX=${part}")
    endforeach()
  else()
    add_test(NAME ${name} COMMAND ${name} --gtest_brief WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES ${properties})
  endif()
  if(arg_LESSER_CPUS AND NOT FEDTUNE_SANITIZE)
    foreach(level portable avx512)
      add_test(NAME ${name}.${level} COMMAND ${name} --gtest_brief
               WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
      set_tests_properties(${name}.${level} PROPERTIES ${properties}
                           ENVIRONMENT "FEDTUNE_CPU=${level}")
    endforeach()
  endif()
endfunction()

# fedtune_fuzz_target(<name> DEPS ...): builds <name>.cpp with libFuzzer and
# registers a run over tests/fuzz/corpus/<name> for FEDTUNE_FUZZ_SECONDS.
set(FEDTUNE_FUZZ_SECONDS 60 CACHE STRING "How long each fuzz target runs under ctest")
set(FEDTUNE_FUZZ_SEED 1 CACHE STRING
    "What it draws from, so that a finding comes again; 0: another each time")
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
           COMMAND ${name} -max_total_time=${FEDTUNE_FUZZ_SECONDS} -seed=${FEDTUNE_FUZZ_SEED}
                   -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 ${found}
                   ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(fuzz.${name} PROPERTIES TIMEOUT 600)
endfunction()
