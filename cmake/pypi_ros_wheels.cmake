# For machines that have no ROS and take it from PyPI (requirements-ros.txt); never used with a
# ROS from apt. Passed by the Makefile as CMAKE_PROJECT_INCLUDE. It mends two things once the
# whole CMakeLists.txt has been read:
#
# - The wheels' exported targets name include directories of the machine that built the wheels,
#   and CMake refuses targets whose include directories do not exist: those are dropped.
# - The environment the wheels live in (.venv) lies inside the source tree, and CMake refuses to
#   export a target whose include directories do (numpy's, here): those are kept for this build
#   and left out of the export.
cmake_minimum_required(VERSION 3.21)

function(_infinipot_mend_include_directories)
  get_property(imported DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY IMPORTED_TARGETS)
  get_property(built DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS imported built)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT directories)
      continue()
    endif()
    set(kept "")
    foreach(directory IN LISTS directories)
      string(FIND "${directory}" "${CMAKE_SOURCE_DIR}/" inside)
      if(directory MATCHES "^\\$<")
        list(APPEND kept "${directory}")
      elseif(inside EQUAL 0 AND target IN_LIST built)
        list(APPEND kept "$<BUILD_INTERFACE:${directory}>")
      elseif(IS_DIRECTORY "${directory}" OR target IN_LIST built)
        list(APPEND kept "${directory}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
  endforeach()
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL _infinipot_mend_include_directories)
