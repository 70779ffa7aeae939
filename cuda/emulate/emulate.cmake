# Builds .cu files for the emulated device: the host compiler, stand-in headers first on the include
# path, and the emulator. See emulate.h.
#
# The emulator itself is never compiled with sanitizers: it tells them about threads that they cannot
# see.
add_library(ito_emulate OBJECT)
ito_sources(ito_emulate "" ${CMAKE_CURRENT_LIST_DIR}/cublas.cpp ${CMAKE_CURRENT_LIST_DIR}/memory.cpp)
ito_sources(ito_emulate emulate
  ${CMAKE_CURRENT_LIST_DIR}/block.cpp
  ${CMAKE_CURRENT_LIST_DIR}/fiber.cpp
  ${CMAKE_CURRENT_LIST_DIR}/runtime.cpp
  ${CMAKE_CURRENT_LIST_DIR}/settings.cpp
  ${CMAKE_CURRENT_LIST_DIR}/shared.cpp
  ${CMAKE_CURRENT_LIST_DIR}/stream.cpp
  ${CMAKE_CURRENT_LIST_DIR}/warp.cpp)
target_include_directories(ito_emulate PRIVATE ${CMAKE_CURRENT_LIST_DIR}/include ${CMAKE_SOURCE_DIR})
target_compile_features(ito_emulate PRIVATE cxx_std_20)
target_compile_options(ito_emulate PRIVATE -Wall -Wextra ${ito_shadow} -O2 -g
                       $<$<BOOL:${ITO_WERROR}>:-Werror>
                       $<$<BOOL:${ITO_ARCH}>:-march=${ITO_ARCH}>)
ito_eigen(ito_emulate)
target_sources(ito PRIVATE $<TARGET_OBJECTS:ito_emulate>)

# ito_add_cuda_sources(target file.cu...)
function(ito_add_cuda_sources target)
  target_sources(${target} PRIVATE ${ARGN})
  set_source_files_properties(${ARGN} TARGET_DIRECTORY ${target} PROPERTIES
    LANGUAGE CXX
    INCLUDE_DIRECTORIES ${CMAKE_SOURCE_DIR}/cuda/emulate/include
    COMPILE_OPTIONS "-Wno-conversion;-Wno-unknown-pragmas;$<$<CONFIG:Release>:-O2>")
endfunction()
