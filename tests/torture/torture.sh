#!/bin/bash
# torture.sh — each command of commands.txt, once for each call that it makes, with that call failing (calls.txt); and what
# that must not mean:
#
#   - the exit code is a documented one that fits: no crash, no hang, no "no" as an answer, no "wrong command line"
#   - exit code 0: the same output and the same files, to the byte, as without the fault
#   - else: there is a message, it names the file that the call was for, nothing that was there before is lost or half
#     replaced, no temporary file stays, and the same command without the fault ends in the files of an undisturbed run
#
# `make check` tries a sample, always the same; `make torture` tries all, which takes hours, unless TORTURE_SAMPLES says less. Settings, by environment:
#   TORTURE_SAMPLES   faults per command (default 8, a half of them allocations), or all
#   TORTURE_SEED      of the sample (1)
#   TORTURE_COMMANDS  names of commands (all), TORTURE_CALLS  names of calls (all)
#   TORTURE_CASE      "NAME CALL:K:HOW": this fault alone, and its messages
# shellcheck source=tests/e2e/common.sh
. "$SMALTI_SRCDIR/tests/e2e/common.sh"
here=$source/tests/torture
samples=${TORTURE_SAMPLES-8}
preload=$build/tests/preload/.libs/iofail.so
export OPENBLAS_NUM_THREADS=1
# shellcheck source=tests/torture/start.sh
. "$here/start.sh"
tried=0 known=0 missed=0 clocked=

# What stdout says of time and memory.
timeless() { sed -E 's/ +/ /g; s/[0-9.]+ [0-9.]+ [0-9.]+ [KM]iB/N N N/; s/[0-9.]+ (ms|s|min|h|[KM]iB)\b/N/g; s/[0-9.]+ images\/s/N/g' "$1"; }
# state FOLDER: a line "SUM PATH" per file; without the sum for $clocked, files whose bytes depend on the clock
state() {
  (cd "$1" && find . -type f -exec cksum {} + | sed -E 's/^([0-9]+) ([0-9]+) /\1-\2 /; s/tfevents\..*/tfevents/') |
    awk -v clocked="$clocked" '{ if (clocked != "" && $2 ~ clocked) $1 = "-"; print $1, $2 }' | sort -u -k 2
}
# invoke COMMAND: in $work/case, with output in $work/out and $work/err
invoke() {
  # shellcheck disable=SC2086  # several words on purpose
  (cd "$work/case" && exec timeout -k 5 60 "${@:2}" $1 >"$work/out" 2>"$work/err")
}
renew() { rm -rf "$work/case" && cp -a "$work/start" "$work/case"; }
# faulty LOG CALL:K:HOW: words before a command that make it fail so
faulty() { words=(env "LD_PRELOAD=$preload" "ASAN_OPTIONS=${ASAN_OPTIONS-}:verify_asan_link_order=0" "SMALTI_IOFAIL=$2" "SMALTI_IOFAIL_LOG=$1"); }

# ---- what went wrong with one fault: a line for each complaint --------------------------------------------------

# The file or folder of the work folder that the failed call was for, without the ending of a temporary name.
struck() { sed -nE "s|^[a-z_]+ ($work/case/)?([^/].*)|\2|p" "$work/struck" | head -n 1 | sed -E 's/\.tmp-[^/]*$//'; }

# What the system calls its errors; an interrupted or short call is nothing to report.
declare -A reason=([EIO]='Input/output error' [ENOSPC]='No space left on device' [EACCES]='Permission denied'
  [EMFILE]='Too many open files' [ENFILE]='Too many open files in system' [ENOMEM]='Cannot allocate memory'
  [ESTALE]='Stale file handle' [EAGAIN]='Resource temporarily unavailable')

judge_message() { # CODE HOW
  local path
  [ -s "$work/err" ] || { echo "exit code $1 without a message"; return; }
  [ "$1" -ne 71 ] || return
  [ -z "${reason[$2]:-}" ] || grep -qF -- "${reason[$2]}" "$work/err" || echo "the message does not say why"
  path=$(struck)
  [ -z "$path" ] || [[ $path == /* ]] || [ -d "$work/case/$path" ] || grep -qF -- "${path##*/}" "$work/err" ||
    { [[ $path == runs/* ]] && grep -qF -- "${path%/*}" "$work/err"; } || echo "the message does not name $path"
}
judge_left() {
  local left
  left=$(find "$work/case" -name '*.tmp*' -printf ' %P')
  [ -z "$left" ] || echo "temporary files stay:$left"
}
# Each earlier file is as it was, or as it will be, or goes anyway; a log begins as it did.
judge_earlier() {
  local file size
  awk -v after="$work/after.state" -v now="$work/now.state" '
    BEGIN { while ((getline line < after) > 0) { split(line, f, " "); later[f[2]] = f[1] }
            while ((getline line < now) > 0) { split(line, f, " "); here[f[2]] = f[1] } }
    { if (here[$2] == $1 || here[$2] == later[$2]) next
      if (!($2 in here)) print "is gone " $2; else print "differs " $2 }' "$work/start.state" |
    while read -r what file; do
      size=$(stat -c %s "$work/start/$file")
      case $file in *.jsonl) cmp -s -n "$size" "$work/start/$file" "$work/case/$file" && continue ;; esac
      echo "$file is neither the old nor the new one: $what"
    done
}
judge_same() { # WHAT
  state "$work/case" >"$work/now.state"
  cmp -s "$work/now.state" "$work/after.state" ||
    echo "$1 other files: $(diff "$work/after.state" "$work/now.state" | grep '^[<>]' | head -n 4 | tr '\n' ' ')"
}
judge() { # COMMAND HOW CODE
  case $3 in
    0)
      judge_same "exit code 0 with"
      cmp -s <(timeless "$work/out") "$work/after.out" || echo "exit code 0 with another output: $(diff <(timeless "$work/out") "$work/after.out" | head -n 3 | tr '\n' ' ')"
      return
      ;;
    65 | 66 | 71 | 74 | 75) judge_message "$3" "$2" ;;
    124 | 137) echo "it does not end" ;;
    *) echo "exit code $3" ;;
  esac
  judge_left
  state "$work/case" >"$work/now.state"
  judge_earlier
  cp "$work/err" "$work/first.err"
  invoke "$1"
  local again=$?
  [ $again -eq 0 ] || echo "the command without the fault exits with $again: $(head -n 1 "$work/err")"
  judge_same "without the fault"
  cp "$work/first.err" "$work/err"
}

# expected NAME CALL HOW COMPLAINT: expected.txt knows it
expected() {
  local name call how text
  while IFS='|' read -r name call how text; do
    # shellcheck disable=SC2053  # patterns on purpose
    [[ $1 == $name && $2 == $call && $3 == $how && $4 == $text ]] && return 0
  done < <(grep -v '^#' "$here/expected.txt" 2>/dev/null)
  return 1
}

one() { # NAME COMMAND CALL K HOW
  local code complaint
  renew
  : >"$work/struck"
  faulty "$work/struck" "$3:$4:$5"
  invoke "$2" "${words[@]}"
  code=$?
  [ -s "$work/struck" ] || { missed=$((missed + 1)); return; }
  tried=$((tried + 1))
  judge "$2" "$5" "$code" >"$work/complaints"
  [ -z "${TORTURE_CASE:-}" ] || { cat "$work/struck" "$work/out" "$work/err"; echo "exit code $code"; cat "$work/complaints"; }
  while IFS= read -r complaint; do
    if expected "$1" "$3" "$5" "$complaint"; then known=$((known + 1)); continue; fi
    fail "$1 $3:$4:$5 ($(head -n 1 "$work/struck")): $complaint; it said: $(tail -n 2 "$work/err" | tr "\n" " ")"
  done <"$work/complaints"
}

# ---- what there is to try ---------------------------------------------------------------------------------------

# Undisturbed, and with every call counted: $work/after.state and .out, $work/calls ("CALL PATH" in their order).
undisturbed() { # NAME COMMAND
  state "$work/start" >"$work/start.state"
  renew
  rm -f "$work/calls"
  faulty "$work/calls" ""
  invoke "$2" "${words[@]}" || { fail "$1: undisturbed, it exits with $?"; cat "$work/err" >&2; return 1; }
  state "$work/case" >"$work/after.state"
  timeless "$work/out" >"$work/after.out"
}
# Every fault, "CALL K HOW", in the order of calls.txt.
faults() {
  awk -v only=" ${TORTURE_CALLS:-} " '
    FNR == NR { if ($0 !~ /^#/) how[$1] = $0; next }
    { count[$1]++ }
    END { for (call in count) if (call in how && (only == "  " || index(only, " " call " "))) {
            words = split(how[call], h, " ")
            for (k = 1; k <= count[call]; k++) for (w = 2; w <= words; w++) print call, k, h[w] } }' \
    "$here/calls.txt" "$work/calls" | sort -k 1,1 -k 2,2n -k 3
}
# sample N: lines of stdin, chosen by the seed: first a call, so that rare ones have their turn, then one of its faults
sample() {
  awk -v n="$1" -v seed="${TORTURE_SEED:-1}" '
    !($1 in count) { call[calls++] = $1 }
    { line[$1, count[$1]++] = $0 }
    END { srand(seed); for (i = 0; i < n && calls > 0; i++) { c = call[int(rand() * calls)]; print line[c, int(rand() * count[c])] } }'
}
chosen() {
  faults >"$work/faults"
  if [ "$samples" = all ]; then cat "$work/faults"; return; fi
  grep -v '^alloc ' "$work/faults" | sample $((samples - samples / 2))
  grep '^alloc ' "$work/faults" | sample $((samples / 2))
}

torture() { # NAME COMMAND
  local call k how
  undisturbed "$1" "$2" || return
  chosen >"$work/chosen"
  while read -r call k how; do one "$1" "$2" "$call" "$k" "$how"; done <"$work/chosen"
  echo "$1: $(wc -l <"$work/faults") faults are possible, $(wc -l <"$work/chosen") chosen; so far $tried tried, $missed not reached, $known of a known kind, $failures complaints"
}

grep -v '^#' "$here/commands.txt" >"$work/commands"
while IFS='|' read -r name command clocked <&3; do
  if [ -n "${TORTURE_CASE:-}" ]; then
    [ "${TORTURE_CASE%% *}" = "$name" ] || continue
    IFS=: read -r call k how <<<"${TORTURE_CASE#* }"
    undisturbed "$name" "$command" && one "$name" "$command" "$call" "$k" "$how"
    continue
  fi
  [ -z "${TORTURE_COMMANDS:-}" ] || [[ " $TORTURE_COMMANDS " == *" $name "* ]] || continue
  torture "$name" "$command"
done 3<"$work/commands"
[ "$tried" -gt 0 ] || fail "no fault was tried"
finish
