# How sources become translation units, which decides how long a build takes: of the second or two that g++ needs for
# an average file here, most goes into headers.
#
# With CMAKE_UNITY_BUILD (all presets but `dev`) the files of one group are compiled as one. Files without a group
# stay alone: kernels, whose loops take the time, and files that define macros or include what others must not see.
# Names in anonymous namespaces must then differ within a group; g++ says so where they do not.

# ito_sources(target group file...): adds files of the current folder to a target. group "": each on its own.
function(ito_sources target group)
  target_sources(${target} PRIVATE ${ARGN})
  set_target_properties(${target} PROPERTIES UNITY_BUILD_MODE GROUP)
  if(group AND ARGN)
    set_property(SOURCE ${ARGN} TARGET_DIRECTORY ${target} PROPERTY UNITY_GROUP ${group})
  endif()
endfunction()
