# LibTorch from the official wheel, as the targets torchwheel::cpu and, with
# FEDTUNE_CUDA, torchwheel::cuda. find_package(Torch) is not used: it wants the
# whole CUDA toolkit even for a CPU program.

if(NOT "$ENV{FEDTUNE_CACHE}" STREQUAL "")
  set(cache_root $ENV{FEDTUNE_CACHE})
elseif(NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
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
set(torch_include ${FEDTUNE_LIBTORCH}/include)
# -idirafter: the wheel carries the headers of an old protobuf, which must lose
# against the system's.
target_compile_options(torchwheel::cpu INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter \"${torch_include}\">"
  "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-idirafter \"${torch_include}/torch/csrc/api/include\">")
# The wheel's OpenMP runtime, of which model/transformer/parallel.cpp calls a function.
add_library(torchwheel::gomp SHARED IMPORTED GLOBAL)
set_target_properties(torchwheel::gomp PROPERTIES
  IMPORTED_LOCATION ${FEDTUNE_LIBTORCH}/lib/libgomp.so.1)
target_link_options(torchwheel::cpu INTERFACE
  -Wl,--allow-shlib-undefined -Wl,--no-as-needed)

if(FEDTUNE_CUDA)
  # Of the toolkit only headers are used, as CUDAToolkit_INCLUDE_DIRS: the wheel's
  # own lack those in crt/. They are no part of torchwheel::cuda, so that all else
  # is compiled as without CUDA. What is linked comes from the wheel and from the
  # packages beside it.
  find_package(CUDAToolkit 13.0 REQUIRED)
  if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 14)
    message(FATAL_ERROR "LibTorch 2.11.0 is built with CUDA 13, and the toolkit found is "
                        "${CUDAToolkit_VERSION}; set CUDAToolkit_ROOT to one of version 13")
  endif()
  set(beside_torch ${FEDTUNE_LIBTORCH}/../nvidia)
  cmake_path(NORMAL_PATH beside_torch)
  if(NOT EXISTS ${beside_torch}/cudnn/lib/libcudnn.so.9)
    message(STATUS "The GPU libraries beside LibTorch are missing: programs link but do not start; "
                   "deploy/bootstrap.sh --gpu installs them")
  endif()

  add_library(torchwheel::cudart SHARED IMPORTED GLOBAL)
  set_target_properties(torchwheel::cudart PROPERTIES
    IMPORTED_LOCATION ${beside_torch}/cu13/lib/libcudart.so.13)

  add_library(torchwheel::c10_cuda SHARED IMPORTED GLOBAL)
  set_target_properties(torchwheel::c10_cuda PROPERTIES
    IMPORTED_LOCATION ${FEDTUNE_LIBTORCH}/lib/libc10_cuda.so)

  # Nothing of ours calls into libtorch_cuda.so: it registers its operations with
  # libtorch_cpu.so when it is loaded, hence torchwheel::cpu's --no-as-needed.
  add_library(torchwheel::cuda SHARED IMPORTED GLOBAL)
  set_target_properties(torchwheel::cuda PROPERTIES
    IMPORTED_LOCATION ${FEDTUNE_LIBTORCH}/lib/libtorch_cuda.so)
  target_link_libraries(torchwheel::cuda INTERFACE torchwheel::cpu torchwheel::c10_cuda
                                                   torchwheel::cudart)
endif()
