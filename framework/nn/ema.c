/* ema.c — what flows from one set to another by name: copies and moving averages.
 *
 * The rule for both: each row of the receiving set that owns memory takes from the row that the giving set
 * knows by the same name, aliases of the giving set resolved. Heads that share differently therefore meet so:
 *   - teacher shares, student does not: the teacher's one layer follows the student's layer of its own name;
 *     the student's second layer has no counterpart. This is what iBOT does, whose named_parameters() lists a
 *     shared layer once.
 *   - student shares, teacher does not: both layers of the teacher follow the student's one. (iBOT would
 *     leave the second at its initial values for good, since the student's list does not name it.)
 * A running mean or variance (SM_ROW_RUNNING) is copied, but not averaged: it follows the pictures that its own
 * network has seen. */
#include "framework/nn/nn.h"

#include <string.h>

#include "set.h"

static bool ema_same_shape(const sm_row *a, const sm_row *b) {
  return a->ndim == b->ndim && memcmp(a->dim, b->dim, (size_t)a->ndim * sizeof *a->dim) == 0;
}

static int ema_giver_of(const sm_set *to, int row, const sm_set *from) {
  if (to->row[row].alias_of >= 0) return -1;
  int found = sm_set_find(from, to->row[row].name);
  return found < 0 ? -1 : sm_set_root(from, found);
}

int sm_copy_rows(sm_set *to, sm_set *from, bool *done) {
  int copied = 0;
  for (int r = 0; r < to->rows && to->real == from->real; r++) {
    int giver = ema_giver_of(to, r, from);
    if (giver < 0 || !ema_same_shape(&to->row[r], &from->row[giver])) continue;
    size_t bytes;
    void *values = sm_set_lend(from, giver, SM_VALUES, &bytes);
    to->backend->write(sm_set_data(to, r, SM_VALUES), values, bytes);
    sm_set_give_back(from, giver, SM_VALUES, values, false);
    if (done) done[r] = true;
    copied++;
  }
  return copied;
}

int sm_set_copy(sm_set *to, sm_set *from) { return sm_copy_rows(to, from, NULL); }

static sm_status ema_join(sm_ema_link *link, sm_error *err) {
  const sm_set *teacher = link->teacher, *student = link->student;
  int common = 0;
  for (int r = 0; r < teacher->rows; r++) {
    int giver = ema_giver_of(teacher, r, student);
    if (giver < 0 || teacher->row[r].flags & SM_ROW_RUNNING) continue;
    const sm_row *t = &teacher->row[r], *s = &student->row[giver];
    char have[96], want[96];
    if (!ema_same_shape(t, s))
      return sm_fail(err, SM_EINVAL, "'%s' is %s in set '%s' but %s in set '%s', so it cannot be averaged",
                     t->name, sm_shape_text(t->ndim, t->dim, have, sizeof have), teacher->name,
                     sm_shape_text(s->ndim, s->dim, want, sizeof want), student->name);
    link->next[r] = link->follower[giver];
    link->follower[giver] = r;
    common++;
  }
  if (!common)
    return sm_fail(err, SM_EINVAL, "sets '%s' and '%s' have no parameter name in common", teacher->name,
                   student->name);
  return SM_OK;
}

static int *ema_rows_of_nobody(int n) {
  int *row = sm_calloc((size_t)n + 1, sizeof *row);
  for (int r = 0; row && r < n; r++) row[r] = -1;
  return row;
}

sm_ema_link *sm_ema_link_new(sm_set *teacher, sm_set *student, sm_error *err) {
  if (teacher->real != student->real || !teacher->sealed || !student->sealed) {
    sm_fail(err, SM_EINTERNAL, "sets '%s' and '%s' must be sealed and of one element type to be averaged",
            teacher->name, student->name);
    return NULL;
  }
  sm_ema_link *link = sm_calloc(1, sizeof *link);
  if (link) *link = (sm_ema_link){.teacher = teacher, .student = student};
  if (link) {
    link->follower = ema_rows_of_nobody(student->rows);
    link->next = ema_rows_of_nobody(teacher->rows);
  }
  if (!link || !link->follower || !link->next) {
    sm_fail(err, SM_ENOMEM, "out of memory for the average of set '%s'", student->name);
    sm_ema_link_free(link);
    return NULL;
  }
  if (ema_join(link, err) != SM_OK) {
    sm_ema_link_free(link);
    return NULL;
  }
  return link;
}

void sm_ema_link_free(sm_ema_link *link) {
  if (!link) return;
  sm_free(link->follower);
  sm_free(link->next);
  sm_free(link);
}

void sm_ema_range(const sm_ema_link *link, const sm_sweeps *sweeps, int row, int64_t first, int64_t n,
                  double momentum) {
  size_t skip = (size_t)first * sm_dtype_size(link->student->real);
  const char *student = (const char *)sm_set_data(link->student, row, SM_VALUES) + skip;
  if (link->student->row[row].flags & SM_ROW_COPIED) momentum = 0;
  for (int r = link->follower[row]; r >= 0; r = link->next[r])
    sweeps->ema((char *)sm_set_data(link->teacher, r, SM_VALUES) + skip, student, n, momentum);
}

typedef struct ema_job {
  const sm_ema_link *link;
  const sm_sweeps *sweeps;
  double momentum;
} ema_job;

static void ema_average_chunk(void *ctx, int64_t item, int worker) {
  (void)worker;
  const ema_job *job = ctx;
  const sm_chunk *c = &job->link->student->chunk[item];
  sm_ema_range(job->link, job->sweeps, c->row, c->start, c->n, job->momentum);
}

void sm_ema_run(sm_ema_link *link, sm_pool *pool, double momentum) {
  ema_job job = {link, sm_backend_sweeps(link->teacher->backend, link->teacher->real, pool), momentum};
  sm_pool_run(pool, link->student->chunks, ema_average_chunk, &job);
}
