/* weights_outside.c — see weights_names.h: what a vision transformer's rows go out as under the names of
 * timm's and Hugging Face's classes.
 *
 * Names stand in tables of patterns: '#' is a block's number, '$' the rest ("weight" or "bias"), '@' a
 * name for each of the three parts of a joint projection. A row of no pattern keeps its name in timm, and
 * has none in Hugging Face. */
#include "weights_names.h"

#include <stdio.h>
#include <string.h>

/* ---- the tables ---------------------------------------------------------------------------------------- */

typedef struct outside_name {
  const char *own, *to;
} outside_name;

/* timm's Beit (models/beit.py) has gains by BEiT's names, and no bias of keys: it adds one number to all
 * logits of a query, which softmax does not see. */
static const outside_name beit_names[] = {{"blocks.#.ls1.gamma", "blocks.#.gamma_1"},
                                          {"blocks.#.ls2.gamma", "blocks.#.gamma_2"},
                                          {"blocks.#.attn.qkv.bias", "blocks.#.attn.@"},
                                          {NULL, NULL}};
/* timm's SwiGLUPacked (layers/mlp.py), and register tokens (models/vision_transformer.py). */
static const outside_name timm_names[] = {{"blocks.#.mlp.w12.$", "blocks.#.mlp.fc1.$"},
                                          {"blocks.#.mlp.w3.$", "blocks.#.mlp.fc2.$"},
                                          {"register_tokens", "reg_token"},
                                          {NULL, NULL}};
/* transformers, models/vit/modeling_vit.py, and models/dinov2/modeling_dinov2.py where there are gains.
 * "": left out. */
static const outside_name hf_plain[] = {{"cls_token", "embeddings.cls_token"},
                                        {"dist_token", "embeddings.distillation_token"},
                                        {"masked_embed", ""}, /* ViTModel has none unless asked to */
                                        {"pos_embed", "embeddings.position_embeddings"},
                                        {"patch_embed.proj.$", "embeddings.patch_embeddings.projection.$"},
                                        {"blocks.#.norm1.$", "encoder.layer.#.layernorm_before.$"},
                                        {"blocks.#.norm2.$", "encoder.layer.#.layernorm_after.$"},
                                        {"blocks.#.attn.qkv.$", "encoder.layer.#.attention.attention.@.$"},
                                        {"blocks.#.attn.proj.$", "encoder.layer.#.attention.output.dense.$"},
                                        {"blocks.#.mlp.fc1.$", "encoder.layer.#.intermediate.dense.$"},
                                        {"blocks.#.mlp.fc2.$", "encoder.layer.#.output.dense.$"},
                                        {"norm.$", "layernorm.$"},
                                        {NULL, NULL}};
static const outside_name hf_scaled[] = {{"cls_token", "embeddings.cls_token"},
                                         {"register_tokens", "embeddings.register_tokens"},
                                         {"masked_embed", "embeddings.mask_token"},
                                         {"pos_embed", "embeddings.position_embeddings"},
                                         {"patch_embed.proj.$", "embeddings.patch_embeddings.projection.$"},
                                         {"blocks.#.norm1.$", "encoder.layer.#.norm1.$"},
                                         {"blocks.#.norm2.$", "encoder.layer.#.norm2.$"},
                                         {"blocks.#.attn.qkv.$", "encoder.layer.#.attention.attention.@.$"},
                                         {"blocks.#.attn.proj.$", "encoder.layer.#.attention.output.dense.$"},
                                         {"blocks.#.mlp.fc1.$", "encoder.layer.#.mlp.fc1.$"},
                                         {"blocks.#.mlp.fc2.$", "encoder.layer.#.mlp.fc2.$"},
                                         {"blocks.#.mlp.w12.$", "encoder.layer.#.mlp.weights_in.$"},
                                         {"blocks.#.mlp.w3.$", "encoder.layer.#.mlp.weights_out.$"},
                                         {"blocks.#.ls1.gamma", "encoder.layer.#.layer_scale1.lambda1"},
                                         {"blocks.#.ls2.gamma", "encoder.layer.#.layer_scale2.lambda1"},
                                         {"norm.$", "layernorm.$"},
                                         {NULL, NULL}};
/* iBOT's own code (models/vision_transformer.py), and DINO's. */
static const outside_name ibot_names[] = {
    {"blocks.#.ls1.gamma", "blocks.#.gamma_1"}, {"blocks.#.ls2.gamma", "blocks.#.gamma_2"}, {NULL, NULL}};

/* ---- patterns ------------------------------------------------------------------------------------------ */

static bool outside_matches(const char *pattern, const char *name, int *block, const char **rest) {
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

static void outside_expand(const char *pattern, int block, const char *part, const char *rest, char *buf,
                           size_t size) {
  size_t at = 0;
  buf[0] = 0;
  for (; *pattern && at < size; pattern++)
    at += (size_t)(*pattern == '#'   ? snprintf(buf + at, size - at, "%d", block)
                   : *pattern == '@' ? snprintf(buf + at, size - at, "%s", part)
                   : *pattern == '$' ? snprintf(buf + at, size - at, "%s", rest)
                                     : snprintf(buf + at, size - at, "%c", *pattern));
}

/* parts: what '@' stands for; "": that part is left out. */
static bool outside_look_up(const outside_name *list, const char *own, const char *const parts[3], sm_outside *to) {
  const char *rest;
  int block = 0;
  for (; list->own; list++) {
    if (!outside_matches(list->own, own, &block, &rest)) continue;
    to->parts = strchr(list->to, '@') ? 3 : 1;
    for (int i = 0; i < to->parts; i++)
      if (to->parts == 1 || *parts[i])
        outside_expand(list->to, block, parts[i], rest, to->name[i], sizeof to->name[i]);
    return true;
  }
  return false;
}

/* ---- a network, its rows ------------------------------------------------------------------------------- */

static bool outside_has(sm_set *set, const char *prefix, const char *name) {
  char full[320];
  snprintf(full, sizeof full, "%s%s", prefix, name);
  return sm_set_find(set, full) >= 0;
}

sm_outside_kind sm_outside_kind_of(sm_set *set, const char *prefix) {
  return (sm_outside_kind){
      .scaled = outside_has(set, prefix, "blocks.0.ls1.gamma"),
      .relative = outside_has(set, prefix, "rel_pos_bias.relative_position_bias_table") ||
                  outside_has(set, prefix, "blocks.0.attn.relative_position_bias_table")};
}

bool sm_outside_name(sm_weights_format format, const sm_outside_kind *kind, const sm_row *row, size_t cut,
                     sm_outside *to) {
  static const char *const hf[3] = {"query", "key", "value"}, *const beit[3] = {"q_bias", "", "v_bias"};
  const char *own = row->name + cut;
  bool found = false;
  *to = (sm_outside){.parts = 1};
  if (format == SM_WEIGHTS_HF) return outside_look_up(kind->scaled ? hf_scaled : hf_plain, own, hf, to);
  if (format == SM_WEIGHTS_IBOT) found = outside_look_up(ibot_names, own, beit, to);
  else if (kind->relative) found = outside_look_up(beit_names, own, beit, to);
  else found = outside_look_up(timm_names, own, beit, to);
  if (!found)
    snprintf(to->name[0], sizeof to->name[0], "%s", sm_weights_name_of(row, cut, format == SM_WEIGHTS_TIMM));
  return true;
}
