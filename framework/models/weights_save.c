/* weights_save.c — a backbone's weights as a safetensors file that other programs open, and what the file
 * says of itself.
 *
 * smalti's names of a vision transformer are timm's VisionTransformer's for the most part; weights_outside.c has the
 * others. What timm's strict loading would refuse is left out. */
#include "weights.h"
#include "weights_names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- metadata ------------------------------------------------------------------------------------------ */

static void weights_save_put_floats(sm_st_writer *w, const char *key, const float v[3]) {
  sm_text text = {0};
  char number[32];
  for (int i = 0; i < 3; i++) {
    char shortest[32];
    snprintf(shortest, sizeof shortest, "%.7g",
             (double)v[i]); /* as the recipe has it, not the float's tail */
    double value = strtod(shortest, NULL);
    sm_text_add(&text, "%s%s", i ? ", " : "[", sm_double_text(value, number, sizeof number));
  }
  sm_text_add(&text, "]");
  sm_st_metadata(w, key, text.failed ? NULL : text.s);
  sm_text_free(&text);
}

static void weights_save_put_about(sm_st_writer *w, const sm_weights_about *a) {
  char text[32];
  sm_st_metadata(w, "format", "pt"); /* what other readers of safetensors ask for: row-major tensors */
  sm_st_metadata(w, "producer", "smalti");
  sm_st_metadata(w, "version", sm_version());
  sm_st_metadata(w, "backbone", a->backbone);
  sm_st_metadata(w, "net", a->net);
  sm_st_metadata(w, "recipe", a->recipe);
  snprintf(text, sizeof text, "%016" PRIx64, a->recipe_hash);
  sm_st_metadata(w, "recipe_hash", text);
  snprintf(text, sizeof text, "%" PRId64, a->step);
  sm_st_metadata(w, "step", text);
  sm_st_metadata(w, "view_size", sm_view_size_text(a->height, a->width, text, sizeof text));
  weights_save_put_floats(w, "mean", a->mean);
  weights_save_put_floats(w, "std", a->std);
  sm_st_metadata(w, "interpolation", sm_filter_names[a->filter]);
}

static bool weights_save_get_floats(const sm_st_reader *r, const char *key, float v[3]) {
  const char *text = sm_st_get(r, key);
  int end = 0;
  return text && sscanf(text, "[%f, %f, %f]%n", &v[0], &v[1], &v[2], &end) == 3 && end && !text[end];
}

static bool weights_save_get_filter(const sm_st_reader *r, sm_filter *filter) {
  const char *text = sm_st_get(r, "interpolation");
  for (int i = 0; text && sm_filter_names[i]; i++)
    if (!strcmp(text, sm_filter_names[i])) return *filter = (sm_filter)i, true;
  return false;
}

/* "224", or "256 x 128" of views that are not square. */
static bool weights_save_get_whole(const sm_st_reader *r, const char *key, int64_t least, int64_t most,
                                   int64_t *value) {
  const char *text = sm_st_get(r, key);
  return text && sm_parse_int(text, value) && *value >= least && *value <= most;
}

sm_status sm_weights_about_read(const sm_st_reader *r, sm_weights_about *a, sm_error *err) {
  const char *producer = sm_st_get(r, "producer"), *wrong = NULL, *hash = sm_st_get(r, "recipe_hash");
  *a = (sm_weights_about){.net = "", .recipe = ""};
  if (!producer || strcmp(producer, "smalti") != 0 || !sm_st_get(r, "backbone")) return SM_OK;
  const char *size = sm_st_get(r, "view_size");
  if (!size || !sm_view_size_parse(size, &a->height, &a->width)) wrong = "view_size";
  else if (!weights_save_get_whole(r, "step", 0, INT64_MAX, &a->step)) wrong = "step";
  else if (!weights_save_get_floats(r, "mean", a->mean)) wrong = "mean";
  else if (!weights_save_get_floats(r, "std", a->std) || !(a->std[0] > 0 && a->std[1] > 0 && a->std[2] > 0))
    wrong = "std";
  else if (!weights_save_get_filter(r, &a->filter)) wrong = "interpolation";
  if (wrong) {
    const char *text = sm_st_get(r, wrong);
    sm_fail(err, SM_EFORMAT, "the weights file's metadata has %s%s%s for '%s'", text ? "'" : "",
            text ? text : "nothing", text ? "'" : "", wrong);
    return sm_fail_at(err, sm_st_path(r), 0, 0);
  }
  a->backbone = sm_st_get(r, "backbone");
  a->net = sm_st_get(r, "net") ? sm_st_get(r, "net") : "";
  a->recipe = sm_st_get(r, "recipe") ? sm_st_get(r, "recipe") : "";
  a->recipe_hash = hash ? strtoull(hash, NULL, 16) : 0;
  return SM_OK;
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

typedef struct saving {
  sm_st_writer *writer;
  sm_set *set;
  const char *prefix;
  sm_weights_format format;
  sm_outside_kind kind;
  int fold;           /* the row of positions whose first row goes to [CLS]; -1: none does */
  char nameless[160]; /* a row that has no name there */
  int dropped;
  int64_t elements;
} saving;

/* Networks with registers have no positions for tokens that are no patches in timm (no_embed_class): the position of
 * [CLS] is added to it, which is the same network. */
static int weights_save_fold(const saving *s) {
  char name[320];
  snprintf(name, sizeof name, "%sregister_tokens", s->prefix);
  if (s->format != SM_WEIGHTS_TIMM || sm_set_find(s->set, name) < 0) return -1;
  snprintf(name, sizeof name, "%spos_embed", s->prefix);
  const int r = sm_set_find(s->set, name);
  const sm_row *row = r >= 0 ? sm_set_row(s->set, r) : NULL;
  return row && row->grid.prefix == 1 && row->grid.rows == row->grid.cols ? r : -1;
}

/* [CLS] with its position, for timm; `values` are the token's, `bytes` of them. */
static void weights_save_placed(const saving *s, void *values, size_t bytes) {
  size_t all;
  const void *first = sm_set_lend(s->set, s->fold, SM_VALUES, &all);
  const bool single = sm_set_real(s->set) == SM_F32;
  for (size_t i = 0; first && i < bytes / (single ? sizeof(float) : sizeof(double)); i++)
    if (single) ((float *)values)[i] += ((const float *)first)[i];
    else ((double *)values)[i] += ((const double *)first)[i];
  sm_set_give_back(s->set, s->fold, SM_VALUES, (void *)first, false);
}

static void weights_save_class(const saving *s, const char *name, const void *values, size_t bytes) {
  void *sum = values ? sm_malloc(bytes) : NULL;
  if (sum) memcpy(sum, values, bytes), weights_save_placed(s, sum, bytes);
  sm_st_write(s->writer, name, sum, bytes);
  sm_free(sum);
}

/* Declare a part of a row, or write it: `parts` equal ones below one another. */
static void weights_save_part(saving *s, int r, const char *name, int part, int parts, bool write) {
  const sm_row *row = sm_set_row(s->set, r);
  const char *dtype = sm_dtype_name(sm_set_real(s->set));
  int64_t dim[SM_ST_MAX_DIMS];
  size_t bytes, cut = 0;
  for (int d = 0; d < row->ndim; d++) dim[d] = row->dim[d];
  if (parts > 1) dim[0] /= parts;
  if (r == s->fold) dim[1]--;
  if (!write) {
    sm_st_declare(s->writer, name, dtype, row->ndim, dim);
    return;
  }
  char *values = sm_set_lend(s->set, r, SM_VALUES, &bytes);
  if (r == s->fold) cut = bytes / (size_t)row->dim[1];
  const size_t each = (bytes - cut) / (size_t)parts;
  if (s->fold >= 0 && !strcmp(name, "cls_token")) weights_save_class(s, name, values, bytes);
  else sm_st_write(s->writer, name, values ? values + cut + each * (size_t)part : NULL, each);
  sm_set_give_back(s->set, r, SM_VALUES, values, false);
}

static bool weights_save_row(saving *s, int r, bool write) {
  const sm_row *row = sm_set_row(s->set, r);
  const size_t cut = strlen(s->prefix);
  sm_outside out;
  if (s->format == SM_WEIGHTS_TIMM && row->flags & SM_ROW_NO_EXPORT) return s->dropped++, true;
  if (!sm_outside_name(s->format, &s->kind, row, cut, &out)) {
    snprintf(s->nameless, sizeof s->nameless, "%s", row->name + cut);
    return false;
  }
  if (out.parts == 1 && !out.name[0][0]) return s->dropped++, true;
  for (int i = 0; i < out.parts; i++)
    if (out.name[i][0]) {
      weights_save_part(s, r, out.name[i], i, out.parts, write);
      s->elements += row->size / out.parts;
    }
  return true;
}

/* Every row that goes out, twice: to declare it and to write it. */
static void weights_save_each_row(saving *s, bool write) {
  s->dropped = 0;
  s->elements = 0;
  for (int r = 0; r < sm_set_rows(s->set); r++)
    if (!strncmp(sm_set_row(s->set, r)->name, s->prefix, strlen(s->prefix)) && !weights_save_row(s, r, write)) return;
}

static sm_status weights_save_nameless(const saving *s, const char *path, sm_error *err) {
  sm_fail(err, SM_EUNSUPPORTED, "Hugging Face's ViTModel and Dinov2Model have no place for '%s'", s->nameless);
  sm_fail_at(err, path, 0, 0);
  return sm_hint(err, "take the names of another program: --format timm or --format ibot");
}

sm_status sm_weights_save(const char *path, sm_set *set, const char *row_prefix, sm_weights_format format,
                          const sm_weights_about *about, int *dropped, int64_t *elements, sm_error *err) {
  saving s = {.set = set, .prefix = row_prefix, .format = format, .kind = sm_outside_kind_of(set, row_prefix)};
  s.fold = weights_save_fold(&s);
  if (!(s.writer = sm_st_create(path, SM_ST_AS_DECLARED, err))) return err ? err->code : SM_EIO;
  weights_save_put_about(s.writer, about);
  weights_save_each_row(&s, false);
  if (s.nameless[0]) {
    sm_st_abort(s.writer);
    return weights_save_nameless(&s, path, err);
  }
  weights_save_each_row(&s, true);
  *dropped = s.dropped;
  *elements = s.elements;
  return sm_st_finish(s.writer, err);
}
