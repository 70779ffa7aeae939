#!/usr/bin/env bash
# Builds ito and runs its quick tests where CI does not: in Debian 13 (g++ 14, CMake 3.31, fmt 10), with its newer clang,
# and with newer releases of fmt. Says at the end what was covered and what was skipped, with the reason.
#   usage: scripts/test_distributions.sh [FOLDER]
#   ITO_DISTRIBUTIONS="gcc clang fmt"   which parts (default: all)
#   ITO_TARGETS="all"                   what to build; without test programs no tests are run
# FOLDER (default: a new one in the temporary folder) keeps the Debian 13 of an earlier call. Needs root, debootstrap
# (Debian package of that name) and a Debian mirror; takes about 2 GB and the time of a build for each part.
# fmt 11 and newer come from Debian's unstable distribution, whichever release it holds.
# Exit codes: 0 every part that could run passed, 1 a part failed, 2 wrong usage, 5 nothing could be run.
set -uo pipefail

source_dir=$(cd "$(dirname "$0")/.." && pwd)
mirror=${ITO_DEBIAN_MIRROR:-http://deb.debian.org/debian}
parts=${ITO_DISTRIBUTIONS:-gcc clang fmt}
targets=${ITO_TARGETS:-all}
if (($# > 1)) || [[ ${1:-} == -* ]]; then sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2; fi
((EUID == 0)) || { echo "test_distributions: needs root, for debootstrap and chroot" >&2; exit 5; }
command -v debootstrap >/dev/null ||
  { echo "test_distributions: needs debootstrap: apt-get install debootstrap" >&2; exit 5; }
work=${1:-$(mktemp -d)}
mkdir -p "$work"
root=$(cd "$work" && pwd)/trixie
log=$root/root/logs

if [[ ! -f $root/etc/debian_version ]]; then
  debootstrap --variant=minbase trixie "$root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    { echo "test_distributions: debootstrap failed: $work/debootstrap.log" >&2; exit 5; }
fi
mkdir -p "$log" "$root/root/ito"
cp /etc/resolv.conf "$root/etc/resolv.conf"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
  DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
install() { inside apt-get install -y -qq --no-install-recommends "$@" >>"$log/apt" 2>&1; }

if ! mountpoint -q "$root/proc"; then
  mount -t proc proc "$root/proc" && trap 'umount "$root/proc"' EXIT
fi
inside apt-get update -qq >>"$log/apt" 2>&1
mapfile -t packages < <(sed -n '/^build=(/,/)/p' "$source_dir/scripts/install_packages.sh" |
  tr -s '()\n ' '\n' | grep -v '^build=\?$')
install "${packages[@]}" doctest-dev ||
  { tail -3 "$log/apt" >&2; echo "test_distributions: packages failed: $log/apt" >&2; exit 5; }

# The files that git knows or would know, as they are now.
find "$root/root/ito" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
(cd "$source_dir" && git ls-files -z --cached --others --exclude-standard | xargs -0 tar -cf - --ignore-failed-read 2>/dev/null) |
  tar -xf - -C "$root/root/ito" --no-same-owner

covered=() skipped=() failed=()
# build NAME OPTION...: configures, builds and runs the quick tests in build/NAME.
build() {
  local name=$1 dir=/root/ito/build/$1
  shift
  echo "== $name"
  if ! inside cmake -S /root/ito -B "$dir" -G Ninja -DITO_CUDA=OFF -DITO_ARCH=x86-64-v3 -DCMAKE_UNITY_BUILD=ON \
    "$@" >"$log/$name.configure" 2>&1; then
    tail -5 "$log/$name.configure"
    failed+=("$name: configure")
    return
  fi
  # shellcheck disable=SC2086  # several targets
  if ! inside cmake --build "$dir" --target $targets >"$log/$name.build" 2>&1; then
    grep -m5 -E 'error|FAILED' "$log/$name.build"
    failed+=("$name: build, $log/$name.build")
    return
  fi
  local warnings
  warnings=$(grep -c 'warning:' "$log/$name.build")
  if [[ $targets != all ]]; then
    covered+=("$name: built $targets, $warnings warnings; no tests")
  elif inside ctest --test-dir "$dir" -LE slow -E '^(install|scripts_|docs_)' --output-on-failure \
    >"$log/$name.test" 2>&1; then
    covered+=("$name: built, $warnings warnings; $(grep -m1 'tests passed' "$log/$name.test")")
  else
    sed -n '/The following tests FAILED/,$p' "$log/$name.test"
    failed+=("$name: tests, $log/$name.test")
  fi
}
version() { inside dpkg-query -W -f '${Version}' "$1" | sed 's/[+-].*//'; }

for part in $parts; do
  case $part in
    gcc)
      build "gcc-$(inside g++ -dumpversion)-fmt-$(version libfmt-dev)" ;;
    clang)
      if install clang; then
        build "clang-$(inside clang++ -dumpversion)" -DCMAKE_CXX_COMPILER=clang++
      else
        skipped+=("clang: the package could not be installed, $log/apt")
      fi ;;
    fmt)
      # The package of unstable is unpacked in a folder of its own: it does not disturb the system of the chroot.
      inside rm -rf /root/fmt /root/fmt-debs
      mkdir -p "$root/root/fmt" "$root/root/fmt-debs"
      pool=$mirror/dists/sid/main/binary-amd64/Packages.xz
      files=$(curl -fsSL "$pool" 2>>"$log/apt" | xz -dc |
        awk '/^Package: /{p=$2} /^Filename: /{if (p ~ /^libfmt(-dev|[0-9]+)$/) print $2}')
      for file in $files; do curl -fsSL -o "$root/root/fmt-debs/${file##*/}" "$mirror/$file"; done
      for deb in "$root"/root/fmt-debs/*.deb; do [[ -f $deb ]] && dpkg-deb -x "$deb" "$root/root/fmt"; done
      found=$(sed -n 's/.*PACKAGE_VERSION "\(.*\)".*/\1/p' \
        "$root"/root/fmt/usr/lib/x86_64-linux-gnu/cmake/fmt/fmt-config-version.cmake 2>/dev/null | head -1)
      if [[ -z $found ]]; then
        skipped+=("fmt 11 and 12: unstable's libfmt-dev could not be fetched")
        continue
      fi
      build "fmt-$found" -Dfmt_DIR=/root/fmt/usr/lib/x86_64-linux-gnu/cmake/fmt
      for major in 11 12; do
        [[ $found == $major.* ]] || skipped+=("fmt $major: unstable holds fmt $found")
      done ;;
    *) echo "test_distributions: no part $part (gcc, clang, fmt)" >&2; exit 2 ;;
  esac
done

printf 'covered: %s\n' "${covered[@]:-nothing}"
for line in "${skipped[@]}" "GPUs: the CPU build alone" \
  "slow tests, and tests of scripts, documents and the installed package"; do
  printf 'skipped: %s\n' "$line"
done
if ((${#failed[@]} > 0)); then printf 'failed: %s\n' "${failed[@]}"; exit 1; fi
((${#covered[@]} > 0)) || exit 5
