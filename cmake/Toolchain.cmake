# How everything is compiled and linked: C++20, ccache and mold where found,
# sanitizers by preset.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)

find_program(CCACHE ccache)
if(CCACHE)
  # Where it may not write, as without a home, it would fail every compilation.
  execute_process(COMMAND ${CCACHE} ${CMAKE_CXX_COMPILER} -c -x c++ /dev/null
                          -o ${PROJECT_BINARY_DIR}/CMakeFiles/ccache_try.o
                  RESULT_VARIABLE ccache_fails ERROR_VARIABLE ccache_error)
  if(ccache_fails)
    message(STATUS "Building without ccache, which does not work here: ${ccache_error}")
  endif()
endif()
if(CCACHE AND NOT ccache_fails)
  # The slackness that compiled headers need, no more.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # To look for memory that it could use again takes GCC every eighth second; of a
  # gigabyte, which few files need, it need not look.
  add_compile_options("SHELL:--param ggc-min-heapsize=1000000")
endif()

find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# LibTorch reaches its CUDA runtime through the executable's DT_RPATH, which,
# unlike RUNPATH, also holds for the libraries of libraries.
add_link_options(-Wl,--disable-new-dtags)

if(FEDTUNE_SANITIZE)
  # Tests that try very many cases try fewer.
  add_compile_definitions(FEDTUNE_UNDER_SANITIZER)
  add_compile_options(-fsanitize=${FEDTUNE_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${FEDTUNE_SANITIZE})
endif()
# Fuzz targets count which branches of the code they take.
if(FEDTUNE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
  set(FEDTUNE_UNCOUNTED -fno-sanitize=fuzzer-no-link)
endif()
