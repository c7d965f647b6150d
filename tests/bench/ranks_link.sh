#!/bin/bash
# ranks_link.sh — what a network costs two ranks, on one machine and without a network.
#
#   sudo tests/bench/ranks_link.sh [OPTION ...] RECIPE [KEY=VALUE ...]
#   sudo tests/bench/ranks_link.sh --smalti "build/run-uninstalled smalti" bench/a train.batch_size=64 train.pieces=2
#
# Two network namespaces stand for two machines. A pair of virtual network cards (veth) joins them, and a token bucket
# (tc, tbf) lets each card send at the rate of the link and no quicker. In each namespace runs one rank with one thread,
# started by Open MPI's mpirun, whose "ssh" is a line that enters the other namespace; they speak by TCP over the link.
# In turn with them runs what they are held against: one process with two threads. Needs root, iproute2, Open MPI.
#
# Beside it what it would be if nothing were hidden behind computing: a step takes what one process with two threads takes,
# and then as long as the link, of whose rate 94 % are left, needs for what a rank sends.
#
# Where the kernel lacks veth or tbf, ranks speak as they like on this machine and hold themselves up by --link of
# `smalti bench step`: the table says so.
set -eu

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
  cat <<'END'

  --smalti COMMAND   how smalti is called ("smalti")
  --links LIST       Gbit/s, with commas ("10,1")
  --rounds N         turns of each (1)
  --steps N          timed steps of a turn, after one of warm-up (2)
  --under COMMAND    what a measurement is started by, such as "nice -n -5" ("")
  --no-namespaces    as where the kernel lacks what is wanted
END
}

# ---- options ---------------------------------------------------------------------------------------------------

smalti=smalti links=10,1 rounds=1 steps=2 under='' namespaces=yes
given=("$@")
while [ $# -gt 0 ]; do
  case $1 in
    --smalti) smalti=$2; shift 2 ;;
    --links) links=$2; shift 2 ;;
    --rounds) rounds=$2; shift 2 ;;
    --steps) steps=$2; shift 2 ;;
    --under) under=$2; shift 2 ;;
    --no-namespaces) namespaces=no; shift ;;
    --help) usage; exit 0 ;;
    --*) echo "ranks_link.sh: there is no option $1; see --help" >&2; exit 2 ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || { usage >&2; exit 2; }
recipe=("$@")
mpirun=$(command -v mpirun.openmpi || command -v mpirun) || { echo "ranks_link.sh: there is no mpirun" >&2; exit 1; }
version=$("$mpirun" --version 2>/dev/null | head -n 1)
case $version in *Open*) ;; *) echo "ranks_link.sh: $mpirun is not Open MPI's" >&2; exit 1 ;; esac

# All that is made here, namespaces, cards and mounts, is in namespaces of this process, and goes with it.
if [ $namespaces = yes ] && [ -z "${RANKS_LINK_INSIDE-}" ]; then
  [ "$(id -u)" -eq 0 ] || { echo "ranks_link.sh: network namespaces want root (or --no-namespaces)" >&2; exit 1; }
  RANKS_LINK_INSIDE=1 exec unshare --net --mount --uts "$0" "${given[@]}"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# ---- two machines ----------------------------------------------------------------------------------------------

left=10.77.0.1 right=10.77.0.2 network=10.77.0.0/24

make_machines() {
  mkdir -p /run/netns && mount -t tmpfs none /run/netns || return
  ip netns add left && ip netns add right || return
  ip link add name card-left type veth peer name card-right || return
  for side in left right; do
    ip link set "card-$side" netns $side
    ip -n $side addr add "${!side}/24" dev "card-$side"
    ip -n $side link set "card-$side" up
    ip -n $side link set lo up
  done
  cat >"$work/enter" <<END # ADDRESS COMMAND …: what mpirun takes for ssh
#!/bin/sh
case \$1 in $left) side=left ;; $right) side=right ;; *) echo "no machine \$1" >&2; exit 1 ;; esac
shift
exec ip netns exec \$side unshare --uts sh -c "hostname \$side; \$*"
END
  chmod +x "$work/enter"
}
limit_link() { # GBIT
  local side
  for side in left right; do
    ip netns exec $side tc qdisc replace dev "card-$side" root tbf rate "$1gbit" burst 1mb latency 20ms || return
  done
}
wire_bytes() { ip netns exec left cat /sys/class/net/card-left/statistics/tx_bytes; }

if [ $namespaces = yes ] && ! { make_machines && limit_link 1; } 2>"$work/why"; then
  echo "ranks_link.sh: no link can be made here: $(tail -n 1 "$work/why"); the ranks hold themselves up (--link)" >&2
  namespaces=no
fi

# ---- measurements ----------------------------------------------------------------------------------------------

number() { grep -o "\"$1\":[0-9.e+-]*" "$2" | head -n 1 | sed 's/.*://'; }
step() { # THREADS: the command
  printf '%s bench step' "$smalti"
  printf ' %q' "${recipe[@]}"
  printf ' --threads %d --warm-up 1 --steps %d --json' "$1" "$steps"
}
run_one() { eval "$under sh -c $(printf %q "$(step 2)")" >"$work/one"; }
run_two() { # GBIT
  local ssh="--mca plm_rsh_agent $work/enter --mca btl_tcp_if_include $network --mca oob_tcp_if_include $network"
  local common="$mpirun -q --bind-to none -n 2 --mca pml ob1 --mca btl tcp,self"
  if [ $namespaces = yes ]; then
    limit_link "$1"
    eval "$under $work/enter $left $(printf %q "$common $ssh --host $left:1,$right:1 $(step 1)")" >"$work/two"
  else
    eval "$under sh -c $(printf %q "$common --oversubscribe $(step 1) --link $1")" >"$work/two"
  fi
}
row() { awk "$@" 'BEGIN {
    carried = link * 1e9 / 8 * 0.94
    printf "| %s | %.3f | %.3f | %.3f | %.3f | %.3f | %.1f | %s |\n", \
      link, one, two, one / two, one / (one + sent / carried), sent / carried, sent / 1e6, wire }'; }

echo "two ranks with one thread each, against one process with two threads; ${recipe[*]}"
if [ $namespaces = yes ]; then echo "link: veth between two network namespaces, tbf at the rate, TCP, $version"
else echo "link: held up in the program (--link), messages through this machine's memory; a model, not a network"; fi
echo
echo "| link, Gbit/s | one process, s a step | two ranks, s a step | ratio | ratio, nothing hidden | on the link, s | sent by a rank, MB a step | on the wire, MB a step |"
echo "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
for ((round = 0; round < rounds; round++)); do
  for link in ${links//,/ }; do
    run_one
    wire=- before=0
    [ $namespaces = no ] || before=$(wire_bytes)
    run_two "$link"
    [ $namespaces = no ] || wire=$(awk "BEGIN { printf \"%.1f\", ($(wire_bytes) - $before) / ($steps + 1) / 1e6 }")
    row -v link="$link" -v one="$(number median_s "$work/one")" -v two="$(number median_s "$work/two")" \
      -v sent="$(number sent_bytes "$work/two")" -v wire="$wire"
  done
done
