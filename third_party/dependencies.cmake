# Finds what ito builds with. Nothing is vendored and nothing is downloaded.

# find_package with the Debian package that fixes a failure.
macro(ito_find name debian_package)
  find_package(${name} QUIET)
  if(NOT ${name}_FOUND)
    message(FATAL_ERROR "ito needs ${name}. On Debian: apt-get install ${debian_package}")
  endif()
endmacro()

ito_find(Threads libc6-dev)
ito_find(fmt libfmt-dev)
ito_find(ZLIB zlib1g-dev)
ito_find(PNG libpng-dev)
ito_find(nlohmann_json nlohmann-json3-dev)
ito_find(Eigen3 libeigen3-dev)
if(ITO_BUILD_EXAMPLES OR ITO_BUILD_TESTS)
  ito_find(CLI11 libcli11-dev)
  # Its headers alone: Debian's CMake target would also link a shared library.
  find_path(ITO_TOMLPLUSPLUS_INCLUDE toml++/toml.h DOC "The folder that holds toml++/toml.h")
  mark_as_advanced(ITO_TOMLPLUSPLUS_INCLUDE)
  if(NOT ITO_TOMLPLUSPLUS_INCLUDE)
    message(FATAL_ERROR "ito needs toml++. On Debian: apt-get install libtomlplusplus-dev")
  endif()
endif()
if(ITO_BUILD_TESTS)
  ito_find(doctest doctest-dev)
endif()
if(ITO_BUILD_BENCHMARKS)
  ito_find(benchmark libbenchmark-dev)
endif()

# Flags of every target of this project, and of no one who uses the library.
add_library(ito_options INTERFACE)
# Where files are compiled together, a name of one file is not shadowed by another's (unity.cmake).
set(ito_shadow -Wshadow)
if(CMAKE_UNITY_BUILD)
  set(ito_shadow $<$<CXX_COMPILER_ID:GNU>:-Wshadow=local>)
endif()
# Not of nvcc: its flags are in cuda.cmake.
set(ito_cxx_flags -Wall -Wextra ${ito_shadow} -Wconversion -Wno-sign-conversion -fno-math-errno -fno-trapping-math
                  $<$<BOOL:${ITO_WERROR}>:-Werror> $<$<BOOL:${ITO_ARCH}>:-march=${ITO_ARCH}>)
if(ITO_ARCH MATCHES "^(native|x86-64-v4)$" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND ito_cxx_flags -mprefer-vector-width=512)
endif()
target_compile_options(ito_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${ito_cxx_flags}>")
if(ITO_SANITIZE)
  target_compile_options(ito_options INTERFACE -fsanitize=${ITO_SANITIZE} -fno-omit-frame-pointer
                                               -fno-sanitize-recover=all)
  # With sanitizers g++ 12 believes that the standard library and its own AVX-512 headers read values
  # before they are set. The release build has these warnings on.
  target_compile_options(ito_options INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized -Wno-maybe-uninitialized>)
  target_link_options(ito_options INTERFACE -fsanitize=${ITO_SANITIZE})
endif()
if(ITO_BUILD_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "ITO_BUILD_FUZZERS needs clang. On Debian: apt-get install clang-14, and "
                        "configure with --preset fuzz")
  endif()
  # Counters of the code that an input reaches; the programs themselves link -fsanitize=fuzzer.
  target_compile_options(ito_options INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(ito_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# ito_eigen(target file...): Eigen for a target; with files, for these of it. g++ 12's own AVX-512 headers,
# which Eigen uses, are reported as reading uninitialised values; they do so on purpose (_mm512_undefined).
function(ito_eigen target)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:Eigen3::Eigen>)
  set(quiet $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized -Wno-maybe-uninitialized>)
  if(ARGN)
    set_property(SOURCE ${ARGN} TARGET_DIRECTORY ${target} APPEND PROPERTY COMPILE_OPTIONS "${quiet}")
  else()
    target_compile_options(${target} PRIVATE ${quiet})
  endif()
endfunction()
