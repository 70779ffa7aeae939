#!/usr/bin/env bash
# Fetches MNIST or CIFAR-10 and checks every file before it is used.
#   usage: scripts/get_data.sh mnist|cifar10 [--dir DIR] [--offline FOLDER]
#     --dir DIR          where to put the files (default: data/mnist or data/cifar10 of this folder)
#     --offline FOLDER   copy the files from FOLDER instead of the network, with the same checks
# Can be stopped and run again: it continues, and does nothing when all is there. Sizes, SHA-256 and
# mirrors are in get_data.tsv beside this script.
# Exit codes: 0 done, 2 wrong usage, 3 a file given with --offline is wrong, 5 it cannot be fetched or stored.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0"; }
stop() { local code=$1; shift; printf 'get_data: %s\n' "$@" >&2; exit "$code"; }

dataset='' dir='' offline=''
while (($#)); do
  case $1 in
    mnist | cifar10) [[ -z $dataset ]] || { usage >&2; exit 2; }; dataset=$1 ;;
    --dir | --offline)
      (($# > 1)) && [[ -n $2 ]] || stop 2 "$1 needs a folder"
      if [[ $1 == --dir ]]; then dir=$2; else offline=$2; fi
      shift ;;
    -h | --help) usage; exit 0 ;;
    *) printf 'get_data: unknown argument "%s"\n' "$1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
[[ -n $dataset ]] || { usage >&2; exit 2; }
[[ -z $offline || -d $offline ]] || stop 2 "--offline $offline: no such folder"
dir=${dir:-$here/../data/$dataset}
mkdir -p "$dir" || stop 5 "$dir cannot be made"

members=(cifar-10-batches-bin/{data_batch_{1,2,3,4,5},test_batch}.bin)

size_of() { stat -L -c %s "$1" 2>/dev/null || echo 0; }
hash_of() { sha256sum <"$1" | cut -d' ' -f1; }
verified() {  # FILE BYTES SHA256
  [[ -f $1 && $(size_of "$1") == "$2" && $(hash_of "$1") == "$3" ]]
}

# One mirror: continues FILE.part, and leaves what arrived for the next try.
download() {  # URL PART BYTES
  local url=$1 part=$2 bytes=$3 show=(--silent --show-error)
  [[ -t 2 ]] && show=(--progress-bar)
  (($(size_of "$part") == bytes)) && return 0
  (($(size_of "$part") > bytes)) && rm -f "$part"
  curl -fL --proto '=https' --retry 3 --connect-timeout 20 --speed-limit 1000 --speed-time 60 \
    "${show[@]}" -C - -o "$part" "$url"
}

fetch() {  # FILE BYTES SHA256 MIRROR...
  local file=$1 bytes=$2 sha=$3 mirror part=$dir/$1.part status
  shift 3
  command -v curl >/dev/null || stop 5 "curl is not installed. On Debian: apt-get install curl"
  for mirror in "$@"; do
    echo "$file ($bytes bytes) from $mirror"
    download "$mirror/$file" "$part" "$bytes"
    status=$?
    if ((status == 23)); then stop 5 "$part cannot be written: is the disk full?"; fi
    if ((status != 0)); then
      echo "  not reached (curl: $status)" >&2
    elif verified "$part" "$bytes" "$sha"; then
      mv -f "$part" "$dir/$file" || stop 5 "$dir/$file cannot be written"
      return 0
    else
      echo "  wrong file: expected $bytes bytes with SHA-256 $sha, got $(size_of "$part")" >&2
      rm -f "$part"  # not to be continued
    fi
  done
  stop 5 "$file could not be fetched from any mirror." \
    "Without a network: copy $file from elsewhere into a folder, then" \
    "  scripts/get_data.sh $dataset --offline FOLDER" \
    "No download at all: --dataset synthetic, or Fashion-MNIST (apt-get install dataset-fashion-mnist)."
}

copy() {  # FILE BYTES SHA256
  local source=$offline/$1 part=$dir/$1.part
  [[ -f $source ]] || stop 3 "$source: no such file"
  cp -f "$source" "$part" || { rm -f "$part"; stop 5 "$part cannot be written: is the disk full?"; }
  if ! verified "$part" "$2" "$3"; then
    rm -f "$part"
    stop 3 "$source: expected $2 bytes with SHA-256 $3," \
      "  got $(size_of "$source") bytes with SHA-256 $(hash_of "$source")"
  fi
  mv -f "$part" "$dir/$1" || stop 5 "$dir/$1 cannot be written"
}

# Only the files that ito reads come out of the archive, all of them or none.
unpack() {
  local folder=$dir/cifar-10-batches-bin temporary=$dir/.unpack.part member
  rm -rf "$temporary" && mkdir -p "$temporary" || stop 5 "$temporary cannot be made"
  if ! tar -xzf "$dir/cifar-10-binary.tar.gz" -C "$temporary" --no-same-owner "${members[@]}"; then
    rm -rf "$temporary"
    stop 5 "cifar-10-binary.tar.gz could not be unpacked into $dir: is the disk full?"
  fi
  rm -rf "$folder" && mv "$temporary/cifar-10-batches-bin" "$folder" && rmdir "$temporary" ||
    stop 5 "$folder cannot be written"
}

unpacked() {
  local member
  for member in "${members[@]}"; do [[ -f $dir/$member ]] || return 1; done
}

if [[ $dataset == cifar10 ]] && unpacked; then
  echo "$dir/cifar-10-batches-bin is there already"
  exit 0
fi
while IFS=$'\t' read -r -a row; do
  [[ ${row[0]:-} == "$dataset" ]] || continue
  if verified "$dir/${row[1]}" "${row[2]}" "${row[3]}"; then
    echo "${row[1]} is there already"
  elif [[ -n $offline ]]; then
    copy "${row[@]:1:3}"
  else
    fetch "${row[@]:1}"
  fi
done <"$here/get_data.tsv"
[[ $dataset == cifar10 ]] && unpack
echo "$dataset is in $dir"
