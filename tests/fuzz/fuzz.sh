#!/bin/bash
# fuzz.sh — runs fuzz targets one after another and says what each did: `make fuzz` calls it in its build folder with the
# targets as arguments. A target starts from its corpus in the tree and what earlier runs found (corpus/NAME here). An input
# that breaks a rule lies in found/NAME, and the exit code is 1.
#
#   FUZZ_RUNS      inputs per target, 0: no limit         FUZZ_SECONDS   seconds per target, 0: no limit
#   FUZZ_SEED      of the mutations; 0: by chance         SMALTI_SRCDIR  the top of the tree
set -u
: "${SMALTI_SRCDIR:?is set by \"make fuzz\"}"
export SMALTI_PLUGIN_PATH=$PWD/plugins/.libs SMALTI_RECIPE_PATH=$SMALTI_SRCDIR/recipes LC_ALL=C OPENBLAS_NUM_THREADS=1
export ASAN_OPTIONS=${ASAN_OPTIONS-detect_leaks=1:allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS-print_stacktrace=1}
# Reports and tables take files of many lines; nothing else is long.
declare -A longest=([report]=16384 [recipe]=8192 [table]=8192 [picture]=8192 [note]=8192)
failed=0
for program in "$@"; do
  name=${program##*/fuzz_}
  mkdir -p "corpus/$name" "found/$name"
  seeds=$SMALTI_SRCDIR/tests/fuzz/corpus/$name
  log=found/$name.log
  words=$SMALTI_SRCDIR/tests/fuzz/$name.dict
  limit=()
  [ "${FUZZ_RUNS:-0}" -eq 0 ] || limit+=("-runs=$FUZZ_RUNS")
  [ "${FUZZ_SECONDS:-0}" -eq 0 ] || limit+=("-max_total_time=$FUZZ_SECONDS")
  [ ! -f "$words" ] || limit+=("-dict=$words")
  "./$program" "${limit[@]}" -seed="${FUZZ_SEED:-0}" -timeout=30 -rss_limit_mb=2048 -malloc_limit_mb=256 \
    -max_len="${longest[$name]:-4096}" -artifact_prefix="found/$name/" -print_final_stats=1 -verbosity=1 \
    "corpus/$name" "$seeds" >"$log" 2>&1
  code=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
  edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
  echo "$name: ${runs:-?} runs, ${edges:-cov: ?}"
  [ $code -eq 0 ] && continue
  failed=1
  echo "$name: exit code $code; the log is $PWD/$log, the input:"
  find "found/$name" -type f -printf "  $PWD/%p\n"
  grep -m 5 -E 'ERROR: |SUMMARY: |broken: |runtime error' "$log" | sed 's/^/  /'
done
exit $failed
