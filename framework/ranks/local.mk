# framework/ranks: several processes that train one run
libsmalti_la_SOURCES += \
  framework/ranks/collect.c \
  framework/ranks/keep.c \
  framework/ranks/link.c framework/ranks/link.h \
  framework/ranks/meter.c framework/ranks/meter.h \
  framework/ranks/module.h \
  framework/ranks/open.c \
  framework/ranks/ranks.h \
  framework/ranks/sum.c \
  framework/ranks/sum_halves.c \
  framework/ranks/sum_slices.c \
  framework/ranks/sum_way.h \
  framework/ranks/tree.c framework/ranks/tree.h

# Messages by MPI: an object for each that configure finds, opened at run time, so that nothing here is linked with MPI.
# The source is installed too, for any other MPI. ("exec" in the name: installed with programs, before the hook that
# leaves bare .so.)
mpiexecdir = $(pkglibdir)/mpi
mpiexec_LTLIBRARIES =
mpi_flags = -module -avoid-version -shared -export-symbols-regex '^smalti_messages$$'
if HAVE_OPENMPI
mpiexec_LTLIBRARIES += framework/ranks/mpi_openmpi.la
framework_ranks_mpi_openmpi_la_SOURCES = framework/ranks/mpi_module.c
framework_ranks_mpi_openmpi_la_CPPFLAGS = $(OPENMPI_CFLAGS)
framework_ranks_mpi_openmpi_la_LDFLAGS = $(AM_LDFLAGS) $(mpi_flags)
framework_ranks_mpi_openmpi_la_LIBADD = $(OPENMPI_LIBS)
endif
if HAVE_MPICH
mpiexec_LTLIBRARIES += framework/ranks/mpi_mpich.la
framework_ranks_mpi_mpich_la_SOURCES = framework/ranks/mpi_module.c
framework_ranks_mpi_mpich_la_CPPFLAGS = $(MPICH_CFLAGS)
framework_ranks_mpi_mpich_la_LDFLAGS = $(AM_LDFLAGS) $(mpi_flags)
framework_ranks_mpi_mpich_la_LIBADD = $(MPICH_LIBS)
endif
mpisourcedir = $(pkgdatadir)/mpi
mpisource_DATA = framework/ranks/mpi_module.c framework/ranks/module.h
EXTRA_DIST += framework/ranks/mpi_module.c
