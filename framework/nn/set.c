/* set.c — parameter sets: declaring rows, laying them out, finding them.
 *
 * A set owns its rows, their names and its buffers. Everything that runs over the buffers stands elsewhere:
 * memory in set_memory.c, initial values in init.c, averages and copies in ema.c, updates in optimizer.c, the
 * way into graphs in param.c. */
#include "framework/nn/nn.h"

#include <string.h>

#include "set.h"

enum { ROW_BORDER = 16 }; /* elements: rows start on 64-byte borders in f32 */

sm_set *sm_set_new(const char *name, sm_dtype real, bool trainable, sm_error *err) {
  if (real != SM_F32 && real != SM_F64) {
    sm_fail(err, SM_EINVAL, "parameter set '%s': elements must be F32 or F64, not %s", name,
            sm_dtype_name(real));
    return NULL;
  }
  sm_set *set = sm_calloc(1, sizeof *set);
  if (set) {
    set->arena = sm_arena_new(name);
    set->name = sm_arena_strdup(set->arena, name);
    set->real = real;
    set->backend = sm_backend_of(SM_CPU);
    set->trainable = trainable;
  }
  if (!set || !set->name) {
    sm_set_free(set);
    sm_fail(err, SM_ENOMEM, "out of memory for parameter set '%s'", name);
    return NULL;
  }
  return set;
}

void sm_set_free(sm_set *set) {
  if (!set) return;
  for (int b = 0; b < SM_BUFFERS; b++)
    if (set->buffer[b]) set->backend->release(set->buffer[b], sm_set_buffer_bytes(set));
  sm_free(set->chunk);
  sm_free(set->partial);
  sm_free(set->row);
  sm_arena_free(set->arena);
  sm_free(set);
}

/* ---- declaring --------------------------------------------------------------------------------------- */

static void set_fail_once(sm_set *set, sm_status code, const char *fmt, const char *a, const char *b) {
  if (set->error.code == SM_OK) sm_fail(&set->error, code, fmt, set->name, a, b);
}

static char *set_full_name(const sm_params *p, const char *name) {
  return sm_arena_printf(p->set->arena, "%s%s", p->prefix ? p->prefix : "", name);
}

/* Room for one more row, its name filled; NULL after a sticky error. */
static sm_row *set_add_row(const sm_params *p, const char *name) {
  sm_set *set = p->set;
  char *full = set_full_name(p, name);
  if (full && set->sealed) {
    set_fail_once(set, SM_EINTERNAL, "parameter set '%s' is sealed: '%s' comes too late%s", full, "");
    return NULL;
  }
  if (full && sm_set_find(set, full) >= 0) {
    set_fail_once(set, SM_EINVAL, "parameter set '%s': '%s' is declared twice%s", full, "");
    return NULL;
  }
  if (full && set->rows == set->capacity) {
    int capacity = set->capacity ? 2 * set->capacity : 64;
    sm_row *row = sm_realloc(set->row, (size_t)capacity * sizeof *row);
    if (row) {
      set->row = row;
      set->capacity = capacity;
    }
  }
  if (!full || set->rows == set->capacity) {
    set_fail_once(set, SM_ENOMEM, "parameter set '%s': out of memory at '%s'%s", name, "");
    return NULL;
  }
  sm_row *row = &set->row[set->rows];
  *row = (sm_row){.name = full, .alias_of = -1, .lr_scale = 1, .layer = set->layer};
  return row;
}

static bool set_ends_in(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && !strcmp(text + n - m, end);
}

void sm_declare(const sm_params *p, const char *name, sm_init init, double a, unsigned flags, int ndim,
                const int64_t *dim) {
  sm_row *row = set_add_row(p, name);
  if (!row) return;
  bool bad = ndim < 1 || ndim > SM_MAX_DIMS;
  row->size = 1;
  for (int d = 0; d < ndim && !bad; d++) {
    row->dim[d] = dim[d];
    bad = dim[d] < 1 || row->size > INT64_MAX / 64 / dim[d];
    row->size *= bad ? 1 : dim[d];
  }
  if (bad) {
    char shape[96];
    set_fail_once(p->set, SM_EINVAL, "parameter set '%s': '%s' has the impossible shape %s", row->name,
              sm_shape_text(ndim > SM_MAX_DIMS ? SM_MAX_DIMS : ndim, dim, shape, sizeof shape));
    return;
  }
  row->ndim = ndim;
  row->flags = flags & SM_ROW_RUNNING ? flags | SM_ROW_FROZEN : flags;
  /* the rule of DINO and iBOT (get_params_groups): shapes as stored, so (K,1) gains and tokens are decayed */
  row->decay = ndim > 1 && !set_ends_in(row->name, ".bias") && !(flags & SM_ROW_NO_DECAY);
  row->init = init;
  row->init_a = a;
  p->set->rows++;
}

/* BASE.PART */
static void set_declare_part(const sm_params *p, const char *base, const char *part, sm_init init, double a,
                             unsigned flags, int ndim, const int64_t *dim) {
  char name[256];
  if (snprintf(name, sizeof name, "%s.%s", base, part) < (int)sizeof name)
    sm_declare(p, name, init, a, flags, ndim, dim);
  else set_fail_once(p->set, SM_EINVAL, "parameter set '%s': the name of '%.64s' is too long%s", base, "");
}

void sm_declare_linear(const sm_params *p, const char *base, sm_init init, double a, int64_t out, int64_t in,
                       bool bias) {
  set_declare_part(p, base, "weight", init, a, 0, 2, (int64_t[]){out, in});
  if (bias) set_declare_part(p, base, "bias", SM_INIT_ZEROS, 0, 0, 1, &out);
}

void sm_declare_norm(const sm_params *p, const char *base, sm_init gain, int64_t dim) {
  set_declare_part(p, base, "weight", gain, 0, 0, 1, &dim);
  set_declare_part(p, base, "bias", SM_INIT_ZEROS, 0, 0, 1, &dim);
}

void sm_declare_running(const sm_params *p, const char *base, int64_t dim) {
  set_declare_part(p, base, "running_mean", SM_INIT_ZEROS, 0, SM_ROW_RUNNING, 1, &dim);
  set_declare_part(p, base, "running_var", SM_INIT_ONES, 0, SM_ROW_RUNNING, 1, &dim);
}

void sm_declare_grid(const sm_params *p, const char *name, sm_init init, double a, unsigned flags, int prefix,
                     int rows, int cols, int64_t dim) {
  int before = p->set->rows;
  sm_declare(p, name, init, a, flags, 3, (int64_t[]){1, prefix + (int64_t)rows * cols, dim});
  if (p->set->rows == before) return;
  sm_row *row = &p->set->row[before];
  row->grid.prefix = prefix, row->grid.rows = rows, row->grid.cols = cols;
}

void sm_declare_resize(const sm_params *p, const char *name, sm_resize_rule rule) {
  const char *full = set_full_name(p, name);
  const int row = full ? sm_set_find(p->set, full) : -1;
  if (row >= 0 && p->set->row[row].grid.rows) p->set->row[row].grid.rule = rule;
  else if (!full) set_fail_once(p->set, SM_ENOMEM, "parameter set '%s': out of memory at '%s'%s", name, "");
  else if (p->set->error.code == SM_OK)
    sm_fail(&p->set->error, SM_EINVAL, "parameter set '%s': '%s' is no table of positions to resize",
            p->set->name, full);
}

void sm_declare_made_for(const sm_params *p, const char *name, int rows, int cols) {
  const char *full = set_full_name(p, name);
  const int row = full ? sm_set_find(p->set, full) : -1;
  if (row >= 0 && rows > 0 && cols > 0)
    p->set->row[row].made_for.rows = rows, p->set->row[row].made_for.cols = cols;
  else if (!full) set_fail_once(p->set, SM_ENOMEM, "parameter set '%s': out of memory at '%s'%s", name, "");
  else if (p->set->error.code == SM_OK)
    sm_fail(&p->set->error, SM_EINVAL, "parameter set '%s': '%s' cannot be made for a grid of %d x %d",
            p->set->name, full, rows, cols);
}

void sm_declare_timm_name(const sm_params *p, const char *name, const char *timm) {
  const char *full = set_full_name(p, name), *copy = sm_arena_strdup(p->set->arena, timm);
  const int row = full ? sm_set_find(p->set, full) : -1;
  if (row >= 0 && copy) p->set->row[row].timm = copy;
  else
    set_fail_once(p->set, full && copy ? SM_EINVAL : SM_ENOMEM,
                  full && copy ? "parameter set '%s': '%s' is not declared, so it is not timm's '%s'"
                               : "parameter set '%s': out of memory at '%s' (timm: '%s')",
                  full ? full : name, timm);
}

void sm_declare_layer(const sm_params *p, int layer) { p->set->layer = layer; }

void sm_declare_alias(const sm_params *p, const char *name, const char *of) {
  sm_row *row = set_add_row(p, name);
  if (!row) return;
  sm_set *set = p->set;
  const char *alias = row->name, *target = set_full_name(p, of);
  int found = target ? sm_set_find(set, target) : -1;
  if (found < 0) {
    set_fail_once(set, target ? SM_EINVAL : SM_ENOMEM,
              "parameter set '%s': '%s' shares '%s', which is not declared", alias, target ? target : of);
    return;
  }
  found = sm_set_root(set, found);
  *row = set->row[found];
  row->name = alias;
  row->alias_of = found;
  set->rows++;
}

/* ---- layout ----------- ------------------------------------------------------------------------------- */

static void set_lay_out(sm_set *set) {
  set->elements = 0;
  set->chunks = 0;
  for (int r = 0; r < set->rows; r++) {
    sm_row *row = &set->row[r];
    if (row->alias_of >= 0) {
      row->offset = set->row[row->alias_of].offset;
      continue;
    }
    row->offset = set->elements;
    set->elements += (row->size + ROW_BORDER - 1) / ROW_BORDER * ROW_BORDER;
    set->chunks += (row->size + SM_SWEEP_CHUNK - 1) / SM_SWEEP_CHUNK;
  }
}

static void set_cut_chunks(sm_set *set) {
  int64_t c = 0;
  for (int r = 0; r < set->rows; r++) {
    const sm_row *row = &set->row[r];
    for (int64_t start = 0; row->alias_of < 0 && start < row->size; start += SM_SWEEP_CHUNK) {
      int64_t left = row->size - start;
      set->chunk[c++] =
          (sm_chunk){.row = r, .start = start, .n = left < SM_SWEEP_CHUNK ? left : SM_SWEEP_CHUNK};
    }
  }
}

static int set_buffer_count(const sm_set *set) { return !set->trainable ? 1 : 2 + (int)set->moments; }

static sm_status set_reserve(sm_set *set, sm_error *err) {
  size_t bytes = sm_set_buffer_bytes(set);
  for (int b = 0; b < set_buffer_count(set) && bytes; b++) {
    char text[32];
    if (!(set->buffer[b] = set->backend->reserve(bytes)))
      return sm_fail(err, SM_ENOMEM, "parameter set '%s': no address space for %s", set->name,
                     sm_human_bytes((double)bytes, text, sizeof text));
  }
  return SM_OK;
}

/* Sines and cosines of what? */
static void set_check_sincos(sm_set *set) {
  for (int r = 0; r < set->rows; r++) {
    const sm_row *row = &set->row[r];
    if (row->init == SM_INIT_SINCOS && (!row->grid.rows || row->dim[2] % 4))
      set_fail_once(set, SM_EINVAL,
                    "parameter set '%s': '%s' asks for sines and cosines, which need %s", row->name,
                    row->grid.rows ? "a width that is a multiple of 4" : "a grid (sm_declare_grid)");
  }
}

sm_status sm_set_seal(sm_set *set, sm_moments moments, sm_error *err) {
  set_check_sincos(set);
  if (set->error.code != SM_OK) {
    if (err) *err = set->error;
    return set->error.code;
  }
  if (set->sealed) return sm_fail(err, SM_EINTERNAL, "parameter set '%s' is sealed already", set->name);
  set->moments = moments;
  set_lay_out(set);
  set->chunk = sm_calloc((size_t)set->chunks, sizeof *set->chunk);
  set->partial = sm_calloc((size_t)set->chunks, 2 * sizeof *set->partial);
  if (!set->chunk || !set->partial)
    return sm_fail(err, SM_ENOMEM, "out of memory for parameter set '%s'", set->name);
  set_cut_chunks(set);
  set->sealed = true;
  return set_reserve(set, err);
}

/* ---- looking ----------------------------------------------------------------------------------------- */

const char *sm_set_name(const sm_set *set) { return set->name; }
sm_dtype sm_set_real(const sm_set *set) { return set->real; }
int sm_set_rows(const sm_set *set) { return set->rows; }
sm_row *sm_set_row(sm_set *set, int index) { return &set->row[index]; }

int sm_set_find(const sm_set *set, const char *name) {
  for (int r = 0; r < set->rows; r++)
    if (!strcmp(set->row[r].name, name)) return r;
  return -1;
}

size_t sm_set_bytes(const sm_set *set) {
  return set->sealed ? (size_t)set_buffer_count(set) * sm_set_buffer_bytes(set) : 0;
}

int64_t sm_set_parameters(const sm_set *set) {
  int64_t n = 0;
  for (int r = 0; r < set->rows; r++)
    if (set->row[r].alias_of < 0 && !(set->row[r].flags & SM_ROW_FROZEN)) n += set->row[r].size;
  return n;
}
