#!/bin/bash
# video.sh — clips from the command line: a square that moves over a pattern, followed by evaluation `video`, in a recipe and
# in a table; masks that it writes, scored by `smalti score davis`; and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
command -v python3 >/dev/null || { echo "no python3 to draw clips with"; exit 77; }

# Clips of 6 frames of 64 x 48: `still` stands, `moves` has a square that goes 4 pixels to the right a frame, `two` another one
# that goes down. Masks have palettes.
python3 - <<'END'
import os, random, struct, zlib
def png(path, kind, rows, palette=b""):
    raw = b"".join(b"\0" + bytes(r) for r in rows)
    def part(name, data): return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    head = struct.pack(">IIBBBBB", len(rows[0]) // (3 if kind == 2 else 1), len(rows), 8, kind, 0, 0, 0)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + (part(b"PLTE", palette) if palette else b"") +
                part(b"IDAT", zlib.compress(raw)) + part(b"IEND", b""))
noise = random.Random(1)
def pattern(w, h): return [[noise.randrange(256) for _ in range(3 * w)] for _ in range(h)]
ground, first, second = pattern(64, 48), pattern(16, 16), pattern(12, 12)
palette = bytes([0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128])
for clip, squares in {"still": [(16, 8, 0, 0, first)], "moves": [(8, 16, 4, 0, first)],
                      "two": [(8, 24, 4, 0, first), (44, 4, 0, 4, second)]}.items():
    for folder in ("JPEGImages", "Annotations"): os.makedirs(f"davis/{folder}/480p/{clip}")
    for t in range(6):
        frame, mask = [list(r) for r in ground], [[0] * 64 for _ in range(48)]
        for k, (x, y, dx, dy, texture) in enumerate(squares):
            for j, row in enumerate(texture):
                at = x + dx * t
                frame[y + dy * t + j][3 * at:3 * at + len(row)] = row
                mask[y + dy * t + j][at:at + len(row) // 3] = [k + 1] * (len(row) // 3)
        png(f"davis/JPEGImages/480p/{clip}/{t:05d}.png", 2, frame)
        png(f"davis/Annotations/480p/{clip}/{t:05d}.png", 3, mask, palette)
def grey(path, value, w=64, h=48): png(path, 0, [[value] * w for _ in range(h)])
grey("small.png", 1, 32, 48), grey("seven.png", 7), grey("void.png", 255), grey("empty.png", 0)
END
sed "/^evaluate/d; s|^  test:.*|  test: {clips: {path: davis}}|" tiny.yaml >clips.yaml
how=(shorter=48 multiple=4 radius=3 frames=2)
figure() { grep -o "\"${1//./\\.}\":[0-9.-]*" "${2:-out}" | head -n 1 | cut -d : -f 2; }
# between NAME LOW HIGH: the figure of the JSON in out
between() { awk -v v="$(figure "$1")" -v a="$2" -v b="$3" 'BEGIN { exit !(v != "" && v >= a && v <= b) }' || fail "$1 is $(figure "$1"), not $2 to $3"; }

# ---- pixels follow exactly, but for corners, which interpolation rounds, and ground that a square uncovers
exits 0 smalti eval video clips.yaml --net pixels patch=4 top=1 "${how[@]}" masks=found strips=strips --threads 1 --json
cp out one
between j_and_f.still 98 100
between j_and_f 80 95
between j_recall 100 100
between copy.j_and_f 20 70
between gain 20 80
has out '"interval'
has out "frames of 64 x 48"
has out "mean over 4 objects of 3 test clips"
[ "$(head -c 4 strips/two.png | tail -c 3)" = PNG ] || fail "no strip of a clip"
exits 0 smalti eval video clips.yaml --net pixels patch=4 top=1 "${how[@]}" --threads 3 --json
for name in j_and_f j_decay f_recall gain j_and_f.two; do
  [ -n "$(figure $name)" ] && [ "$(figure $name)" = "$(figure $name one)" ] || fail "$name differs between numbers of threads"
done

printf 'two\n' >davis/one.txt

# a square between the middles of patches
exits 0 smalti eval video clips.yaml --net pixels patch=16 shorter=48 multiple=4
has err "1 of 4 objects is too small to be on the grid of patches"

# ---- the masks it wrote have the figures it gave
exits 0 smalti score davis davis/Annotations/480p found --json
awk -v a="$(figure 'J&F-Mean')" -v b="$(figure j_and_f one)" 'BEGIN { d = 100 * a - b; exit !(d * d < 1e-12) }' ||
  fail "score davis finds $(figure 'J&F-Mean'), the evaluation $(figure j_and_f one)"
exits 0 smalti score davis davis/Annotations/480p davis/Annotations/480p
has out "J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean,F-Recall,F-Decay"
has out "1.000000,1.000000,1.000000,0.000000,1.000000,1.000000,0.000000"
has out "two_2,1.000000,1.000000"
exits 0 smalti score davis davis/Annotations/480p found --list davis/one.txt --resamples 50 --threads 2
lacks out "still"
rm found/two/00000.png found/two/00005.png # the first and the last frame are not scored
exits 0 smalti score davis davis/Annotations/480p found

# ---- networks, in a recipe, stopped
exits 0 smalti eval video clips.yaml --net init "${how[@]}" --threads 1 --json
cp out one
exits 0 smalti eval video clips.yaml --net init "${how[@]}" --threads 3 --json
between copy.j_and_f 20 70
[ "$(figure j_and_f)" = "$(figure j_and_f one)" ] || fail "a network's figure differs between numbers of threads"
exits 0 smalti train clips.yaml --runs runs --quiet name=inside 'evaluate={v: {video: {shorter: 48, multiple: 4, radius: 3}}}'
grep -q '"v.j_and_f"\|"j_and_f"' runs/inside/*.jsonl || fail "a run's evaluation leaves no figure"

# ---- refused
exits 65 smalti eval video tiny.yaml --net pixels "${how[@]}"
has err "the test pictures are no clips"
exits 65 smalti eval video clips.yaml --net pixels "${how[@]}" temperature=0
exits 65 smalti eval video clips.yaml --net pixels shorter=16 patch=40
has err "cannot be cut into patches of 40"
at=davis/Annotations/480p/moves
damage() { cp "$1" "$at/00003.png"; }
cp $at/00003.png kept.png
damage small.png
exits 65 smalti eval video clips.yaml --net pixels patch=4 "${how[@]}"
has err "moves/00003.png"
has err "32 x 48"
exits 65 smalti score davis davis/Annotations/480p found
has err "32 x 48"
damage seven.png
sed 's|path: davis|path: davis, objects: 2|' clips.yaml >two.yaml
exits 65 smalti eval video two.yaml --net pixels patch=4 "${how[@]}"
has err "moves/00003.png"
has err "value 7"
exits 0 smalti eval video clips.yaml --net pixels patch=4 "${how[@]}"
has err "has object 7, which its clip's first mask lacks"
head -c 60 kept.png >cut.png
damage cut.png
exits 65 smalti eval video clips.yaml --net pixels patch=4 "${how[@]}"
has err "moves/00003.png"
damage kept.png
cp $at/00000.png first.png
cp void.png $at/00000.png
exits 65 smalti eval video clips.yaml --net pixels patch=4 "${how[@]}"
has err "the first mask of the clip 'moves' has no object; where masks are 0 and 255, say foreground: true"
exits 65 smalti score davis davis/Annotations/480p found
has err "masks of 0 and 255 want --foreground"
cp first.png $at/00000.png
rm $at/00003.png
exits 66 smalti eval video clips.yaml --net pixels patch=4 "${how[@]}"
has err "moves/00003.png has no mask"
cp kept.png $at/00003.png
cp small.png davis/JPEGImages/480p/moves/00002.png
exits 65 smalti eval video clips.yaml --net pixels patch=4 "${how[@]}"
has err "moves/00002.png"

mv found/moves/00002.png away.png
exits 66 smalti score davis davis/Annotations/480p found
has err "found/moves/00002.png: a frame of the sequence has no result"
cp seven.png found/moves/00002.png
exits 65 smalti score davis davis/Annotations/480p found
has err "found/moves/00002.png: object 7 was found at (0, 0), but the clip has 1"
exits 66 smalti score davis davis/none found
exits 66 smalti score davis davis/Annotations/480p none
exits 65 smalti score davis davis/Annotations/480p found --resamples 3
exits 2 smalti score davis found
finish
