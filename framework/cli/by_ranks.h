/* by_ranks.h — commands that several ranks run together. Private to the program. */
#ifndef SM_CLI_BY_RANKS_H
#define SM_CLI_BY_RANKS_H

#include "cli.h"
#include "framework/ranks/ranks.h"

#define SM_MPI_OPTION(T) \
  SM_STRING(T, mpi, "mpi", "", \
            "MPI by which ranks that a launcher started speak to each other: openmpi, mpich or the file of a module " \
            "(docs/cluster.md); none: by the launcher's variables; off: each process works by itself")
#define SM_PATIENCE_OPTION(T) \
  SM_FLOAT(T, patience, "patience", "600", 0, 1000000, "s", \
           "a rank that does not answer for so long, while all compute together, counts as lost; 0: never")
/* Of a network between machines, for the benches: `link`, a number of Gbit/s. */
#define SM_LINK_OPTION(T) \
  SM_FLOAT(T, link, "link", "0", 0, 100000, "Gbit/s", \
           "each rank sends and receives no quicker than by a network of this rate, of which 94 % are left for what is " \
           "sent; 0: as quick as it really is")

/* Join the ranks and let them run: `run` is given NULL where the process is alone. Gives its exit code. `mpi` is the
 * option's value, and becomes the options' module. Where the options have a `stop`, signals are caught from here on. */
int sm_cli_by_ranks(sm_cli *, int argc, char **argv, const char *mpi, sm_ranks_options,
                    int (*run)(sm_cli *, int argc, char **argv, sm_ranks *));
/* A failure that all ranks have agreed on: rank 0 says it. Gives the exit code; a lost rank ends them all. */
int sm_cli_fail_by_ranks(sm_ranks *, const sm_error *);
/* Bytes a second of what a link of so many Gbit/s carries. */
double sm_cli_link_rate(double gbit);

#endif
