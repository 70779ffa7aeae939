# What this configuration builds, and which package would change it.
message(STATUS "ito ${PROJECT_VERSION}: ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}, ${CMAKE_BUILD_TYPE}")
message(STATUS "  native code  ${ITO_NATIVE}")
message(STATUS "  CUDA         ${ito_cuda_build} (${ito_cuda_note})")
message(STATUS "  examples     ${ITO_BUILD_EXAMPLES}")
message(STATUS "  tests        ${ITO_BUILD_TESTS}")
message(STATUS "  benchmarks   ${ITO_BUILD_BENCHMARKS}")
message(STATUS "  fuzzers      ${ITO_BUILD_FUZZERS}")
message(STATUS "  sanitizers   ${ITO_SANITIZE}")
