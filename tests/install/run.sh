#!/usr/bin/env bash
# Installs ito into an empty folder and builds an outside project with find_package(ito).
#   usage: run.sh SOURCE_DIR BUILD_DIR WORK_DIR [CMAKE_ARGUMENT...]
# BUILD_DIR: the build that is installed; "": a build of its own, compiled for any processor, with the arguments.
set -euo pipefail
source_dir=$1
build=$2
work=$3
shift 3
rm -rf "$work/prefix" "$work/consumer"
if [[ -z $build ]]; then
  build=$work/build
  cmake -S "$source_dir" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DITO_ARCH=x86-64 -DCMAKE_UNITY_BUILD=ON \
    -DITO_BUILD_TESTS=OFF -DITO_BUILD_EXAMPLES=OFF "$@" >/dev/null
  cmake --build "$build" >/dev/null
fi
cmake --install "$build" --prefix "$work/prefix" >/dev/null
cmake -S "$source_dir/tests/install/consumer" -B "$work/consumer" -G Ninja \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/consumer" >/dev/null
output=$("$work/consumer/consumer")
echo "consumer says: $output"
[[ -s $work/prefix/share/doc/ito/LICENSE ]]
[[ $output == "f32[4, 3] on cpu" ]]
