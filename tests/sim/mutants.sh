#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Is the simulator awake? Each patch in mutants/ takes one guard out of a copy of the sources; the
# simulator, built from that copy, must then fail within so many seeds, or in what its line "Try: ..." names instead
# (arguments of the simulator: the story that shows it fastest). Its first line says which guard and which trap.
#
# usage: mutants.sh FOLDER SEEDS [NAME...]
#   FOLDER  where the copy and its objects go; kept between runs, so that only what changed is built
#   SEEDS   seeds tried on each mutant, from 1
#   NAME    only these mutants
# MUTANTS_OF=COMMIT in the environment: of that commit's sources instead of the files as they lie here.
# Exit code 1 if a mutant survives, does not build, or its patch does not fit any more.
set -eu

folder=$1
seeds=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
tree=$folder/tree
sources=$root
if [ -n "${MUTANTS_OF:-}" ]; then
    sources=$folder/sources
    rm -rf "$sources"
    mkdir -p "$sources"
    git -C "$root" archive "$MUTANTS_OF" | tar -x -C "$sources"
fi

# Copy what differs, so that times of unchanged files stay and make builds little.
refresh() {
    mkdir -p "$tree"
    for part in Makefile VERSION src include tests/sim tests/lib; do
        (cd "$sources" && find "$part" -type f 2>/dev/null) | while read -r file; do
            if ! cmp -s "$sources/$file" "$tree/$file"; then
                mkdir -p "$tree/$(dirname "$file")"
                cp "$sources/$file" "$tree/$file"
            fi
        done
    done
}

build() {
    make -s -C "$tree" BUILD=build build/release/tests/sim/sim >"$folder/build.log" 2>&1
}

try() {
    with=$(sed -n 's/^Try: //p' "$1")
    # Words on purpose: arguments.
    # shellcheck disable=SC2086
    "$tree/build/release/tests/sim/sim" ${with:---seeds "1-$seeds"}
}

refresh
if ! build; then
    echo "the unchanged sources do not build, see $folder/build.log"
    exit 1
fi
if ! "$tree/build/release/tests/sim/sim" --seeds "1-3" >"$folder/unchanged.log" ||
    ! "$tree/build/release/tests/sim/sim" --scenario all >>"$folder/unchanged.log"; then
    echo "the unchanged sources fail, see $folder/unchanged.log"
    exit 1
fi

if [ $# -eq 0 ]; then
    set -- $(cd "$here/mutants" && ls ./*.patch | sed 's|^\./||; s|\.patch$||')
fi

survivors=0
count=0
printf '%-34s %-10s %s\n' mutant result "what the simulator said"
for name in "$@"; do
    patch=$here/mutants/$name.patch
    count=$((count + 1))
    if ! patch -s -p1 -d "$tree" --dry-run <"$patch" >/dev/null 2>&1; then
        printf '%-34s %-10s %s\n' "$name" "NO FIT" "the guard has moved; write the patch anew"
        survivors=$((survivors + 1))
        continue
    fi
    patch -s -p1 -d "$tree" --no-backup-if-mismatch <"$patch"
    if ! build; then
        printf '%-34s %-10s %s\n' "$name" "NO BUILD" "see $folder/$name.build.log"
        cp "$folder/build.log" "$folder/$name.build.log"
        survivors=$((survivors + 1))
    elif try "$patch" >"$folder/$name.log" 2>&1; then
        printf '%-34s %-10s %s\n' "$name" SURVIVES "$(tail -n +1 "$folder/$name.log" | grep -m 1 ' seeds, '): $(head -n 1 "$patch")"
        survivors=$((survivors + 1))
    else
        said=$(grep -m 1 '^FAILED' "$folder/$name.log" | sed 's/^FAILED //; s/commit=[^ ]* //; s/scenario=//' | cut -c1-110)
        printf '%-34s %-10s %s\n' "$name" caught "$said"
    fi
    refresh
done
echo "$((count - survivors)) of $count caught"
[ "$survivors" -eq 0 ]
