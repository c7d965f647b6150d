#!/bin/bash
# robust.sh — corrupted test pictures from the command line: made here, read as ImageNet-C's and CIFAR-C's folders, in a
# recipe, with any number of threads, and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

sed -i 's/count: 40, size: 32/count: 60, size: 32, classes: 3/; s/count: 12, size: 32,/count: 21, size: 32, classes: 3,/' tiny.yaml
exits 0 smalti train tiny.yaml --runs runs --quiet
run=runs/tiny
# figure NAME: of the JSON in out
figure() { grep -o "\"$1\":[0-9.-]*" out | head -n 1 | cut -d : -f 2; }

# ---- made: figures, intervals, the same for any number of threads
exits 0 smalti eval corruptions $run k=3 severities='[1, 5]' which=all --threads 1 --json
cp out one
exits 0 smalti eval corruptions $run k=3 severities='[1, 5]' which=all --threads 3 --json
for name in clean error relative error.own relative.own error.s1 error.s5 error.gaussian_noise error.zoom_blur error.haze; do
  [ -n "$(figure "${name//./\\.}")" ] && [ "$(figure "$name")" = "$(out=one; grep -o "\"$name\":[0-9.-]*" one | head -n 1 | cut -d : -f 2)" ] ||
    fail "$name differs between numbers of threads, or is missing"
done
has out "not mCE"
has out "CIFAR-C's strengths, raw"
lacks out '"mce"'
exits 0 smalti eval corruptions $run classifier=linear which=fifteen severities=5 pictures=9 pool=both --json
has out "linear layer by logistic regression"
lacks out "speckle"
exits 0 smalti eval corruptions tiny.yaml --net pixels k=3 which=own severities=1
has out "error.own"
exits 0 smalti train tiny.yaml --runs runs --quiet name=inside \
  'evaluate={hard: {corruptions: {k: 3, which: own, severities: 1}}}'
[ -n "$(ls runs/inside/evaluations* 2>/dev/null)$(grep -l 'error.own' runs/inside/*.jsonl)" ] || fail "a run's evaluation leaves no figure"

# ---- read: trees and arrays
if command -v python3 >/dev/null; then
  exits 0 smalti plugins show shapes
  python3 - <<'END2'
import os, struct, zlib
names = """gaussian_noise shot_noise impulse_noise defocus_blur glass_blur motion_blur zoom_blur snow frost fog brightness
contrast elastic_transform pixelate jpeg_compression speckle_noise gaussian_blur spatter saturate""".split()
def png(path, v):
    raw = b"".join(b"\0" + bytes([(v + 9 * x + 5 * y) % 256 for x in range(16) for _ in range(3)]) for y in range(16))
    def part(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)) + part(b"IDAT", zlib.compress(raw)) + part(b"IEND", b""))
def tree(root):
    for k, c in enumerate(("a", "b")):
        os.makedirs(f"{root}/{c}")
        for i in range(3): png(f"{root}/{c}/{i}.png", 90 * k + 7 * i)
def npy(path, descr, shape, data):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open(path, "wb") as f: f.write(b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head.encode() + data)
tree("own/train"); tree("own/test")
for n in names:
    for s in range(1, 6): tree(f"imagenet-c/{n}/{s}")
os.makedirs("cifar-c")
npy("cifar-c/labels.npy", "|u1", "(20,)", bytes([0, 1, 0, 1] * 5))
for n in names[:2]: npy(f"cifar-c/{n}.npy", "|u1", "(20, 16, 16, 3)", bytes(i % 251 for i in range(20 * 768)))
END2
  ours=(--train own/train --test own/test)
  # the pictures are the training pictures: no error, so all means are 0
  exits 0 smalti eval corruptions $run "${ours[@]}" folder=imagenet-c k=1 --json
  for name in clean error error15 error19 mce; do
    [ "$(figure "$name")" = 0 ] || fail "$name of clean pictures is not 0 but '$(figure "$name")'"
  done
  rm -r imagenet-c/fog/5
  exits 66 smalti eval corruptions $run "${ours[@]}" folder=imagenet-c k=1
  has err "imagenet-c/fog/5"
  rm -r imagenet-c/fog
  exits 0 smalti eval corruptions $run "${ours[@]}" folder=imagenet-c k=1 --json
  lacks out '"mce"'
  lacks out '"error15"'
  mkdir imagenet-c/rain
  exits 65 smalti eval corruptions $run "${ours[@]}" folder=imagenet-c
  has err "'imagenet-c/rain' is none of the 19 published corruptions"
  rmdir imagenet-c/rain
  mv imagenet-c/snow/1/b imagenet-c/snow/1/c
  exits 65 smalti eval corruptions $run "${ours[@]}" folder=imagenet-c
  has err "class 'c' in 'imagenet-c'"
  exits 0 smalti eval corruptions $run "${ours[@]}" folder=cifar-c k=1 --json
  has out "as CIFAR-C"
  [ -n "$(figure error.shot_noise)" ] || fail "no error of shot_noise"
  printf 'rubbish' >cifar-c/shot_noise.npy
  exits 65 smalti eval corruptions $run "${ours[@]}" folder=cifar-c
  has err "cifar-c/shot_noise.npy"
  cp cifar-c/gaussian_noise.npy cifar-c/labels.npy
  exits 65 smalti eval corruptions $run "${ours[@]}" folder=cifar-c
  has err "is not what CIFAR-C holds: labels (N)"
fi
exits 66 smalti eval corruptions $run folder=nowhere
has err "nowhere"
exits 65 smalti eval corruptions $run severities=6
finish
