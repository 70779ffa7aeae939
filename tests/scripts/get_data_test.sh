#!/usr/bin/env bash
# Tests scripts/get_data.sh without a network: with small files, a table of their sizes and hashes, and a
# `curl` that serves a folder.
#   usage: get_data_test.sh SOURCE_DIR
set -uo pipefail
source_dir=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

check() {  # DESCRIPTION COMMAND...
  local what=$1
  shift
  if "$@"; then echo "ok    $what"; else echo "WRONG $what"; sed 's/^/      | /' "$work/log"; ((++failures)); fi
}
says() { grep -qF -- "$1" "$work/log"; }
run() {  # EXPECTED_CODE ARGUMENTS...
  local expected=$1 code
  shift
  PATH=$work/bin:$PATH "$work/scripts/get_data.sh" "$@" >"$work/log" 2>&1
  code=$?
  ((code == expected)) && return 0
  echo "exit code $code, expected $expected" >>"$work/log"
  return 1
}
no_parts() { [[ -z $(find "$1" -name '*.part' -print -quit) ]]; }
same() { cmp -s "$1" "$2"; }

# --- small stand-ins for the data sets
mkdir -p "$work"/{bin,scripts,good,bad} "$work/archive/cifar-10-batches-bin"
cp "$source_dir/scripts/get_data.sh" "$work/scripts/"
for name in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
  head -c 5000 /dev/urandom >"$work/good/$name-ubyte.gz"
  echo "<html>not found</html>" >"$work/bad/$name-ubyte.gz"
done
for batch in data_batch_{1,2,3,4,5} test_batch; do
  echo "$batch" >"$work/archive/cifar-10-batches-bin/$batch.bin"
done
echo surprise >"$work/archive/cifar-10-batches-bin/readme.html"
tar -czf "$work/good/cifar-10-binary.tar.gz" -C "$work/archive" cifar-10-batches-bin
for file in "$work"/good/*; do
  name=$(basename "$file")
  set=mnist
  [[ $name == cifar* ]] && set=cifar10
  printf '%s\t%s\t%s\t%s\t%s\t%s\n' $set "$name" "$(stat -c %s "$file")" \
    "$(sha256sum <"$file" | cut -d' ' -f1)" https://first.example/d https://second.example/d
done >"$work/scripts/get_data.tsv"

# curl: https://HOST/d/FILE is served from the folder named in $work/HOST, from where FILE.part ends; no
# such file means that the host cannot be reached. The first CUT bytes only, when $work/cut says so.
cat >"$work/bin/curl" <<'CURL'
#!/usr/bin/env bash
work=$(dirname "$0")/..
while (($#)); do
  case $1 in
    -o) out=$2; shift ;;
    -C) resume=1; shift ;;
    --proto) [[ $2 == '=https' ]] || exit 99; shift ;;
    --retry | --connect-timeout | --speed-limit | --speed-time) shift ;;
    -*) ;;
    *) url=$1 ;;
  esac
  shift
done
host=${url#https://}; host=${host%%/*}
echo "$url" >>"$work/requests"
[[ -f $work/$host && $resume ]] || exit 6
file=$(cat "$work/$host")/${url##*/}
[[ -f $file ]] || exit 22
begin=0
[[ -f $out ]] && begin=$(stat -c %s "$out")
echo "from $begin" >>"$work/requests"
if [[ -f $work/cut ]]; then
  tail -c +$((begin + 1)) "$file" | head -c "$(cat "$work/cut")" >>"$out"
  exit 18
fi
tail -c +$((begin + 1)) "$file" >>"$out"
CURL
chmod +x "$work/bin/curl"
up() { echo "$2" >"$work/$1.example"; }
down() { rm -f "$work/$1.example"; }
requests() { wc -l 2>/dev/null <"$work/requests" || echo 0; }

# --- usage
check "no data set is wrong usage" run 2
check "an unknown argument is wrong usage" run 2 mnist --fast
check "--dir without a folder is wrong usage" run 2 mnist --dir
check "two data sets are wrong usage" run 2 mnist cifar10
check "--offline needs a folder that exists" run 2 mnist --offline "$work/none"
check "--help" run 0 --help
check "--help names the flags" says '--offline FOLDER'

# --- offline
target="$work/a folder ü"
check "unreachable mirrors end with code 5" run 5 mnist --dir "$target"
check "and say what to do" says "scripts/get_data.sh mnist --offline FOLDER"
check "--offline copies" run 0 mnist --dir "$target" --offline "$work/good"
check "the copy is whole" same "$target/train-images-idx3-ubyte.gz" "$work/good/train-images-idx3-ubyte.gz"
check "no part stays" no_parts "$target"
rm -f "$work/requests"
check "a second run does nothing" run 0 mnist --dir "$target"
check "and asks no mirror" [ "$(requests)" = 0 ]
check "a wrong file offline ends with code 3" run 3 mnist --dir "$work/b" --offline "$work/bad"
check "and both sizes are named" says "expected 5000 bytes"
check "a wrong file does not stay" [ -z "$(ls -A "$work/b")" ]
check "a missing file offline ends with code 3" run 3 cifar10 --dir "$work/b" --offline "$work/bad"

# --- mirrors
up first "$work/bad"; up second "$work/good"
check "a mirror that serves web pages is passed over" run 0 mnist --dir "$work/c"
check "the second mirror's file is used" same "$work/c/t10k-labels-idx1-ubyte.gz" "$work/good/t10k-labels-idx1-ubyte.gz"
check "the wrong file is reported" says "wrong file"
down second
check "only wrong files: code 5" run 5 mnist --dir "$work/d"
check "and nothing is kept" [ -z "$(ls -A "$work/d")" ]

# --- resuming
up first "$work/good"; echo 1000 >"$work/cut"; rm -f "$work/requests"
check "a connection that breaks: code 5" run 5 mnist --dir "$work/e"
check "what arrived is kept" [ "$(stat -c %s "$work"/e/*.part)" = 1000 ]
rm -f "$work/cut"
check "the next run ends it" run 0 mnist --dir "$work/e"
check "from where it stopped" grep -q "from 1000" "$work/requests"
check "the file is whole" same "$work/e/t10k-images-idx3-ubyte.gz" "$work/good/t10k-images-idx3-ubyte.gz"
cp "$work/good/t10k-images-idx3-ubyte.gz" "$work/e/t10k-images-idx3-ubyte.gz.part"
rm -f "$work/e/t10k-images-idx3-ubyte.gz"
check "a part that is whole is used without a request" run 0 mnist --dir "$work/e"
head -c 9000 /dev/urandom >"$work/e/t10k-images-idx3-ubyte.gz.part"
rm -f "$work/e/t10k-images-idx3-ubyte.gz"
check "a part that is too long is fetched again" run 0 mnist --dir "$work/e"
check "no part stays" no_parts "$work/e"

# --- CIFAR-10
check "cifar10 is fetched and unpacked" run 0 cifar10 --dir "$work/f"
check "a batch is whole" same "$work/f/cifar-10-batches-bin/data_batch_3.bin" "$work/archive/cifar-10-batches-bin/data_batch_3.bin"
check "only the named members are unpacked" [ ! -e "$work/f/cifar-10-batches-bin/readme.html" ]
check "nothing else stays" [ "$(ls -A "$work/f" | sort | tr '\n' ' ')" = "cifar-10-batches-bin cifar-10-binary.tar.gz " ]
rm -f "$work/requests" "$work/f/cifar-10-binary.tar.gz"
check "a second run does nothing, even without the archive" run 0 cifar10 --dir "$work/f"
check "and asks no mirror" [ "$(requests)" = 0 ]
printf 'x' >>"$work/good/cifar-10-binary.tar.gz"
check "an archive that fails its check is never unpacked" run 5 cifar10 --dir "$work/g"
check "nothing of it is left" [ -z "$(ls -A "$work/g")" ]

if ((EUID != 0)); then
  mkdir "$work/locked" && chmod 500 "$work/locked"
  check "a folder that cannot be written: code 5" run 5 mnist --dir "$work/locked/x"
fi

# --- the real table
check "the table has five files with sizes, hashes and https mirrors" \
  [ "$(grep -cP '^(mnist|cifar10)\t[\w.-]+\t\d+\t[0-9a-f]{64}(\thttps://[\w.~/-]+)+$' "$source_dir/scripts/get_data.tsv")" = 5 ]

echo "$failures wrong"
exit $((failures > 0))
