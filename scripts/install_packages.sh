#!/usr/bin/env bash
# Installs the Debian packages that ito builds with. usage: install_packages.sh build|test|data
#   build  library, example programs
#   test   build, and everything scripts/test.sh uses
#   data   Fashion-MNIST (dataset-fashion-mnist)
# Does nothing when they are there. Needs root or sudo otherwise.
set -euo pipefail

build=(g++ cmake ninja-build libfmt-dev zlib1g-dev libpng-dev libcli11-dev libtomlplusplus-dev
       nlohmann-json3-dev libeigen3-dev)
test=("${build[@]}" doctest-dev libbenchmark-dev clang-14 libclang-rt-14-dev clang-format-14
      curl python3-torch python3-numpy dataset-fashion-mnist)
data=(dataset-fashion-mnist)

case ${1:-} in
  build) wanted=("${build[@]}") ;;
  test) wanted=("${test[@]}") ;;
  data) wanted=("${data[@]}") ;;
  *) echo "usage: $0 build|test|data" >&2; exit 2 ;;
esac

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then exit 0; fi

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "install as root: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
