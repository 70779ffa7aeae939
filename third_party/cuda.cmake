# Which CUDA backend this build has: ito_cuda_build is OFF, ON (nvcc) or EMULATE afterwards, and
# ito_cuda_note says why; ito_cuda_code names what nvcc compiles for. From the root list, because a language is
# enabled for everything below it.
#
# ITO_CUDA=OFF searches for nothing. AUTO builds for the GPUs of this machine, and leaves the backend out where
# none answers, none is new enough or no toolkit works, and with sanitizers, which nvcc does not know. ON stops
# where no toolkit works; a GPU is not asked for. Architectures that the user names (CMAKE_CUDA_ARCHITECTURES or
# CUDAARCHS) are what both build for, GPU or not; of AUTO, native is the same as none named.
#
# Nothing that is decided here stays in the cache: the next configuration looks at the machine again.
include(third_party/gpu.cmake)
if(NOT ITO_CUDA MATCHES "^(AUTO|ON|OFF|EMULATE)$")
  message(FATAL_ERROR "ITO_CUDA must be AUTO, ON, OFF or EMULATE; got ${ITO_CUDA}")
endif()

# Enables CUDA, or sets ito_cuda_problem to what stands against it. With ito_cuda_architectures CUDA is for
# these. A macro: enable_language works at file scope only.
macro(ito_enable_nvcc)
  # Usual places, for a toolkit that is not on the PATH.
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(ITO_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda
                 PATH_SUFFIXES bin)
    mark_as_advanced(ITO_NVCC)
    if(ITO_NVCC)
      set(ENV{CUDACXX} ${ITO_NVCC})
    endif()
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    unset(CMAKE_CUDA_COMPILER CACHE)  # the next configuration looks again
    set(ito_cuda_problem "no nvcc that works with ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} \
was found (12.0 or newer; CUDACXX=/path/to/nvcc names one)")
  else()
    # To be said before the language is enabled: CMake's own choice has neither cp.async nor bf16 products.
    if(ito_cuda_architectures)
      ito_limit_to_nvcc(ito_cuda_architectures ${CMAKE_CUDA_COMPILER})
      set(CMAKE_CUDA_ARCHITECTURES ${ito_cuda_architectures})
    endif()
    enable_language(CUDA)
    find_package(CUDAToolkit QUIET)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.0)
      set(ito_cuda_problem "C++20 needs nvcc 12.0; found ${CMAKE_CUDA_COMPILER_VERSION}")
    elseif(NOT TARGET CUDA::cudart_static OR NOT TARGET CUDA::cublas)
      set(ito_cuda_problem "the toolkit of ${CMAKE_CUDA_COMPILER} lacks cudart_static or cuBLAS")
    else()
      set(ito_cuda_targets ${CMAKE_CUDA_ARCHITECTURES})
      if(ito_cuda_targets STREQUAL "native")
        set(ito_cuda_targets ${CMAKE_CUDA_ARCHITECTURES_NATIVE})
      endif()
      foreach(architecture IN LISTS ito_cuda_targets)
        if(architecture MATCHES "^([0-9]+)" AND CMAKE_MATCH_1 LESS 80)
          set(ito_cuda_problem "the kernels need sm_80; CMAKE_CUDA_ARCHITECTURES has ${architecture}")
        endif()
      endforeach()
    endif()
  endif()
endmacro()

set(ito_cuda_build ${ITO_CUDA})
set(ito_cuda_code "")
set(ito_cuda_note "ITO_CUDA=${ITO_CUDA}")
if(ITO_CUDA MATCHES "^(AUTO|ON)$")
  # Version 0.1 kept its own choice in the cache, where it looks like the user's.
  get_property(ito_help CACHE CMAKE_CUDA_ARCHITECTURES PROPERTY HELPSTRING)
  if(ito_help STREQUAL "GPU architectures to compile for")
    unset(CMAKE_CUDA_ARCHITECTURES CACHE)
  endif()

  # CMake itself looks at CUDAARCHS in the first configuration only.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND DEFINED ENV{CUDAARCHS})
    set(CMAKE_CUDA_ARCHITECTURES "$ENV{CUDAARCHS}" CACHE STRING "CUDA architectures")
  endif()
  set(ito_cuda_architectures "")
  set(ito_cuda_problem "")
  if(ITO_SANITIZE OR ITO_BUILD_FUZZERS)
    set(ito_cuda_problem "nvcc knows no sanitizers")
  elseif(ITO_CUDA STREQUAL "AUTO" AND "${CMAKE_CUDA_ARCHITECTURES}" MATCHES "^(native)?$")
    ito_gpu_architectures(ito_cuda_architectures ito_cuda_problem)
  elseif("${CMAKE_CUDA_ARCHITECTURES}" STREQUAL "")
    # Machine code for Ampere (80, 86), Ada (89) and Hopper (90), and PTX for what comes after.
    set(ito_cuda_architectures 80-real 86-real 89-real 90-real 90-virtual)
  endif()
  if(NOT ito_cuda_problem)
    ito_enable_nvcc()
  endif()
  if(NOT ito_cuda_problem)
    set(ito_cuda_build ON)
    ito_describe_architectures(ito_cuda_code ${CMAKE_CUDA_ARCHITECTURES})
    set(ito_cuda_note "nvcc ${CMAKE_CUDA_COMPILER_VERSION} for ${ito_cuda_code}; ITO_CUDA=OFF builds without")
  elseif(ITO_CUDA STREQUAL "ON")
    message(FATAL_ERROR "ITO_CUDA=ON: ${ito_cuda_problem}")
  else()
    set(ito_cuda_build OFF)
    set(ito_cuda_note "ITO_CUDA=AUTO: ${ito_cuda_problem}")
  endif()
endif()

if(ito_cuda_build STREQUAL "ON")
  # CMake 3.25 knows CUDA's dialects up to 17 and would silently take 17 for 20.
  if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
  endif()

  # Flags of every .cu file. -lineinfo: profilers and compute-sanitizer name source lines.
  add_library(ito_cuda_options INTERFACE)
  target_compile_options(ito_cuda_options INTERFACE
    $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -lineinfo -Xcompiler=-Wall,-Wextra>
    $<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${ITO_WERROR}>>:-Werror=all-warnings>)
  set(ito_cuda_launcher "")
  if(ITO_CUDA_RESOURCES)
    target_compile_options(ito_cuda_options INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-Xptxas=-v>)
    set(ito_cuda_launcher ${CMAKE_SOURCE_DIR}/scripts/nvcc_resources.sh)
  endif()

  # ito_add_cuda_sources(target file.cu...): the other build's is in cuda/emulate/emulate.cmake.
  function(ito_add_cuda_sources target)
    target_sources(${target} PRIVATE ${ARGN})
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:ito_cuda_options> CUDA::cudart_static
                                            CUDA::cublas)
    set_target_properties(${target} PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON
                                               CUDA_RUNTIME_LIBRARY Static)
    if(ito_cuda_launcher)
      set_target_properties(${target} PROPERTIES CUDA_COMPILER_LAUNCHER "${ito_cuda_launcher}")
    endif()
  endfunction()
endif()

# ito_use_cuda_runtime(target): for C++ files that include cuda/*.h and call the runtime.
function(ito_use_cuda_runtime target)
  if(ito_cuda_build STREQUAL "EMULATE")
    target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/cuda/emulate/include)
  else()
    target_link_libraries(${target} PRIVATE CUDA::cudart_static)
  endif()
endfunction()
