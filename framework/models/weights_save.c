/* weights_save.c — a backbone's weights as a safetensors file that other programs open, and what the file
 * says of itself.
 *
 * smalti's names of a vision transformer are timm's already, so the timm format only leaves out what timm's
 * strict loading would refuse; a backbone says which other names timm has otherwise. Hugging Face's names are
 * its own. */
#include "weights.h"
#include "weights_names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* iBOT's own code (models/vision_transformer.py) differs from timm in these names. */
static const struct {
  const char *timm, *ibot;
} ibot_names[] = {{"ls1.gamma", "gamma_1"}, {"ls2.gamma", "gamma_2"}};

/* Hugging Face's names (transformers, models/vit/modeling_vit.py and models/dinov2/modeling_dinov2.py): `plain`
 * without gains, `scaled` with. '#' stands for a block's number, '$' for weight or bias, '@' for query, key and
 * value, which are apart there. NULL: that model has no such part. */
static const struct {
  const char *own, *plain, *scaled;
} hf_names[] = {
    {"cls_token", "embeddings.cls_token", "embeddings.cls_token"},
    {"dist_token", "embeddings.distillation_token", NULL},
    {"register_tokens", NULL, "embeddings.register_tokens"},
    {"masked_embed", "", "embeddings.mask_token"}, /* ViTModel has none unless asked to */
    {"pos_embed", "embeddings.position_embeddings", "embeddings.position_embeddings"},
    {"patch_embed.proj.$", "embeddings.patch_embeddings.projection.$",
     "embeddings.patch_embeddings.projection.$"},
    {"blocks.#.norm1.$", "encoder.layer.#.layernorm_before.$", "encoder.layer.#.norm1.$"},
    {"blocks.#.norm2.$", "encoder.layer.#.layernorm_after.$", "encoder.layer.#.norm2.$"},
    {"blocks.#.attn.qkv.$", "encoder.layer.#.attention.attention.@.$",
     "encoder.layer.#.attention.attention.@.$"},
    {"blocks.#.attn.proj.$", "encoder.layer.#.attention.output.dense.$",
     "encoder.layer.#.attention.output.dense.$"},
    {"blocks.#.mlp.fc1.$", "encoder.layer.#.intermediate.dense.$", "encoder.layer.#.mlp.fc1.$"},
    {"blocks.#.mlp.fc2.$", "encoder.layer.#.output.dense.$", "encoder.layer.#.mlp.fc2.$"},
    {"blocks.#.mlp.w12.$", NULL, "encoder.layer.#.mlp.weights_in.$"},
    {"blocks.#.mlp.w3.$", NULL, "encoder.layer.#.mlp.weights_out.$"},
    {"blocks.#.ls1.gamma", NULL, "encoder.layer.#.layer_scale1.lambda1"},
    {"blocks.#.ls2.gamma", NULL, "encoder.layer.#.layer_scale2.lambda1"},
    {"norm.$", "layernorm.$", "layernorm.$"},
};

/* A name by a pattern of hf_names. */
static bool weights_save_matches(const char *pattern, const char *name, int *block, const char **rest) {
  int n = 0;
  for (; *pattern && *pattern != '$'; pattern++) {
    if (*pattern == '#') {
      if (sscanf(name, "%d%n", block, &n) != 1) return false;
      name += n;
    } else if (*pattern != *name++) return false;
  }
  *rest = name;
  return *pattern == '$' || !*name;
}

static void weights_save_expand(const char *pattern, int block, const char *part, const char *rest, char *buf,
                                size_t size) {
  size_t at = 0;
  buf[0] = 0;
  for (; *pattern && at < size; pattern++)
    at += (size_t)(*pattern == '#'   ? snprintf(buf + at, size - at, "%d", block)
                   : *pattern == '@' ? snprintf(buf + at, size - at, "%s", part)
                   : *pattern == '$' ? snprintf(buf + at, size - at, "%s", rest)
                                     : snprintf(buf + at, size - at, "%c", *pattern));
}

/* The pattern of a name; NULL: it has none there. "": it is left out. */
static const char *weights_save_hf(const char *name, bool scaled, int *block, const char **rest) {
  for (size_t i = 0; i < sizeof hf_names / sizeof *hf_names; i++)
    if (weights_save_matches(hf_names[i].own, name, block, rest))
      return scaled ? hf_names[i].scaled : hf_names[i].plain;
  return NULL;
}

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
  bool scaled;        /* it has gains: Dinov2Model's names */
  char nameless[160]; /* a row that has no name there      */
  int dropped;
  int64_t elements;
} saving;

/* Declare a part of a row, or write it: `parts` equal ones below one another. */
static void weights_save_part(saving *s, int r, const char *name, int part, int parts, bool write) {
  const sm_row *row = sm_set_row(s->set, r);
  const char *dtype = sm_dtype_name(sm_set_real(s->set));
  int64_t dim[SM_ST_MAX_DIMS];
  for (int d = 0; d < row->ndim; d++) dim[d] = row->dim[d];
  if (parts > 1) dim[0] /= parts;
  if (!write) {
    sm_st_declare(s->writer, name, dtype, row->ndim, dim);
    return;
  }
  size_t bytes;
  void *values = sm_set_lend(s->set, r, SM_VALUES, &bytes);
  sm_st_write(s->writer, name, values ? (char *)values + bytes / (size_t)parts * (size_t)part : NULL,
              bytes / (size_t)parts);
  sm_set_give_back(s->set, r, SM_VALUES, values, false);
}

/* A row under Hugging Face's names. False: it has none. */
static bool weights_save_hf_row(saving *s, int r, const char *own, bool write) {
  static const char *const parts[] = {"query", "key", "value"};
  const char *rest = "";
  char name[320];
  int block = 0;
  const char *pattern = weights_save_hf(own, s->scaled, &block, &rest);
  if (!pattern) {
    if (!s->nameless[0]) snprintf(s->nameless, sizeof s->nameless, "%s", own);
    return false;
  }
  if (!*pattern) return s->dropped++, true;
  const int n = strchr(pattern, '@') ? 3 : 1;
  for (int i = 0; i < n; i++) {
    weights_save_expand(pattern, block, parts[i], rest, name, sizeof name);
    weights_save_part(s, r, name, i, n, write);
  }
  s->elements += sm_set_row(s->set, r)->size;
  return true;
}

/* Every row that goes out, twice: to declare it and to write it. */
static void weights_save_each_row(saving *s, bool write) {
  char name[320];
  size_t cut = strlen(s->prefix);
  s->dropped = 0;
  s->elements = 0;
  for (int r = 0; r < sm_set_rows(s->set); r++) {
    const sm_row *row = sm_set_row(s->set, r);
    if (strncmp(row->name, s->prefix, cut) != 0) continue;
    if (s->format == SM_WEIGHTS_HF) {
      if (!weights_save_hf_row(s, r, row->name + cut, write)) return;
      continue;
    }
    if (s->format == SM_WEIGHTS_TIMM && row->flags & SM_ROW_NO_EXPORT) {
      s->dropped++;
      continue;
    }
    weights_save_file_name(sm_weights_name_of(row, cut, s->format == SM_WEIGHTS_TIMM), s->format, name,
                           sizeof name);
    s->elements += row->size;
    weights_save_part(s, r, name, 0, 1, write);
  }
}

static sm_status weights_save_nameless(const saving *s, const char *path, sm_error *err) {
  sm_fail(err, SM_EUNSUPPORTED, "Hugging Face's ViTModel and Dinov2Model have no place for '%s'", s->nameless);
  sm_fail_at(err, path, 0, 0);
  return sm_hint(err, "take the names of another program: --format timm or --format ibot");
}

sm_status sm_weights_save(const char *path, sm_set *set, const char *row_prefix, sm_weights_format format,
                          const sm_weights_about *about, int *dropped, int64_t *elements, sm_error *err) {
  char gain[320];
  snprintf(gain, sizeof gain, "%sblocks.0.ls1.gamma", row_prefix);
  saving s = {.set = set, .prefix = row_prefix, .format = format, .scaled = sm_set_find(set, gain) >= 0};
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
