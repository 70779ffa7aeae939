#!/usr/bin/env bash
# scripts/results.sh with stand-ins for the programs: everything that docs/results.md shows is made, nothing
# is made twice, and a program that fails stops it. usage: results_test.sh SOURCE_DIR WORK_DIR
set -euo pipefail
source_dir=$1
work=$2
fail() { echo "FAILED: $*" >&2; exit 1; }
rm -rf "$work"
mkdir -p "$work"/{scripts,docs,build/release/bin,stand_in}
cp "$source_dir/scripts/results.sh" "$work/scripts/"
cp "$source_dir/docs/results.md" "$work/docs/"
cd "$work"
export PATH=$work/stand_in:$PATH
touch build/release/CMakeCache.txt
printf '#!/bin/sh\n' | tee stand_in/cmake >scripts/install_packages.sh
cat >build/release/bin/sample <<'PROGRAM'
#!/usr/bin/env bash
echo "$(basename "$0") $*" >>calls
[[ ! -e broken ]] || exit 5
while (($#)); do
  case $1 in
    --out) if [[ $2 == *.* ]]; then echo image >"$2"; else mkdir -p "$2/checkpoints"; fi; shift ;;
    --picture | --json) echo made >"$2"; shift ;;
    --steps | --guidance) what+=" $2"; shift ;;
  esac
  shift
done
[[ $0 != *evaluate ]] || printf '%s\n' 'bits' 'proxy distances' '  precision  recall' "  samples$what" \
  '  floor' '  pure noise'
PROGRAM
for program in evaluate train_mnist train_classifier; do cp build/release/bin/{sample,$program}; done
chmod +x scripts/* stand_in/* build/release/bin/*

touch broken
if scripts/results.sh --out first >log 2>&1; then fail "a program that fails does not stop it"; fi
[[ $(wc -l <calls) == 1 ]] || fail "it went on after a program that failed"
rm broken calls

scripts/results.sh --out out/results --docs >log 2>&1 || fail "$(cat log)"
grep -oE '\]\(images/results/[^)]*' docs/results.md | cut -d'(' -f2 | while read -r picture; do
  [[ -s docs/$picture ]] || fail "docs/results.md shows $picture, which is not made"
done
for made in docs/images/results/*; do
  grep -q "${made#docs/}" docs/results.md || fail "$made is not on the page"
done
for text in '  samples 5' '  samples 50' '  samples 25 3' 'unipc_20.png'; do
  grep -qx -- "$text\( .*\)\?" docs/results.md || fail "the page lacks: $text"
done
[[ $(grep -c '^<!-- results: ' docs/results.md) == $(grep -c '^```text' docs/results.md) ]] ||
  fail "a block of the page was not filled"

cp docs/results.md once.md
mv calls calls.once
scripts/results.sh --out out/results --docs >log 2>&1
[[ ! -e calls ]] || fail "made again: $(cat calls)"
cmp docs/results.md once.md || fail "the page changed without new results"
code=0
scripts/results.sh --what >log 2>&1 || code=$?
[[ $code == 2 ]] && grep -q 'unknown argument' log || fail "an unknown argument"
echo "passed"
