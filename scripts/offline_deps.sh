#!/usr/bin/env bash
# Gathers the Debian packages that ito builds with into a folder, for a machine (x86-64 Debian or Ubuntu
# with a compiler and CMake) that has no package manager, root or network.
#   usage: scripts/offline_deps.sh DIR
#   there: cmake --preset release -DCMAKE_PREFIX_PATH=DIR/usr      (or scripts/gpu_check.sh --deps DIR)
# Needs apt-get with up-to-date lists, not root. About 17 MB. DIR must be empty or made by this script.
# Exit codes: 0 done, 2 wrong usage, 5 a package could not be had.
set -euo pipefail

(($# == 1)) && [[ $1 != -* ]] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
packages=(libfmt-dev libfmt9 zlib1g-dev libpng-dev nlohmann-json3-dev libcli11-dev libtomlplusplus-dev
          doctest-dev libeigen3-dev libbenchmark-dev libbenchmark1debian)
if [[ -e $1 && ! -f $1/README && -n $(ls -A "$1") ]]; then
  echo "offline_deps: $1 is not empty and was not made by this script" >&2
  exit 2
fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
  { echo "offline_deps: apt-get and dpkg-deb are needed to fetch packages" >&2; exit 5; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
work=$(mktemp -d "$dir/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

if ! (cd "$work" && apt-get download -qq "${packages[@]}") 2>"$work/log"; then
  cat "$work/log" >&2
  echo "offline_deps: the packages could not be fetched; if none is known here: apt-get update" >&2
  exit 5
fi
for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$work/root"; done

# What a build does not read stays out.
root=$work/root/usr
rm -rf "$root"/{share/doc,share/man,share/lintian,share/pkgconfig,bin,lib/x86_64-linux-gnu/pkgconfig}
# Headers that Debian keeps apart per processor: CMake is given one include folder.
if [[ -d $root/include/x86_64-linux-gnu ]]; then
  mv "$root"/include/x86_64-linux-gnu/* "$root/include/"
  rmdir "$root/include/x86_64-linux-gnu"
fi
# zlib and libpng are linked statically: the links to their shared halves lead out of this folder.
rm -f "$root"/lib/x86_64-linux-gnu/{libz,libpng,libpng16}.so
broken=$(find "$work/root" -xtype l)
[[ -z $broken ]] || { printf 'offline_deps: links without a target:\n%s\n' "$broken" >&2; exit 5; }

rm -rf "$dir/usr"
mv "$root" "$dir/usr"
{
  echo "Debian packages that ito builds with; use: cmake -DCMAKE_PREFIX_PATH=<this folder>/usr ..."
  (cd "$work" && ls ./*.deb) | sed 's,^\./,  ,'
} >"$dir/README"
echo "$dir: $(du -sm "$dir" | cut -f1) MB. Use it with: cmake --preset release -DCMAKE_PREFIX_PATH=$dir/usr"
