/* set.h — private: what a parameter set is made of, for the files of nn.
 *
 * All buffers have one layout: row r's elements stand at rows[r].offset in each of them. Address space is
 * reserved when the set is sealed, so that graphs can be built and planned over it, and becomes memory when
 * it is allocated. Sweeps are cut into chunks of a fixed number of elements, so that no result depends on the
 * number of threads. */
#ifndef SM_NN_SET_H
#define SM_NN_SET_H

#include "framework/nn/nn.h"
#include "framework/tensor/backend.h"

#define SM_BUFFERS 4 /* sm_buffer */
#define SM_SWEEP_CHUNK \
  ((int64_t)16384) /* elements: value, gradient and two moments stay in a 256-KiB cache */

typedef struct sm_chunk {
  int row;
  int64_t start, n; /* elements; start counts from the row's first */
} sm_chunk;

struct sm_set {
  sm_arena *arena; /* names */
  const char *name;
  sm_dtype real;
  const sm_backend *backend; /* that its memory is of */
  bool trainable, sealed, allocated;
  sm_error error; /* the first mistake of a declaration */
  int layer;      /* of what is declared now: sm_declare_layer */
  sm_row *row;
  int rows, capacity;
  int64_t elements; /* of each buffer */
  sm_moments moments;
  void *buffer[SM_BUFFERS]; /* NULL: the set has none */
  sm_chunk *chunk;          /* of the rows that are not aliases, in their order */
  int64_t chunks;
  double *partial; /* (chunks, 2): sums of squares of gradients and values */
};

/* The row that owns the memory. */
static inline int sm_set_root(const sm_set *set, int row) {
  return set->row[row].alias_of >= 0 ? set->row[row].alias_of : row;
}
static inline size_t sm_set_buffer_bytes(const sm_set *set) {
  return (size_t)set->elements * sm_dtype_size(set->real);
}
/* A row's elements; NULL if the set has no such buffer. Only for sweeps over a set and for tensors over
 * it. */
void *sm_set_data(const sm_set *, int row, sm_buffer);
/* Initial values of the wanted rows (by row number; NULL: all) (init.c). */
void sm_init_rows(sm_set *, uint64_t seed, const bool *wanted);
/* Which rows follow which. Rows that follow the same one have equal shapes, so its chunks are theirs too. */
struct sm_ema_link {
  sm_set *teacher, *student;
  int *follower; /* by row of the student: a row of the teacher that follows it, or -1 */
  int *next;     /* by row of the teacher: another one that follows the same, or -1    */
};
/* Average n elements from `first` on of a row of the student into all rows that follow it (ema.c). */
void sm_ema_range(const sm_ema_link *, const sm_sweeps *, int row, int64_t first, int64_t n,
                  double momentum);
/* sm_set_copy, marking the rows that were copied in done (by row number, or NULL) (ema.c). */
int sm_copy_rows(sm_set *to, sm_set *from, bool *done);

#endif
