#!/bin/bash
# ranks_bench.sh — `smalti bench step` and `bench ranks` under Open MPI and MPICH: the step that ranks share has the arithmetic
# of one process, messages are as many and as long as the model says, a link of --link holds them up, and what cannot be is
# refused. No speed is tested here: that of a shared machine says nothing.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
# shellcheck source=tests/e2e/launchers.sh
. "$SMALTI_SRCDIR/tests/e2e/launchers.sh"

# number NAME: of the JSON object in out, its first of that name
number() { grep -o "\"$1\":[0-9.e+-]*" out | head -n 1 | sed 's/.*://'; }
holds() { awk "BEGIN { exit !($1) }" || fail "not so: $1: $(cat out)"; }
cut=(train.pieces=4 train.batch_size=8)

# ---- bench step
exits 0 smalti bench step tiny.yaml "${cut[@]}" --steps 1 --warm-up 0 --json
gflop=$(number gflop)
has out '"ranks":1,"comm_least":0,"comm_most":0,"sent_bytes":0,"exchanges":0}'
for make in "${makes[@]}"; do
  exits 0 by "$make" 4 smalti bench step tiny.yaml "${cut[@]}" --steps 1 --warm-up 1 --json
  [ "$(wc -l <out)" -eq 1 ] || fail "said by several: $(cat out)"
  has out '"threads":1,"pictures":8,"steps":1,'
  has out '"ranks":4,'
  holds "$(number gflop) > 0.8 * $gflop && $(number gflop) < 1.25 * $gflop" # some hide more patches than others
  holds "$(number comm_least) > 0 && $(number comm_least) <= $(number comm_most) && $(number comm_most) < 1"
  holds "$(number sent_bytes) > 60000"
done
make=${makes[0]}
exits 0 by "$make" 2 smalti bench step tiny.yaml "${cut[@]}" --steps 1 --ops
has out "tiny: 8 pictures per step, 2 ranks × 1 thread, fp32, "
has out "% of a step: messages, and waiting for slower ranks"
has out "tree: sums of pieces and ranks, waiting"

# ---- bench ranks: of 4 ranks, each sends 2 · 3/4 of the gradients
for make in "${makes[@]}"; do
  exits 0 by "$make" 4 smalti bench ranks tiny.yaml "${cut[@]}" --steps 2 --rate 100
  has out "tiny: a rehearsal of 4 ranks, 4 of them on this machine, by "
  has out "a step of 8 pictures in 4 pieces; computing is slept, 100 images/s a rank (--rate)"
  has out "start: all have joined"
  has out "start: all have rank 0's state"
  has out "  weights, moments, sums"
  has out "exchanges of rank 0 in a step"
  grep -qE '^    computing, slept +0\.020 s +$' out || fail "computing is not 0.02 s: $(cat out)"
done
parameters=$(smalti plan tiny.yaml --json | sed -n 's/.*"parameters":\([0-9]*\).*/\1/p')
exits 0 by "$make" 4 smalti bench ranks tiny.yaml "${cut[@]}" --steps 1 --rate 100 --link 0.005 --json
holds "$(number compute_s) == 0.02"
sed 's/.*"model"://' out >model
sent=$(sed -n 's/.*"sent_bytes":\([0-9]*\).*/\1/p' model) step=$(sed -n 's/.*"step_s":\([0-9.]*\).*/\1/p' model)
holds "$sent >= 6 * $parameters && $sent < 6.3 * $parameters" # 2 · 3/4 · 4 bytes, and padding
holds "$(number sent_bytes) >= $sent && $(number sent_bytes) < $sent + 10000"
exchanges=$(sed -n 's/.*"exchanges":\([0-9]*\).*/\1/p' model)
holds "$exchanges > 4 && $exchanges % 4 == 0" # two levels, up and down, of each part
holds "$(number exchanges) >= $exchanges && $(number exchanges) < $exchanges + 20"
# the first part leaves before all is computed; the link is slower than that
holds "$step > 0.99 * $sent / (0.005e9 / 8 * 0.94) && $step < 0.019 + $sent / (0.005e9 / 8 * 0.94)"
holds "$(number step_s) > 0.97 * $step" # never quicker than the link

# measured by rank 0, of which the others hear
exits 0 by "$make" 2 smalti bench ranks tiny.yaml "${cut[@]}" --steps 1
has out "images/s a rank (measured, 1 thread)"

# ---- what cannot be
exits 2 smalti bench ranks tiny.yaml
has err "smalti: there is one process, and nothing to rehearse; start ranks by a launcher: mpirun -n 8 smalti bench ranks"
exits 65 by "$make" 2 smalti bench ranks tiny.yaml
has err "2 ranks, but train.pieces is 1"
[ "$(grep -c '^smalti: ' err)" -eq 1 ] || fail "not said once: $(cat err)"
exits 65 by "$make" 2 smalti bench step tiny.yaml tokenizer.online_ema.centering=sinkhorn
has err "tokenizer 'main' (online_ema) wants all pictures of a step in one process, so 2 ranks cannot share them"
exits 2 by "$make" 2 smalti bench step tiny.yaml "${cut[@]}" --threads-model 4
has err "smalti: --threads-model is about one process, but there are 2 ranks; start it without a launcher"
exits 66 by "$make" 2 smalti bench ranks tinny.yaml "${cut[@]}"
exits 2 by "$make" 2 smalti bench ranks tiny.yaml --rate -1

# ---- tests/bench/ranks_link.sh, as where the kernel has no link
exits 2 bash "$source/tests/bench/ranks_link.sh"
exits 2 bash "$source/tests/bench/ranks_link.sh" --link 1 tiny.yaml
has err "there is no option --link"
if [ "${makes[0]}" = openmpi ]; then
  exits 0 bash "$source/tests/bench/ranks_link.sh" --no-namespaces --steps 1 --links 1 tiny.yaml "${cut[@]}"
  has out "a model, not a network"
  grep -qE '^\| 1( \| [0-9]+\.[0-9]+){6} \| - \|$' out || fail "no row: $(cat out)"
fi

finish
