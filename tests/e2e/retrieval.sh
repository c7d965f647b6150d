#!/bin/bash
# retrieval.sh — rankings by class from the command line: figures, intervals, any number of threads, pixels, in a recipe,
# and what is refused.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"

sed -i 's/count: 40, size: 32/count: 60, size: 32, classes: 3/; s/count: 12, size: 32,/count: 21, size: 32, classes: 3,/' tiny.yaml
exits 0 smalti train tiny.yaml --runs runs --quiet
run=runs/tiny
# figure NAME: of the JSON in out
figure() { grep -o "\"${1//./\\.}\":[0-9.-]*" out | head -n 1 | cut -d : -f 2; }
# same NAME …: with one thread (file one) and three (file out)
same() {
  local name
  for name; do
    [ -n "$(figure "$name")" ] && [ "$(figure "$name")" = "$(grep -o "\"${name//./\\.}\":[0-9.-]*" one | head -n 1 | cut -d : -f 2)" ] ||
      fail "$name differs between numbers of threads, or is missing"
  done
}

# ---- by class
exits 0 smalti eval retrieval $run k='[1, 5, 1]' --threads 1 --json
cp out one
exits 0 smalti eval retrieval $run k='[1, 5, 1]' --threads 3 --json
same map recall1 recall5
has out "21 queries, 60 ranked"
has out '"interval'
exits 0 smalti eval retrieval tiny.yaml --net pixels
has out "recall1"
# the queries themselves are ranked: each finds itself, and so its class
sed 's/count: 21, size: 32, classes: 3, split: test/count: 60, size: 32, classes: 3/' tiny.yaml >itself.yaml
exits 0 smalti eval retrieval itself.yaml --net pixels k='[1, 60]' --json
[ "$(figure recall1)" = 100 ] && [ "$(figure recall60)" = 100 ] || fail "a picture does not find itself: $(cat out)"
exits 0 smalti train tiny.yaml --runs runs --quiet name=inside 'evaluate={r: retrieval}'
grep -q recall1 runs/inside/*.jsonl || fail "a run's evaluation leaves no figure"
exits 65 smalti eval retrieval $run k=0
exits 65 smalti eval retrieval $run pool=gem
finish
