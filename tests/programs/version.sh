#!/usr/bin/env bash
# --version of every program: one block of four lines, which agree with CMake and with the compiler.
#   usage: version.sh BIN WORK VERSION OFF|ON|EMULATE CUDA_CODE COMPILER ARCH PROGRAM...
source "$(dirname "$0")/common.sh"
version=$3 cuda=$4 cuda_code=$5 compiler=$6 arch=$7
shift 7
(($# > 0)) || fail "no programs"

macros=$("$compiler" ${arch:+-march="$arch"} -dM -E -x c++ /dev/null)
has() { grep -q "^#define __$1__ " <<<"$macros"; }

# Feature, and the macro that says that the compiler may use it.
features=""
parts=""
for part in F BW CD DQ VL; do
  if has "AVX512$part"; then parts+=" ${part,,}"; fi
done
if [[ -n $parts ]]; then features="AVX-512 (${parts# }), "; fi
if has AVX2; then features+=AVX2
elif has AVX; then features+=AVX
elif has SSE4_2; then features+=SSE4.2
elif has SSE2; then features+=SSE2
elif has ARM_NEON; then features+=NEON
else features+="no vectors"; fi
if has FMA; then features+=", FMA"; fi
case $cuda in
  OFF) device="none: CPU only" ;;
  EMULATE) device="emulated device" ;;
  ON) device=$cuda_code ;;
esac
[[ -n $device ]] || fail "CMake does not say for which GPUs this is built"

for program in "$@"; do
  "$bin/$program" --version >"$work/stdout" 2>"$work/stderr" || fail "exit code $? of $program --version"
  [[ ! -s $work/stderr ]] || fail "$program --version writes to stderr: $(cat "$work/stderr")"
  mapfile -t lines <"$work/stdout"
  ((${#lines[@]} == 4)) || fail "$program --version has ${#lines[@]} lines, not 4: $(cat "$work/stdout")"
  [[ ${lines[0]} == "$program (ito $version)" ]] || fail "not $program (ito $version): ${lines[0]}"
  [[ ${lines[1]} =~ ^compiler\ +[A-Za-z]+\ [0-9.]+,\ .+ ]] || fail "$program: ${lines[1]}"
  [[ ${lines[1]} == *" $("$compiler" -dumpversion)"* ]] || fail "not this compiler: ${lines[1]}"
  [[ ${lines[2]} == processor\ *"${arch:+-march=$arch}"*": $features" ]] ||
    fail "the compiler's macros say $features, $program says ${lines[2]}"
  [[ ${lines[3]} =~ ^CUDA\ +(.*)$ && ${BASH_REMATCH[1]} == "$device" ]] ||
    fail "not $device: $program says ${lines[3]}"
done
echo "passed: $# programs"
cat "$work/stdout"
