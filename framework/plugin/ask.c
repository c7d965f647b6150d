/* ask.c — asking plugins in one way: their specs with the defaults filled in and the nonsense refused, and a
 * backbone's or head's forward pass with what was wanted made sure of. */
#include <string.h>

#include "framework/plugin/registry.h"

/* ---- backbones ----------------------------------------------------------------------------------------- */

static sm_status ask_wrong(const char *name, const char *field, int64_t value, const char *wanted,
                           sm_error *err) {
  sm_fail(err, SM_EINTERNAL, "backbone '%s' describes itself with %s %lld, but it must be %s", name, field,
          (long long)value, wanted);
  return sm_hint(err, "this is the plugin's mistake: see smalti/backbone.h");
}

static sm_status ask_check_backbone(const char *name, const sm_backbone_spec *s, sm_error *err) {
  const struct {
    const char *field;
    int64_t value, least, most;
    const char *wanted;
  } fields[] = {{"dim", s->dim, 1, INT32_MAX, "1 or more"},
                {"rows", s->rows, 1, INT32_MAX, "1 or more"},
                {"cols", s->cols, 1, INT32_MAX, "1 or more"},
                {"cell", s->cell, 1, INT32_MAX, "1 or more"},
                {"heads", s->heads, 0, INT32_MAX, "0 or more"},
                {"blocks", s->blocks, 1, SM_BLOCKS_MAX, "1 to 64"},
                {"layers", s->layers, 0, INT32_MAX, "0 or more"},
                {"drop_sites", s->drop_sites, 0, SM_SITES_MAX, "0 to 256"},
                {"drop_columns", s->drop_columns, 0, SM_SITES_MAX, "0 to 256"},
                {"prefix", s->prefix, 0, 4096, "0 to 4096"}};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if (fields[i].value < fields[i].least || fields[i].value > fields[i].most)
      return ask_wrong(name, fields[i].field, fields[i].value, fields[i].wanted, err);
  return SM_OK;
}

sm_status sm_backbone_ask(const char *name, const sm_backbone_ops *ops, const void *self, int height,
                          int width, sm_backbone_spec *s, sm_error *err) {
  memset(s, 0, sizeof *s);
  sm_status status = ops->spec(self, height, width, s, err);
  if (status) return status;
  if (!s->blocks) s->blocks = 1;
  if ((status = ask_check_backbone(name, s, err))) return status;
  for (int b = 0; b < s->blocks; b++)
    if (!s->block[b].dim) s->block[b] = (sm_block_spec){s->dim, s->rows, s->cols};
  return SM_OK;
}

int sm_blocks_alike(const sm_backbone_spec *s) {
  int n = 0;
  for (int b = s->blocks - 1; b >= 0; b--, n++)
    if (s->block[b].dim != s->dim || s->block[b].rows != s->rows || s->block[b].cols != s->cols) break;
  return n;
}

typedef struct asked {
  sm_graph *g;
  const char *name, *module;
} asked;

static sm_tensor *ask_given(const asked *a, const char *what, bool wanted, sm_tensor *t) {
  if (!wanted) return NULL;
  return t ? t : sm_graph_fail(a->g, "backbone '%s' (%s) gave no %s (NULL)", a->name, a->module, what);
}

void sm_backbone_build(const char *name, const sm_backbone_ops *ops, const void *self, sm_graph *g,
                       const sm_params *params, const sm_backbone_in *in, sm_backbone_out *out) {
  const asked a = {g, name, sm_module_of(ops)};
  memset(out, 0, sizeof *out);
  sm_scope_push(g, "backbone");
  ops->build(self, g, params, in, out);
  sm_scope_pop(g);
  out->view = ask_given(&a, "view", in->view, out->view);
  out->patches = ask_given(&a, "patches", in->patches, out->patches);
  out->tokens = ask_given(&a, "tokens", in->tokens, out->tokens);
  out->attention = ask_given(&a, "attention", in->attention, out->attention);
  out->qkv = ask_given(&a, "queries, keys and values", in->qkv, out->qkv);
  for (int b = 0; b < in->blocks; b++) {
    out->block[b].view = ask_given(&a, "view of a block", in->view, out->block[b].view);
    out->block[b].patches = ask_given(&a, "patches of a block", in->patches, out->block[b].patches);
  }
}

/* ---- the others ---------------------------------------------------------------------------------------- */

sm_status sm_tokenizer_ask(const sm_tokenizer_ops *ops, const void *self, const sm_backbone_spec *backbone,
                           sm_tokenizer_spec *spec, sm_error *err) {
  *spec = (sm_tokenizer_spec){0};
  if (backbone) spec->dim = backbone->dim, spec->cell = backbone->cell, spec->blocks = backbone->blocks;
  return ops->spec(self, spec, err);
}

int sm_tokenizer_width(const sm_tokenizer_spec *t, sm_site site) {
  return site == SM_SITE_VIEW ? t->view_dim : t->patch_dim;
}

int sm_head_declared(const sm_head *h, sm_site site) {
  return site == SM_SITE_VIEW ? h->view_dim : h->patch_dim;
}

sm_status sm_objective_ask(const sm_objective_ops *ops, const void *self, int height, int width,
                           sm_objective_spec *spec, sm_error *err) {
  *spec = (sm_objective_spec){.height = height, .width = width};
  return ops->spec(self, spec, err);
}

sm_tensor *sm_head_logits(sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  if (h->ops->decode)
    return sm_graph_fail(g, "the head of %s looks at whole views, and has no logits of rows",
                         sm_module_of(h->ops));
  sm_tensor *features = h->ops->features(h->self, g, h, x, site);
  sm_tensor *y = features ? h->ops->logits(h->self, g, h, features, site) : NULL;
  if (y) return y;
  return sm_graph_fail(g, "the head of %s gave no %s (NULL)", sm_module_of(h->ops),
                       features ? "logits" : "features");
}
