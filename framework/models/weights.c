/* weights.c — strict loading of weights by name: first every tensor and row finds its partner or is listed,
 * then, only if all fit, values are copied.
 *
 * Element types F64, F32, F16 and BF16 are converted to the set's. Borrows file and set; owns the list of
 * matches while it works. */
#include "weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "framework/base/mapped.h"
#include "weights_names.h"

enum { NAMED = 3 /* differences that the error message names; the report has all */ };

typedef enum { TAKE, RESIZE, INITIAL, MISSING, SHAPE, TYPE, ALIAS } match_kind;
typedef struct match {
  match_kind kind;
  const sm_st_tensor *tensor;
} match;

typedef struct loading {
  const sm_weights_source *from;
  sm_set *set;
  const char *row_prefix;
  size_t row_cut, file_cut; /* lengths of the prefixes */
  bool timm;                /* the file has timm's names */
  match *match;             /* one per row */
  sm_weights_report *report;
  sm_text named; /* the first differences, for the message */
  int differences;
  bool broken; /* one of them is in a numbered layer, or of a shape or type: a foreign file does not fit either */
} loading;

/* ---- what fits ----------------------------------------------------------------------------------------- */

static bool weights_readable(const char *dtype) {
  return !strcmp(dtype, "F32") || !strcmp(dtype, "F64") || !strcmp(dtype, "F16") || !strcmp(dtype, "BF16");
}

static bool weights_same_shape(const sm_row *row, const sm_st_tensor *t) {
  if (row->ndim != t->ndim) return false;
  for (int d = 0; d < row->ndim; d++)
    if (row->dim[d] != t->shape[d]) return false;
  return true;
}

/* The grid of a table of positions in the file, for a row that is one: rows × cols behind the row's prefix,
 * square unless the file's views are not. False: there is no such grid. */
static bool weights_grid(const loading *l, const sm_row *row, const sm_st_tensor *t, int *rows, int *cols) {
  if (!row->grid.rows || t->ndim != 3 || t->shape[0] != 1 || t->shape[2] != row->dim[2]) return false;
  int64_t n = t->shape[1] - row->grid.prefix;
  if (n < 1 || n > 1 << 20) return false;
  double aspect = l->from->height && l->from->width ? (double)l->from->height / l->from->width : 1;
  *rows = (int)llround(sqrt((double)n * aspect));
  *cols = *rows ? (int)(n / *rows) : 0;
  return *rows && (int64_t)*rows * *cols == n;
}

static match_kind weights_fit(const loading *l, const sm_row *row, const sm_st_tensor *t) {
  int rows = 0, cols = 0;
  bool grid = weights_grid(l, row, t, &rows, &cols);
  if (weights_same_shape(row, t)) return grid && rows != row->grid.rows && l->from->height ? RESIZE : TAKE;
  return grid ? RESIZE : SHAPE;
}

static match weights_find_match(const loading *l, const sm_row *row) {
  char name[320];
  snprintf(name, sizeof name, "%s%s", l->from->prefix, sm_weights_name_of(row, l->row_cut, l->timm));
  const sm_st_tensor *t = sm_st_find(l->from->file, name);
  if (!t && row->alias_of >= 0) return (match){ALIAS, NULL};
  if (!t) return (match){row->flags & SM_ROW_NO_EXPORT ? INITIAL : MISSING, NULL};
  if (!weights_readable(t->dtype)) return (match){TYPE, t};
  return (match){weights_fit(l, row, t), t};
}

/* PyTorch's batch norm counts its batches, which nothing reads where the momentum is given. */
static bool weights_is_counter(const char *name) {
  static const char counter[] = "num_batches_tracked";
  const size_t n = strlen(name), m = sizeof counter - 1;
  return n >= m && !strcmp(name + n - m, counter) && (n == m || name[n - m - 1] == '.');
}

static bool weights_ignored(const loading *l, const char *name) {
  if (sm_weights_is_buffer(name)) return true;
  if (weights_is_counter(name)) return true;
  for (const char *const *i = l->from->ignore; i && *i; i++)
    if (!strncmp(name, *i, strlen(*i))) return true;
  return false;
}

/* ---- what to say --------------------------------------------------------------------------------------- */

static void weights_difference(loading *l, const char *kind, const char *fmt, ...) SM_PRINTF(3, 4);
static void weights_difference(loading *l, const char *kind, const char *fmt, ...) {
  char text[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  sm_text_add(&l->report->text, "%-12s %s\n", kind, text);
  if (l->differences++ < NAMED) sm_text_add(&l->named, "%s%s %s", l->named.len ? "; " : "", kind, text);
}

/* Layers that are numbered: "blocks.2.attn.qkv.weight" is of number 2 of "blocks.". The next number in the
 * name, from *at on; -1: there is none. */
static int weights_number(const char *name, size_t *at) {
  for (size_t i = *at; name[i]; i++) {
    size_t digits = strspn(name + i, "0123456789");
    bool alone = digits && digits < 5 && i && name[i - 1] == '.' && name[i + digits] == '.';
    if (alone) return *at = i, atoi(name + i);
    if (digits) i += digits - 1;
  }
  return -1;
}

/* "blocks.2.attn.qkv.weight": what such a layer lacks makes another network of it. */
static bool weights_in_layer(const char *name) {
  size_t at = 0;
  return weights_number(name, &at) >= 0;
}

static void weights_tell_row(loading *l, const sm_row *row, const match *m) {
  const char *name = row->name + l->row_cut;
  const sm_st_tensor *t = m->tensor;
  sm_weights_report *r = l->report;
  char need[96], have[160];
  int rows = 0, cols = 0;
  sm_shape_text(row->ndim, row->dim, need, sizeof need);
  if (t) sm_shape_text(t->ndim, t->shape, have, sizeof have);
  switch (m->kind) {
    case MISSING:
      r->missing++;
      l->broken |= weights_in_layer(name);
      weights_difference(l, "missing", "%s %s%s", name, need,
                         l->from->foreign ? ": keeps its initial values" : "");
      break;
    case SHAPE:
      r->wrong++;
      weights_difference(l, "other shape", "%s: the file has %s, the network needs %s", name, have, need);
      break;
    case TYPE:
      r->wrong++;
      weights_difference(l, "other type", "%s: the file has %s, not floating-point numbers", name, t->dtype);
      break;
    case INITIAL:
      r->initial++;
      sm_text_add(&r->text, "%-12s %s: not in the file, keeps its initial values\n", "initial", name);
      break;
    case RESIZE:
      weights_grid(l, row, t, &rows, &cols);
      sm_text_add(&r->text, "%-12s %s: from %d x %d patches to %d x %d\n", "resized", name, rows, cols,
                  row->grid.rows, row->grid.cols);
      r->resized++;
      break;
    case TAKE:
    case ALIAS:
      break;
  }
  if (m->kind != TAKE && m->kind != RESIZE) return;
  r->taken++;
  r->elements += row->size;
  r->converted += strcmp(t->dtype, sm_dtype_name(sm_set_real(l->set))) != 0;
}

static bool weights_has_row(const loading *l, const char *name) {
  char full[640];
  for (int r = 0; l->timm && r < sm_set_rows(l->set); r++) {
    const sm_row *row = sm_set_row(l->set, r);
    if (row->timm && !strncmp(row->name, l->row_prefix, l->row_cut) && !strcmp(row->timm, name)) return true;
  }
  snprintf(full, sizeof full, "%s%s", l->row_prefix, name);
  return sm_set_find(l->set, full) >= 0;
}

static void weights_tell_unexpected(loading *l) {
  const sm_st_tensor *t;
  char shape[160];
  for (size_t i = 0; (t = sm_st_at(l->from->file, i)); i++) {
    if (strncmp(t->name, l->from->prefix, l->file_cut) != 0) continue;
    const char *name = t->name + l->file_cut;
    if (weights_has_row(l, name)) continue;
    if (weights_ignored(l, name)) {
      l->report->ignored++;
      sm_text_add(&l->report->text, "%-12s %s\n", "ignored", name);
      continue;
    }
    l->report->unexpected++;
    l->broken |= weights_in_layer(name);
    weights_difference(l, l->from->foreign && !weights_in_layer(name) ? "unused" : "unexpected", "%s %s", name, sm_shape_text(t->ndim, t->shape, shape, sizeof shape));
  }
}

/* The name of a tensor that ends in that of a missing row says what stands in front of all names. */
static bool weights_find_prefix(const loading *l, char *prefix, size_t size) {
  const sm_st_tensor *t;
  for (int r = 0; r < sm_set_rows(l->set); r++) {
    const char *full = sm_set_row(l->set, r)->name;
    if (l->match[r].kind != MISSING || strncmp(full, l->row_prefix, l->row_cut) != 0) continue;
    size_t end = strlen(full + l->row_cut);
    for (size_t i = 0; (t = sm_st_at(l->from->file, i)); i++) {
      size_t n = strlen(t->name);
      if (n <= end || t->name[n - end - 1] != '.' || strcmp(t->name + n - end, full + l->row_cut) != 0)
        continue;
      snprintf(prefix, size, "%.*s", (int)(n - end), t->name);
      return true;
    }
  }
  return false;
}

/* How many layers of that beginning ("blocks.") the file has, or the network. */
static int weights_layers(const loading *l, bool in_file, const char *begin, size_t n) {
  int most = 0;
  const sm_st_tensor *t;
  for (size_t i = 0; in_file ? (t = sm_st_at(l->from->file, i)) != NULL : i < (size_t)sm_set_rows(l->set);
       i++) {
    const char *name = in_file ? t->name : sm_set_row(l->set, (int)i)->name;
    const char *cut = in_file ? l->from->prefix : l->row_prefix;
    size_t at = n;
    if (strncmp(name, cut, strlen(cut)) != 0 || strncmp(name += strlen(cut), begin, n) != 0) continue;
    int number = weights_number(name, &at);
    if (at == n && number >= most) most = number + 1;
  }
  return most;
}

/* The numbered layers of which file and network have different numbers, by a name that one of them has and
 * the other lacks. */
static bool weights_find_depth(const loading *l, const char *name, char *begin, size_t size, int *have,
                               int *need) {
  for (size_t at = 0; weights_number(name, &at) >= 0; at++) {
    *have = weights_layers(l, true, name, at), *need = weights_layers(l, false, name, at);
    if (!*have || !*need || *have == *need || at >= size) continue;
    snprintf(begin, size, "%.*s", (int)at - 1, name);
    return true;
  }
  return false;
}

static bool weights_other_depth(const loading *l, char *begin, size_t size, int *have, int *need) {
  const sm_st_tensor *t;
  for (size_t i = 0; (t = sm_st_at(l->from->file, i)); i++) {
    if (strncmp(t->name, l->from->prefix, l->file_cut) != 0) continue;
    const char *name = t->name + l->file_cut;
    if (weights_has_row(l, name) || weights_ignored(l, name)) continue;
    if (weights_find_depth(l, name, begin, size, have, need)) return true;
  }
  for (int r = 0; r < sm_set_rows(l->set); r++)
    if (l->match[r].kind == MISSING && !strncmp(sm_set_row(l->set, r)->name, l->row_prefix, l->row_cut) &&
        weights_find_depth(l, sm_set_row(l->set, r)->name + l->row_cut, begin, size, have, need))
      return true;
  return false;
}

/* "head.,fc_norm.": up to three beginnings of the names that the network lacks. */
static void weights_beginnings(const loading *l, sm_text *out) {
  const sm_st_tensor *t;
  const char *told[3];
  int n = 0;
  for (size_t i = 0; n < 3 && (t = sm_st_at(l->from->file, i)); i++) {
    if (strncmp(t->name, l->from->prefix, l->file_cut) != 0) continue;
    const char *name = t->name + l->file_cut;
    size_t length = strcspn(name, ".");
    bool again = weights_has_row(l, name) || weights_ignored(l, name);
    length += name[length] == '.';
    for (int k = 0; k < n; k++) again = again || !strncmp(told[k], name, length);
    if (again) continue;
    sm_text_add(out, "%s%.*s", n ? "," : "", (int)length, name);
    told[n++] = name;
  }
}

static sm_status weights_hint_ignore(const loading *l, sm_error *err) {
  sm_text names = {0};
  weights_beginnings(l, &names);
  if (l->from->say_ignore)
    sm_hint(err, "if these are not wanted, leave them: %s%s", l->from->say_ignore, names.s ? names.s : "");
  else sm_hint(err, "the file is of another network: this one has no such tensors");
  sm_text_free(&names);
  return err ? err->code : SM_EINVAL;
}

static sm_status weights_refuse(loading *l, sm_error *err) {
  const sm_weights_report *r = l->report;
  char prefix[256];
  int have, need;
  sm_fail(err, SM_EINVAL,
          "the weights do not fit the network: %d missing, %d unexpected, %d of another shape or type: %s%s",
          r->missing, r->unexpected, r->wrong, l->named.s ? l->named.s : "",
          l->differences > NAMED ? "; …" : "");
  sm_fail_at(err, sm_st_path(l->from->file), 0, 0);
  if (weights_other_depth(l, prefix, sizeof prefix, &have, &need))
    return sm_hint(
        err,
        "the file is of a %s network, which has %d '%s' where this one has %d; say so in the backbone's options, as in 'depth: %d'",
        have > need ? "deeper" : "shallower", have, prefix, need, have);
  if (r->missing && weights_find_prefix(l, prefix, sizeof prefix) && strcmp(prefix, l->from->prefix) != 0)
    return l->from->say_prefix ? sm_hint(err, "names in the file begin with '%s': give %s%s", prefix,
                                         l->from->say_prefix, prefix)
                               : sm_hint(err, "names in the file begin with '%s'", prefix);
  if (!r->missing && !r->wrong) return weights_hint_ignore(l, err);
  if (r->wrong && !r->missing && !r->unexpected)
    return sm_hint(err, "the same architecture in another size: check the backbone's options");
  return sm_hint(err, "check the backbone's options: the file is of another network");
}

/* Strict; of a foreign file 90 % must fit. */
static bool weights_too_different(const loading *l) {
  const sm_weights_report *r = l->report;
  if (!l->from->foreign || l->broken || r->wrong) return l->differences > 0;
  const int all = r->taken + r->missing + r->unexpected;
  return r->taken * 10 < all * 9;
}

/* ---- values -------------------------------------------------------------------------------------------- */

static float weights_half(uint16_t h) {
  int exponent = h >> 10 & 31, fraction = h & 1023;
  float value = exponent == 31 ? (fraction ? NAN : INFINITY)
                : exponent     ? ldexpf((float)(1024 + fraction), exponent - 25)
                               : ldexpf((float)fraction, -24);
  return h & 0x8000 ? -value : value;
}

double sm_weights_element(const sm_st_tensor *t, int64_t i) {
  const char *at = (const char *)t->data + (size_t)i * sm_st_dtype_size(t->dtype);
  float f;
  double d;
  uint16_t h;
  if (!strcmp(t->dtype, "F64")) return memcpy(&d, at, sizeof d), d;
  if (!strcmp(t->dtype, "F32")) return memcpy(&f, at, sizeof f), (double)f;
  memcpy(&h, at, sizeof h);
  if (!strcmp(t->dtype, "F16")) return (double)weights_half(h);
  uint32_t bits = (uint32_t)h << 16; /* BF16: the upper half of an F32 */
  return memcpy(&f, &bits, sizeof f), (double)f;
}

static void weights_copy_values(const sm_st_tensor *t, sm_set *set, int row) {
  double part[512];
  int64_t all = (int64_t)t->elements, most = sizeof part / sizeof *part;
  if (!strcmp(t->dtype, sm_dtype_name(sm_set_real(set)))) {
    void *to = sm_set_lend(set, row, SM_VALUES, NULL);
    memcpy(to, t->data, t->bytes);
    sm_set_give_back(set, row, SM_VALUES, to, true);
    return;
  }
  for (int64_t first = 0, n; first < all; first += n) {
    n = all - first < most ? all - first : most;
    for (int64_t i = 0; i < n; i++) part[i] = sm_weights_element(t, first + i);
    sm_set_write_f64(set, row, SM_VALUES, first, n, part);
  }
}

/* The engine's own resizing, so that a network started from these weights sees what it would have computed.
 * Its op wants one row before the patches: whatever stands there; rows of the prefix are copied. */
static sm_status weights_resize_values(const loading *l, int to, const sm_st_tensor *t, sm_error *err) {
  const sm_row *row = sm_set_row(l->set, to);
  const int64_t dim = row->dim[2], prefix = row->grid.prefix * dim, given_n = (int64_t)t->elements;
  int rows = 0, cols = 0;
  weights_grid(l, row, t, &rows, &cols);
  const int64_t patches = (int64_t)rows * cols;
  sm_pool *pool = sm_pool_new(1, err);
  double *values =
      pool ? sm_malloc((size_t)(given_n > row->size ? given_n : row->size) * sizeof *values) : NULL;
  sm_graph_config config = {.device = SM_CPU, .real = sm_set_real(l->set), .pool = pool, .isa = l->from->isa};
  sm_graph *g = values ? sm_graph_new(&config, err) : NULL;
  sm_status status = g ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory to resize the position embedding");
  if (!status) {
    int pass = sm_pass_begin(g, "resize");
    sm_tensor *given = sm_input_real(g, "positions", 3, (int64_t[]){1, 1 + patches, dim}, NULL);
    sm_tensor *resized = sm_position_resize_by(g, given, row->grid.rule, 1, rows, cols, row->grid.rows,
                                               row->grid.cols);
    sm_keep(g, resized);
    sm_pass_end(g);
    status = sm_graph_plan(g, err);
    if (!status) status = sm_graph_allocate(g, err);
    for (int64_t i = 0; i < given_n; i++) values[i] = sm_weights_element(t, i);
    sm_write_f64(given, dim, patches * dim, values + prefix);
    if (!status) sm_graph_run(g, pass);
    if (!status) sm_read_f64(resized, dim, row->size - prefix, values + prefix);
    if (!status) sm_set_write_f64(l->set, to, SM_VALUES, 0, row->size, values);
  }
  sm_graph_free(g);
  sm_free(values);
  sm_pool_free(pool);
  return status;
}

/* NaN and infinity in a file that is read as weights are never meant: a run that diverged, or damage. */
static sm_status weights_check_finite(const loading *l, const sm_st_tensor *t, sm_error *err) {
  for (int64_t i = 0; i < (int64_t)t->elements; i++) {
    const double value = sm_weights_element(t, i);
    if (isfinite(value) && (sm_set_real(l->set) != SM_F32 || isfinite((float)value))) continue;
    const char *what = isnan(value)   ? "a NaN"
                       : isinf(value) ? "an infinite number"
                                      : "a number too large for F32";
    sm_fail(err, SM_EFORMAT, "tensor '%s' holds %s (element %" PRId64 " of %" PRIu64 ")", t->name, what,
            i + 1, t->elements);
    sm_fail_at(err, sm_st_path(l->from->file), 0, 0);
    return sm_hint(
        err, "the training that gave these weights diverged, or the file is damaged: take an earlier one");
  }
  return SM_OK;
}

static sm_status weights_check_values(const loading *l, sm_error *err) {
  sm_status status = SM_OK;
  for (int r = 0; !status && r < sm_set_rows(l->set); r++)
    if (l->match[r].tensor) status = weights_check_finite(l, l->match[r].tensor, err);
  return status;
}

static sm_status weights_copy_rows(const loading *l, sm_error *err) {
  sm_status status = weights_check_values(l, err);
  for (int r = 0; !status && r < sm_set_rows(l->set); r++) {
    const match *m = &l->match[r];
    if (!m->tensor) continue;
    if (m->kind == RESIZE) status = weights_resize_values(l, r, m->tensor, err);
    else weights_copy_values(m->tensor, l->set, r);
  }
  return status ? status : sm_mapped_check(NULL, err);
}

sm_status sm_weights_load(const sm_weights_source *from, sm_set *set, const char *row_prefix,
                          sm_weights_report *report, sm_error *err) {
  int rows = sm_set_rows(set);
  loading l = {.from = from,
               .set = set,
               .row_prefix = row_prefix,
               .row_cut = strlen(row_prefix),
               .file_cut = strlen(from->prefix),
               .timm = sm_weights_in_timm(from->file, from->prefix, set, row_prefix),
               .report = report};
  memset(report, 0, sizeof *report);
  if (!(l.match = sm_calloc((size_t)rows + 1, sizeof *l.match)))
    return sm_fail(err, SM_ENOMEM, "no memory to load weights");
  for (int r = 0; r < rows; r++) {
    const sm_row *row = sm_set_row(set, r);
    if (strncmp(row->name, row_prefix, l.row_cut) != 0) continue;
    l.match[r] = weights_find_match(&l, row);
    weights_tell_row(&l, row, &l.match[r]);
  }
  weights_tell_unexpected(&l);
  sm_status status = weights_too_different(&l) ? weights_refuse(&l, err) : weights_copy_rows(&l, err);
  sm_text_free(&l.named);
  sm_free(l.match);
  return status;
}
