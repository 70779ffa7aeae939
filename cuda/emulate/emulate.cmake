# Builds .cu files for the emulated device: the host compiler, stand-in headers first on the include
# path, and the emulator. See emulate.h.
#
# The emulator itself is never compiled for ThreadSanitizer: it tells the sanitizer about threads that
# the sanitizer cannot see.
add_library(ito_emulate OBJECT
  ${CMAKE_CURRENT_LIST_DIR}/fiber.cpp
  ${CMAKE_CURRENT_LIST_DIR}/runtime.cpp
  ${CMAKE_CURRENT_LIST_DIR}/cublas.cpp)
target_include_directories(ito_emulate PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_LIST_DIR}/include)
target_compile_features(ito_emulate PRIVATE cxx_std_20)
target_compile_options(ito_emulate PRIVATE -Wall -Wextra -Wshadow -O2 -g
                       $<$<BOOL:${ITO_WERROR}>:-Werror>)
ito_find(Eigen3 libeigen3-dev)
target_link_libraries(ito_emulate PRIVATE Eigen3::Eigen)
target_sources(ito PRIVATE $<TARGET_OBJECTS:ito_emulate>)

# ito_add_cuda_sources(target file.cu...)
function(ito_add_cuda_sources target)
  target_sources(${target} PRIVATE ${ARGN})
  set_source_files_properties(${ARGN} TARGET_DIRECTORY ${target} PROPERTIES
    LANGUAGE CXX
    INCLUDE_DIRECTORIES ${CMAKE_SOURCE_DIR}/cuda/emulate/include
    COMPILE_OPTIONS "-Wno-conversion;-Wno-unknown-pragmas")
endfunction()
