#!/bin/bash
# ranks.sh — several ranks, started by Open MPI and by MPICH, train a run to the bytes of one process: checkpoint and
# metrics.jsonl, with any number of ranks and threads, also where the number changes at a resume. They stop together, a
# rank that does not answer ends all, and what cannot be is refused by name. A make that is not installed is passed over.
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
# shellcheck source=tests/e2e/launchers.sh
. "$SMALTI_SRCDIR/tests/e2e/launchers.sh"

ldd "$build/.libs/smalti" "$build/.libs/libsmalti.so" | grep -iE 'lib(mpi|mpich|open-rte|open-pal)' && fail "the program is linked with MPI"

keeper_of() { sed -n 's/^PPid:\t//p' "/proc/$1/status" 2>/dev/null; } # the process that the launcher started
# pid_of RUNS NAME RANK: the process that trains it, and not the one that keeps it
pid_of() {
  local p
  for p in /proc/[0-9]*; do
    [ "$(tr '\0' ' ' 2>/dev/null <"$p/cmdline" | cut -d ' ' -f 1-6)" = "smalti train --runs $1 tiny.yaml name=$2" ] || continue
    grep -qzxE "(PMI_RANK|OMPI_COMM_WORLD_RANK)=$3" "$p/environ" 2>/dev/null || continue
    [ "$(tr '\0' ' ' 2>/dev/null <"/proc/$(keeper_of "${p#/proc/}")/cmdline" | cut -d ' ' -f 1)" = smalti ] && echo "${p#/proc/}"
  done
}
host=$(uname -n)

cut=(train.pieces=4 train.batch_size=8)

# ---- the same bytes --------------------------------------------------------------------------------------------
# alike RANKS NAME OVERRIDES: one process, then each make with so many ranks ("2 4": both), of 1 and 2 threads in turn
alike() {
  local ranks=$1 name=$2 make n threads=1
  shift 2
  exits 0 smalti train --runs one tiny.yaml "name=$name" "$@"
  for make in "${makes[@]}"; do
    for n in $ranks; do
      threads=$((3 - threads))
      exits 0 by "$make" "$n" smalti train --runs "$make-$n" tiny.yaml "name=$name" "$@" --threads "$threads"
      has err "$n ranks × $threads thread"
      same "one/$name" "$make-$n/$name" "$name: $n ranks of $make with $threads threads"
    done
  done
}
alike "2 3 4" ibot "${cut[@]}"
alike "3 4" odd train.pieces=4 train.batch_size=11 train.micro_batch=2 data.views.masked=all train.clip=global train.precision=bf16
alike 5 five train.pieces=8 train.batch_size=9 # runs of one and two pieces, and ranks with two nodes of the tree
alike 2 late train.pieces=4 train.batch_size=6 masker='{attention: {mode: hint, ratio: [0, 0.5], hint: 0.3}}'
alike 3 dino train.pieces=4 losses.mim='!delete' masker='{random: {ratio: 0.5}}' backbone.vit.depth=2 \
  optimizer='{lars: {lr: {from: 0.1, to: 0.001, warmup: 1}}}'
alike 2 hard train.pieces=2 tokenizer.online_ema.labels=hard tokenizer.online_ema.view_labels=hard data.views.local.count=0 \
  data.views.masked=one optimizer='{sgd: {lr: {from: 0.1, to: 0.001, warmup: 1}}}'
alike 4 separate train.pieces=4 train.batch_size=7 data.views.local.count=3 head.projection.sharing=separate \
  losses.mim.mim.normalize=patch
# rates of a linear probe are shared out; of two rates, some of four ranks have none
alike "2 3 4" probe "${cut[@]}" train.evaluate_every=0 \
  'evaluate={all: {linear: {epochs: 20, batch_size: 16}}, two: {linear: {epochs: 20, batch_size: 16, lr: [0.1, 1]}},
    crops: {linear: {features: crops, epochs: 3, batch_size: 16}}}'
has one/probe/metrics.jsonl '"eval":"crops"'
# fine-tuning in pieces, also of a network with running states; where there are fewer pieces than ranks, rank 0 does it alone
tuned='{preset: short, epochs: 2, batch_size: 16, micro_batch: 3, lr: [0.001, 0.01], hold_out: 0.3, mixup: 0.8, erasing: 0.25'
alike "2 3 4" tuned "${cut[@]}" train.evaluate_every=0 \
  "evaluate={four: {finetune: $tuned, pieces: 4}}, two: {finetune: $tuned, pieces: 2}}, few: {semi: {preset: short, epochs: 2, share: [0.5], pieces: 4}}}"
has one/tuned/metrics.jsonl '"eval":"few"'
has err "rank 0 fine-tunes alone: \`pieces\` is 2, and there are 4 ranks"
alike 2 norms train.pieces=2 masker=none losses.mim='!delete' \
  backbone='{resnet: {arch: custom, depths: [1, 1, 1, 1], stem: small, width: 4}}' \
  evaluate='{two: {finetune: {preset: short, epochs: 2, drop_path: 0, batch_size: 16, micro_batch: 4, pieces: 2}}}'
# evaluations whose plugins look at pictures themselves: the network's part is shared
alike "2 3" looks "${cut[@]}" train.evaluate_every=0 \
  'evaluate={hidden: {occlusion: {pictures: 10, cells: [4]}}, broken: {corruptions: {pictures: 10}}, views: {lidar: {pictures: 20, views: 4}}}'
make=${makes[0]}

# only rank 0 speaks, and says it once; nothing of the ranks is in what the run leaves but its surroundings
exits 0 by "$make" 2 smalti --json train --runs json tiny.yaml "${cut[@]}"
[ "$(wc -l <out)" -eq 1 ] || fail "not one line: $(cat out)"
[ "$(grep -c '^done: 12 steps' err)" -eq 1 ] || fail "said by several: $(cat err)"
has json/tiny/environment.json '"ranks":2'
has json/tiny/timing.jsonl '"rank_wait":'
[ -z "$(left_over json/tiny)" ] || fail "left over: $(left_over json/tiny)"

# ---- eval ------------------------------------------------------------------------------------------------------
# the figures and files of one process; rank 0 alone speaks and writes
figures() { sed 's/"seconds":[^,}]*//g' "$1"; }
asked() { # NAME RANKS MAKE ARGUMENTS: of the run "ibot", by one process and by ranks
  local name=$1 n=$2 make=$3
  shift 3
  exits 0 smalti --json eval "$@"
  figures out >"$name.one"
  exits 0 by "$make" "$n" smalti --json eval "$@" --threads 1
  has err "shared by    $n ranks × 1 thread"
  figures out >"$name.many"
  [ "$(wc -l <out)" -eq 1 ] || fail "not one line: $(cat out)"
  equal "$name.one" "$name.many"
}
for make in "${makes[@]}"; do
  asked knn 2 "$make" knn one/ibot k=3
  asked tuned 3 "$make" finetune one/ibot preset=short epochs=2 batch_size=16 micro_batch=2 pieces=4
  exits 0 smalti eval features one/ibot --out features --split all --force
  exits 0 by "$make" 3 smalti eval features one/ibot --out "features-$make" --split all
  for i in train test; do
    for f in features.npy labels.npy names.txt classes.txt features.json; do equal "features/$i/$f" "features-$make/$i/$f"; done
  done
done
exits 65 by "$make" 2 sh -c '[ ${PMI_RANK-$OMPI_COMM_WORLD_RANK} = 0 ] || set -- --net init; exec smalti eval knn one/ibot "$@"' sh
has err "rank 1 ($host): it has weights with the hash "
exits 65 by "$make" 2 smalti eval knn one/ibot k=none
[ "$(grep -c '^smalti: ' err)" -eq 1 ] || fail "not said once: $(cat err)"
exits 66 by "$make" 2 smalti eval knn nowhere
[ "$(grep -c '^smalti: ' err)" -eq 1 ] || fail "not said once: $(cat err)"

# ---- stopping and going on ------------------------------------------------------------------------------------
# with another number of ranks each time, and of another make
last=${makes[-1]}
exits 75 by "$make" 2 smalti train --runs turns tiny.yaml name=ibot "${cut[@]}" --stop-after 3
has err "stopped at step 3 of 12; everything is saved"
exits 75 by "$last" 3 smalti train --runs turns tiny.yaml name=ibot "${cut[@]}" --stop-after 2
has err "going on from step 3"
has err "of 4 pieces of a step one of 3 ranks computes 2, and the others wait for it: 2 ranks would be as fast; more train.pieces are shared"
exits 75 smalti train --runs turns tiny.yaml name=ibot "${cut[@]}" --stop-after 3
exits 0 by "$last" 2 smalti train --runs turns tiny.yaml name=ibot "${cut[@]}"
same one/ibot turns/ibot "2, 3, 1 and 2 ranks in turn"
exits 0 by "$make" 2 smalti train --runs turns tiny.yaml name=ibot "${cut[@]}"
has err "has finished all 12 steps"

endless=("${cut[@]}" train.steps_per_epoch=100000 train.evaluate_every=0 train.checkpoint_every=10)
# begun MAKE NAME: an endless run by 2 ranks that has saved something: $job, and the process of its rank 1, $rank1
begun() {
  local make=$1 name=$2
  by "$make" 2 smalti train --runs "$make" tiny.yaml "name=$name" "${endless[@]}" --patience 2 >"$name.out" 2>"$name.err" &
  job=$!
  for ((i = 0; i < 300; i++)); do
    [ "$(find "$make/$name/checkpoints" -name 'step*' 2>/dev/null | wc -l)" -ge 2 ] && break
    sleep 0.1
  done
  rank1=$(pid_of "$make" "$name" 1)
  [ -n "$rank1" ] || fail "$make: no ranks: $(cat "$name.err")"
}
# ended WANTED …: the job's exit code is one of these
ended() {
  local got
  wait "$job"
  got=$?
  case " $* " in *" $got "*) ;; *) fail "$make $name exits with $got, not $*"; cat "$name.err" >&2 ;; esac
}
goes_on() { # MAKE NAME: by one process, from what was saved, to the bytes of a run that nobody disturbed
  local step
  exits 75 smalti train --runs "$1" tiny.yaml "name=$2" "${endless[@]}" --stop-after 3
  has err "going on from step "
  step=$(sed -n 's/.*stopped at step \([0-9]*\) .*/\1/p' err)
  exits 75 smalti train --runs "calm-$1" tiny.yaml "name=$2" "${endless[@]}" --stop-after "$step"
  same "calm-$1/$2" "$1/$2" "$2 of $1, at step $step"
}
for make in "${makes[@]}"; do
  name=signal
  begun "$make" signal
  kill -USR1 "$rank1" "$(sed -n 's/^PPid:\t//p' "/proc/$rank1/status")" # one is told, and the process that keeps it, as by Slurm; all stop
  ended 75
  has signal.err "everything is saved"

  name=stopped
  begun "$make" stopped
  kill -STOP "$rank1"
  ended 76
  has stopped.err "rank 1 ($host) was lost: it has not answered for "
  has stopped.err "the same command goes on from the last checkpoint"
  lacks stopped.err "rank 0 ($host) was lost"
  kill -KILL "$rank1" 2>/dev/null
  goes_on "$make" stopped

  name=killed # at any moment, either of them
  begun "$make" killed
  rank=$((RANDOM % 2))
  victim=$(pid_of "$make" killed "$rank")
  sleep "0.$((RANDOM % 10))"
  kill -KILL "$victim"
  # hydra kills the other ranks, and gives back whichever end it noted last
  if [ "$make" = mpich ]; then ended 76 9 137; else ended 76; fi
  has killed.err "smalti: rank $rank ($host) was lost: it was killed (signal 9)"
  has killed.err "the same command goes on from the last checkpoint"
  goes_on "$make" killed

  name=unkept # what the launcher started: it alone knows, and nobody is left behind
  begun "$make" unkept
  kill -KILL "$(keeper_of "$rank1")"
  ended 9 76 137
  for ((i = 0; i < 50; i++)); do
    [ -z "$(pid_of "$make" unkept '[01]')" ] && [ ! -e "/proc/$rank1" ] && break
    sleep 0.1
  done
  [ ! -e "/proc/$rank1" ] || fail "$make: rank 1 goes on alone"
  goes_on "$make" unkept
done

# ---- pictures that cannot be used -----------------------------------------------------------------------------
pictures folder 24
for i in 003 010 017; do echo damaged >"$(ls folder/*/$i.png)"; done
bad=('data.train={folder: {path: folder}}' 'data.test={folder: {path: folder}}' data.max_bad=0.5 train.steps_per_epoch=6 train.evaluate_every=0 "${cut[@]}")
alike "3 4" bad "${bad[@]}"
[ "$(wc -l <one/bad/bad-pictures.txt)" -eq 3 ] || fail "not three bad pictures: $(cat one/bad/bad-pictures.txt)"
for make in "${makes[@]}"; do
  for n in 3 4; do equal one/bad/bad-pictures.txt "$make-$n/bad/bad-pictures.txt"; done
done
# too many: the words of one process, at its step
exits 65 smalti train --runs many tiny.yaml "${bad[@]}" data.max_bad=0.01
has err "cannot be used, more than max_bad allows (1 %)"
grep '^smalti: ' err >one.err
exits 65 by "$make" 2 smalti train --runs many-2 tiny.yaml "${bad[@]}" data.max_bad=0.01
grep '^smalti: ' err >two.err
equal one.err two.err

# ---- a folder is listed by rank 0 alone, which sends the list ---------------------------------------------------
# opened LOG: which folders of pictures that process listed
opened() { grep -o '^opendir .*folder.*' "$1" | sed "s|.*$work/||" | sort -u | tr '\n' ' '; }
# listed RUNS: 2 ranks train on the folder, each with a log of its calls
listed() {
  rm -f log.0 log.1
  exits 0 by "$make" 2 sh -c 'export SMALTI_IOFAIL_LOG=log.${PMI_RANK-$OMPI_COMM_WORLD_RANK} LD_PRELOAD=$0 ASAN_OPTIONS=${ASAN_OPTIONS-}:verify_asan_link_order=0; exec smalti "$@"' \
    "$build/tests/preload/.libs/iofail.so" train --runs "$1" tiny.yaml name=bad "${bad[@]}"
  same one/bad "$1/bad" "$1: 2 ranks of $make, one of which lists"
}
for make in "${makes[@]}"; do
  listed "sent-$make"
  [ "$(opened log.0)" = "folder folder/a folder/b " ] || fail "rank 0 lists: $(opened log.0)"
  [ -z "$(opened log.1)" ] || fail "rank 1 lists as well: $(opened log.1)"
done
# where an index is, each maps that
exits 0 smalti data index folder
listed indexed
[ -z "$(opened log.0)$(opened log.1)" ] || fail "with an index: $(opened log.0)$(opened log.1)"
rm folder.smalti-index

# ---- a loss that is not finite: the same words, and the same steps before ---------------------------------------
wild=(name=wild "${cut[@]}" optimizer.adamw.lr='{from: 1000, to: 1000, warmup: 0}' optimizer.adamw.lr_batch=1e-4
  train.clip_grad=0 train.evaluate_every=0)
exits 65 smalti train --runs one tiny.yaml "${wild[@]}"
grep '^smalti: ' err | sed 's/^smalti: //' >one.err
has one.err "the last checkpoint is good"
exits 65 by "$make" 2 smalti train --runs wild tiny.yaml "${wild[@]}"
has err "$(cat one.err)"

# ---- what cannot be -------------------------------------------------------------------------------------------
exits 65 by "$make" 2 smalti train --runs no tiny.yaml
has err "2 ranks, but train.pieces is 1: each rank computes at least one piece of a step; set train.pieces to a power of two from 2 to 4; it changes the bits"
exits 65 by "$make" 3 smalti train --runs no tiny.yaml train.pieces=2
has err "3 ranks, but train.pieces is 2: each rank computes at least one piece of a step; set train.pieces: 4; it changes the bits"
exits 65 by "$make" 3 smalti train --runs no tiny.yaml train.pieces=2 train.batch_size=3
has err "3 ranks, but a step of 3 pictures has at most 2 pieces; start fewer, or raise train.batch_size"
exits 65 by "$make" 2 smalti train --runs no tiny.yaml tokenizer.online_ema.centering=sinkhorn
has err "tokenizer 'main' (online_ema) wants all pictures of a step in one process, so 2 ranks cannot share them; train this recipe by one process"
exits 65 by "$make" 2 smalti train --runs no dvae/shapes.yaml
has err "objective 'objective' (dvae) wants all pictures of a step in one process, so 2 ranks cannot share them"
exits 66 by "$make" 2 smalti train --runs no tinny.yaml
[ "$(grep -c '^smalti: ' err)" -eq 1 ] || fail "not said once: $(cat err)"
[ ! -e no ] || fail "a refused run left $(find no)"
# kernels: one rank is given others by its environment
if grep -qw avx2 /proc/cpuinfo; then
  exits 65 by "$make" 2 sh -c 'case ${PMI_RANK-$OMPI_COMM_WORLD_RANK} in 1) set -- --isa baseline ;; *) set -- --isa avx2 ;; esac
    exec smalti "$@" train --runs no tiny.yaml train.pieces=4'
  has err "rank 1 ($host): it computes with baseline"
  has err "give all ranks the same kernels, which the oldest processor has: --isa"
  exits 65 by "$make" 2 sh -c '[ ${PMI_RANK-$OMPI_COMM_WORLD_RANK} = 0 ] || export OPENBLAS_CORETYPE=Prescott
    exec smalti train --runs no tiny.yaml train.pieces=4'
  has err "rank 1 ($host): it has OpenBLAS compute as on Prescott, but rank 0 ($host) "
fi
# one rank reads other pictures
exits 65 by "$make" 2 sh -c 'exec smalti train --runs no tiny.yaml train.pieces=4 data.train.shapes.count=4${PMI_RANK-$OMPI_COMM_WORLD_RANK}'
has err "rank 1 ($host): it has a recipe with the hash "
[ ! -e no ] || fail "a refused run left $(find no)"
# launchers and modules that do not fit
if [ ${#makes[@]} -eq 2 ]; then
  exits 2 by mpich 2 smalti train --runs no tiny.yaml "${cut[@]}" --mpi openmpi
  has err "an mpiexec of MPICH's kind started 2 processes (PMI_SIZE), but Open MPI v"
  exits 2 by openmpi 2 smalti train --runs no tiny.yaml "${cut[@]}" --mpi mpich
  has err "Open MPI's mpirun started 2 processes (OMPI_COMM_WORLD_SIZE), but MPICH Version: "
  has err "sees 1; start it with the launcher of this MPI"
fi
exits 2 env SLURM_NTASKS=4 SMALTI_MPI_PATH=nowhere smalti train --runs no tiny.yaml "${cut[@]}"
has err "smalti: nowhere/mpi_mpich.so: Slurm started 4 processes (SLURM_NTASKS), but the module that would let them work together cannot be opened"
exits 2 env SLURM_NTASKS=4 smalti train --runs no tiny.yaml "${cut[@]}" --mpi "${makes[0]}" # as by srun without --mpi
has err "sees 1; start it with srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH), or --mpi off"
exits 2 smalti train --runs no tiny.yaml --mpi "$build/.libs/libsmalti.so"
has err "it is no module for --mpi"
[ ! -e no ] || fail "a refused run left $(find no)"
exits 0 env SLURM_NTASKS=4 smalti train --runs alone tiny.yaml name=ibot "${cut[@]}" --mpi off
same one/ibot alone/ibot "--mpi off"
exits 0 smalti train --runs alone tiny.yaml "${cut[@]}" --mpi "$modules/mpi_${makes[0]}.so" # a world of one

finish
