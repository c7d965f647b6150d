/* weights_save.c — a backbone's weights as a safetensors file that other programs open, and what the file
 * says of itself.
 *
 * smalti's names of a vision transformer are timm's already, so the timm format only leaves out what timm's
 * strict loading would refuse; a backbone says which other names timm has otherwise. */
#include "weights.h"
#include "weights_names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* iBOT's own code (models/vision_transformer.py) differs from timm in these names. */
static const struct {
  const char *timm, *ibot;
} ibot_names[] = {{"ls1.gamma", "gamma_1"}, {"ls2.gamma", "gamma_2"}};

static void weights_save_file_name(const char *name, sm_weights_format format, char *buf, size_t size) {
  snprintf(buf, size, "%s", name);
  if (format != SM_WEIGHTS_IBOT) return;
  for (size_t i = 0; i < sizeof ibot_names / sizeof *ibot_names; i++) {
    const char *at = strstr(name, ibot_names[i].timm);
    if (at && !at[strlen(ibot_names[i].timm)])
      snprintf(buf, size, "%.*s%s", (int)(at - name), name, ibot_names[i].ibot);
  }
}

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
  int dropped;
  int64_t elements;
} saving;

/* Every row that goes out, twice: to declare it and to write it. */
static void weights_save_each_row(saving *s, bool write) {
  char name[320];
  size_t cut = strlen(s->prefix);
  s->dropped = 0;
  s->elements = 0;
  for (int r = 0; r < sm_set_rows(s->set); r++) {
    const sm_row *row = sm_set_row(s->set, r);
    if (strncmp(row->name, s->prefix, cut) != 0) continue;
    if (s->format == SM_WEIGHTS_TIMM && row->flags & SM_ROW_NO_EXPORT) {
      s->dropped++;
      continue;
    }
    const char *dtype = sm_dtype_name(sm_set_real(s->set));
    weights_save_file_name(sm_weights_name_of(row, cut, s->format == SM_WEIGHTS_TIMM), s->format, name,
                           sizeof name);
    s->elements += row->size;
    if (!write) sm_st_declare(s->writer, name, dtype, row->ndim, row->dim);
    else {
      size_t bytes;
      void *values = sm_set_lend(s->set, r, SM_VALUES, &bytes);
      sm_st_write(s->writer, name, values, bytes);
      sm_set_give_back(s->set, r, SM_VALUES, values, false);
    }
  }
}

sm_status sm_weights_save(const char *path, sm_set *set, const char *row_prefix, sm_weights_format format,
                          const sm_weights_about *about, int *dropped, int64_t *elements, sm_error *err) {
  saving s = {.set = set, .prefix = row_prefix, .format = format};
  if (!(s.writer = sm_st_create(path, SM_ST_AS_DECLARED, err))) return err ? err->code : SM_EIO;
  weights_save_put_about(s.writer, about);
  weights_save_each_row(&s, false);
  weights_save_each_row(&s, true);
  *dropped = s.dropped;
  *elements = s.elements;
  return sm_st_finish(s.writer, err);
}
