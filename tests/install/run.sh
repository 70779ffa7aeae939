#!/usr/bin/env bash
# Installs ito, compiled for any processor, into an empty folder and builds an outside project with
# find_package(ito). usage: run.sh SOURCE_DIR WORK_DIR [CMAKE_ARGUMENT...]
set -euo pipefail
source_dir=$1
work=$2
shift 2
rm -rf "$work/prefix" "$work/consumer"
cmake -S "$source_dir" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DITO_ARCH=x86-64 \
  -DITO_BUILD_TESTS=OFF -DITO_BUILD_EXAMPLES=OFF -DCMAKE_INSTALL_PREFIX="$work/prefix" "$@" >/dev/null
cmake --build "$work/build" >/dev/null
cmake --install "$work/build" >/dev/null
cmake -S "$source_dir/tests/install/consumer" -B "$work/consumer" -G Ninja \
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/consumer" >/dev/null
output=$("$work/consumer/consumer")
echo "consumer says: $output"
[[ -s $work/prefix/share/doc/ito/LICENSE ]]
[[ $output == "f32[4, 3] on cpu" ]]
