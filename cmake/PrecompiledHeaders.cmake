# Headers of libraries that most files include, compiled once, for clang: GCC wants the
# same macros in all files that share one. The presets asan and tsan have them; the
# others do not, so that each file has to name what it uses.
#
# fedtune_precompile(<target> CODE|TENSORS|TESTS): the target's files begin with them, and
# with LibTorch's where a target names it. A compiled header serves one level of
# optimisation, so tests have their own, with GoogleTest's.

option(FEDTUNE_PRECOMPILE "Compile the most used headers of libraries once" OFF)

if(NOT FEDTUNE_PRECOMPILE)
  function(fedtune_precompile target kind)
  endfunction()
  return()
endif()

if(NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
  message(FATAL_ERROR "FEDTUNE_PRECOMPILE needs clang")
endif()
add_compile_options(-pthread)  # As the headers are: gRPC's targets ask for it.
add_compile_options("SHELL:-Xclang -fno-pch-timestamp")  # Or ccache finds none of them.

set(headers
    <algorithm> <array> <chrono> <cstdint> <filesystem> <functional> <map> <memory> <optional>
    <span> <string> <string_view> <utility> <variant> <vector>
    <absl/container/flat_hash_map.h> <absl/status/status.h> <absl/status/statusor.h>
    <absl/strings/str_cat.h> <absl/synchronization/mutex.h> <absl/time/time.h>
    <fmt/format.h> <google/protobuf/message.h> <grpcpp/grpcpp.h>)

set(file ${CMAKE_CURRENT_BINARY_DIR}/precompiled.cpp)
file(CONFIGURE OUTPUT ${file} CONTENT "")
foreach(kind CODE TESTS)
  add_library(precompiled_${kind} OBJECT ${file})
  target_link_libraries(precompiled_${kind} PRIVATE absl::status fmt::fmt gRPC::grpc++)
endforeach()
target_compile_options(precompiled_CODE PRIVATE ${FEDTUNE_WARNINGS})
target_precompile_headers(precompiled_CODE PRIVATE ${headers})
target_compile_options(precompiled_TESTS PRIVATE ${FEDTUNE_TEST_OPTIONS})
target_link_libraries(precompiled_TESTS PRIVATE GTest::gmock)
target_precompile_headers(precompiled_TESTS PRIVATE ${headers} <gmock/gmock.h> <gtest/gtest.h>)

if(FEDTUNE_TORCH)
  add_library(precompiled_TENSORS OBJECT ${file})
  target_compile_options(precompiled_TENSORS PRIVATE ${FEDTUNE_WARNINGS} ${FEDTUNE_UNCOUNTED})
  target_link_libraries(precompiled_TENSORS
    PRIVATE absl::status fmt::fmt gRPC::grpc++ torchwheel::cpu)
  target_precompile_headers(precompiled_TENSORS PRIVATE ${headers}
    <ATen/Parallel.h> <ATen/TensorOperators.h> <ATen/core/Tensor.h> <ATen/core/grad_mode.h>
    <ATen/ops/empty.h> <ATen/ops/from_blob.h>)
endif()

function(fedtune_precompile target kind)
  target_precompile_headers(${target} REUSE_FROM precompiled_${kind})
endfunction()
