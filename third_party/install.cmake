# `cmake --install` and `find_package(ito)`. Headers keep their folders below include/ito, so that
# `#include "tensor/tensor.h"` and `#include "ito.h"` mean the same inside and outside this tree.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS ito EXPORT ito_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
                                       LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${CMAKE_CURRENT_SOURCE_DIR}/ito.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ito)
foreach(folder tensor autograd nn data diffusion)
  install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/ito
          FILES_MATCHING PATTERN "*.h"
          PATTERN "config_json.h" EXCLUDE  # private: with nlohmann-json
          PATTERN "json_text.h" EXCLUDE)
endforeach()
install(FILES ${CMAKE_CURRENT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATAROOTDIR}/doc/ito)

set(ito_config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/ito)
install(EXPORT ito_targets NAMESPACE ito:: DESTINATION ${ito_config_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/ito-config.cmake.in
                              ${CMAKE_CURRENT_BINARY_DIR}/ito-config.cmake
                              INSTALL_DESTINATION ${ito_config_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/ito-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ito-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/ito-config-version.cmake
        DESTINATION ${ito_config_dir})
