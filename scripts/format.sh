#!/usr/bin/env bash
# Formats every C++ file; with --check only says which are not formatted, or have a line of over 100 columns (in
# characters; clang-format does not break comments), and exits 1.
# Debian 12's clang-format-14, so that everybody's agrees.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh')
if [[ ${1:-} == --check ]]; then
  clang-format-14 --dry-run --Werror "${files[@]}"
  ! LC_ALL=C.UTF-8 grep -nE '^.{101,}' "${files[@]}"
else
  clang-format-14 -i "${files[@]}"
fi
