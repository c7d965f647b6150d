# launchers.sh — what the tests of several ranks share. Sourced behind common.sh, not run.
# shellcheck shell=bash
modules=$build/framework/ranks/.libs
export SMALTI_MPI_PATH=$modules
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_plm_rsh_agent=sh # as containers are: root, no ssh
export UCX_LOG_LEVEL=fatal # of MPICH: without /sys it complains on standard output
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" # the libraries of MPI keep what they allocate

# the makes of MPI that are here; without any the test is passed over
makes=()
for make in openmpi mpich; do
  [ -f "$modules/mpi_$make.so" ] && command -v "mpirun.$make" >/dev/null && makes+=("$make") || echo "$make is not here"
done
[ ${#makes[@]} -gt 0 ] || exit 77

# by MAKE RANKS COMMAND …: under that launcher
by() {
  local make=$1 ranks=$2
  shift 2
  case $make in
    openmpi) timeout -k 5 60 mpirun.openmpi -q --oversubscribe --bind-to none -n "$ranks" "$@" ;;
    mpich) timeout -k 5 60 mpirun.mpich -n "$ranks" "$@" ;;
  esac
}
