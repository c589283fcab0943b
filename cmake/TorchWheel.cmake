# LibTorch from the official wheel, as the target torchwheel::cpu. find_package(Torch) is not used: it wants the
# whole CUDA toolkit even for a CPU program.

if(DEFINED ENV{FEDTUNE_CACHE})
  set(cache_root $ENV{FEDTUNE_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(cache_root $ENV{XDG_CACHE_HOME}/fedtune)
else()
  set(cache_root $ENV{HOME}/.cache/fedtune)
endif()
set(FEDTUNE_LIBTORCH ${cache_root}/libtorch-2.11.0/torch CACHE PATH
    "The torch folder of the unpacked wheel torch==2.11.0")
if(NOT EXISTS ${FEDTUNE_LIBTORCH}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "no LibTorch in ${FEDTUNE_LIBTORCH}; run deploy/bootstrap.sh, "
                      "or set FEDTUNE_LIBTORCH, or build without it (-DFEDTUNE_TORCH=OFF)")
endif()

add_library(torchwheel::c10 SHARED IMPORTED GLOBAL)
set_target_properties(torchwheel::c10 PROPERTIES
  IMPORTED_LOCATION ${FEDTUNE_LIBTORCH}/lib/libc10.so)

add_library(torchwheel::cpu SHARED IMPORTED GLOBAL)
set_target_properties(torchwheel::cpu PROPERTIES
  IMPORTED_LOCATION ${FEDTUNE_LIBTORCH}/lib/libtorch_cpu.so)
target_link_libraries(torchwheel::cpu INTERFACE torchwheel::c10)
# -idirafter: the wheel carries the headers of an old protobuf, which must lose
# against the system's.
target_compile_options(torchwheel::cpu INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter ${FEDTUNE_LIBTORCH}/include -idirafter ${FEDTUNE_LIBTORCH}/include/torch/csrc/api/include>")
target_link_options(torchwheel::cpu INTERFACE
  -Wl,--allow-shlib-undefined -Wl,--no-as-needed)
