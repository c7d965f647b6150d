/* foreign_names.c — names of other programs to those of `vit` and `swin` (timm's and iBOT's, and Swin's official
 * ones), by rules with a number in them; tensors that are cut, joined or filled up where programs differ.
 *
 * Sources of the names: timm (models/vision_transformer.py, beit.py, deit.py, swin_transformer.py), dino, ibot,
 * dinov2, mae, deit and beit's own files, transformers (models/{vit,deit,beit,vit_mae,dinov2}/modeling_*.py). */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "foreign.h"

const char *const sm_foreign_anchors[] = {"patch_embed.proj.weight",
                                          "embeddings.patch_embeddings.projection.weight", NULL};

/* '#' stands for a number, '$' at the end for the rest; `to` NULL: not used, for the reason in `why`. */
typedef struct name_rule {
  const char *from, *to, *why;
} name_rule;

#define HEAD "a head"
#define DECODER "the decoder of its pre-training"
#define BUFFER "computed, not learned"

static const name_rule timm_rules[] = {
    {"head.$", NULL, HEAD},
    {"head_dist.$", NULL, HEAD},
    {"lm_head.$", NULL, HEAD},
    {"fc.$", NULL, HEAD},
    {"linear.$", NULL, HEAD},
    {"classifier.$", NULL, HEAD},
    {"dino_head.$", NULL, HEAD},
    {"ibot_head.$", NULL, HEAD},
    {"last_layer.$", NULL, HEAD},
    {"last_layer2.$", NULL, HEAD},
    {"pre_logits.$", NULL, HEAD},
    {"decoder_$", NULL, DECODER},
    {"decoder.$", NULL, DECODER},
    {"predictor.$", NULL, DECODER},
    {"rel_pos_bias.relative_position_index", NULL, BUFFER},
    {"blocks.#.attn.relative_position_index", NULL, BUFFER},
    {"blocks.#.gamma_1", "blocks.#.ls1.gamma", NULL},
    {"blocks.#.gamma_2", "blocks.#.ls2.gamma", NULL},
    {"reg_token", "register_tokens", NULL},
    {"mask_token", "masked_embed", NULL},
    {NULL, NULL, NULL},
};

#define LAYER "encoder.layer.#."
static const name_rule hf_rules[] = {
    {"embeddings.cls_token", "cls_token", NULL},
    {"embeddings.distillation_token", "dist_token", NULL},
    {"embeddings.register_tokens", "register_tokens", NULL},
    {"embeddings.mask_token", "masked_embed", NULL},
    {"embeddings.position_embeddings", "pos_embed", NULL},
    {"embeddings.patch_embeddings.projection.$", "patch_embed.proj.$", NULL},
    {LAYER "layernorm_before.$", "blocks.#.norm1.$", NULL},
    {LAYER "layernorm_after.$", "blocks.#.norm2.$", NULL},
    {LAYER "norm1.$", "blocks.#.norm1.$", NULL},
    {LAYER "norm2.$", "blocks.#.norm2.$", NULL},
    {LAYER "attention.attention.query.$", "blocks.#.attn.q.$", NULL}, /* joined below */
    {LAYER "attention.attention.key.$", "blocks.#.attn.k.$", NULL},
    {LAYER "attention.attention.value.$", "blocks.#.attn.v.$", NULL},
    {LAYER "attention.attention.relative_position_bias.relative_position_bias_table",
     "blocks.#.attn.relative_position_bias_table", NULL},
    {LAYER "attention.attention.relative_position_bias.relative_position_index", NULL, BUFFER},
    {LAYER "attention.output.dense.$", "blocks.#.attn.proj.$", NULL},
    {LAYER "intermediate.dense.$", "blocks.#.mlp.fc1.$", NULL},
    {LAYER "output.dense.$", "blocks.#.mlp.fc2.$", NULL},
    {LAYER "mlp.fc1.$", "blocks.#.mlp.fc1.$", NULL},
    {LAYER "mlp.fc2.$", "blocks.#.mlp.fc2.$", NULL},
    {LAYER "mlp.weights_in.$", "blocks.#.mlp.w12.$", NULL},
    {LAYER "mlp.weights_out.$", "blocks.#.mlp.w3.$", NULL},
    {LAYER "layer_scale1.lambda1", "blocks.#.ls1.gamma", NULL},
    {LAYER "layer_scale2.lambda1", "blocks.#.ls2.gamma", NULL},
    {LAYER "lambda_1", "blocks.#.ls1.gamma", NULL},
    {LAYER "lambda_2", "blocks.#.ls2.gamma", NULL},
    {"encoder.relative_position_bias.relative_position_bias_table", "rel_pos_bias.relative_position_bias_table",
     NULL},
    {"encoder.relative_position_bias.relative_position_index", NULL, BUFFER},
    {"layernorm.$", "norm.$", NULL},
    {"pooler.layernorm.$", "fc_norm.$", NULL}, /* BEiT's mean pooling */
    {"pooler.$", NULL, HEAD},
    {"decoder.$", NULL, DECODER},
    {NULL, NULL, NULL},
};

static const name_rule swin_rules[] = {
    {"head.$", NULL, HEAD},
    {"layers.#.blocks.#.attn.relative_position_index", NULL, BUFFER},
    {"layers.#.blocks.#.attn_mask", NULL, BUFFER},
    {"mask_token", "masked_embed", NULL}, /* SimMIM */
    {"encoder.mask_token", "masked_embed", NULL},
    {"decoder.$", NULL, DECODER},
    {NULL, NULL, NULL},
};

static const name_rule *const layout_rules[] = {
    [FOREIGN_TIMM] = timm_rules, [FOREIGN_HF] = hf_rules, [FOREIGN_SWIN] = swin_rules};

/* ---- rules -------------------------------------------------------------------------------------------- */

/* Match a name; number[] gets what the '#' stand for, *rest what the '$' does. */
static bool names_match(const char *rule, const char *name, char number[3][12], const char **rest) {
  int n = 0;
  *rest = "";
  for (; *rule; rule++) {
    if (*rule == '$') return *rest = name, true;
    if (*rule != '#') {
      if (*rule != *name++) return false;
      continue;
    }
    const size_t digits = strspn(name, "0123456789");
    if (!digits || digits > 9 || n == 3) return false;
    snprintf(number[n++], 12, "%.*s", (int)digits, name);
    name += digits;
  }
  return !*name;
}

static const char *names_fill(sm_arena *arena, const char *to, char number[3][12], const char *rest) {
  char text[512];
  size_t at = 0;
  for (int n = 0; *to && at < sizeof text - 1; to++) {
    if (*to == '#') at += (size_t)snprintf(text + at, sizeof text - at, "%s", number[n++]);
    else if (*to == '$') at += (size_t)snprintf(text + at, sizeof text - at, "%s", rest);
    else text[at++] = *to;
  }
  if (at >= sizeof text) return NULL;
  text[at] = 0;
  return sm_arena_strdup(arena, text);
}

/* ---- the list ----------------------------------------------------------------------------------------- */

static void names_no_memory(foreign_file *f) {
  if (!f->status) f->status = sm_fail(f->err, SM_ENOMEM, "no memory for the names of weights");
}

static sm_st_tensor *names_add(foreign_file *f, const sm_st_tensor *t, const char *name) {
  if (f->count == f->room) {
    const size_t more = f->room ? f->room * 2 : 256;
    sm_st_tensor *grown = sm_realloc(f->tensor, more * sizeof *grown);
    if (!grown) return names_no_memory(f), NULL;
    f->tensor = grown;
    f->room = more;
  }
  if (!name) return names_no_memory(f), NULL;
  f->tensor[f->count] = *t;
  f->tensor[f->count].name = name;
  return &f->tensor[f->count++];
}

static void names_remove(foreign_file *f, sm_st_tensor *t) {
  const size_t at = (size_t)(t - f->tensor);
  memmove(t, t + 1, (--f->count - at) * sizeof *t);
}

sm_st_tensor *sm_foreign_find(const foreign_file *f, const char *fmt, ...) {
  char name[512];
  va_list args;
  va_start(args, fmt);
  vsnprintf(name, sizeof name, fmt, args);
  va_end(args);
  for (size_t i = 0; i < f->count; i++)
    if (!strcmp(f->tensor[i].name, name)) return &f->tensor[i];
  return NULL;
}

const sm_st_tensor *sm_foreign_raw(const foreign_file *f, const char *fmt, ...) {
  char name[1024];
  va_list args;
  int n = snprintf(name, sizeof name, "%s", f->prefix);
  if (n < 0 || (size_t)n >= sizeof name) return NULL;
  va_start(args, fmt);
  vsnprintf(name + n, sizeof name - (size_t)n, fmt, args);
  va_end(args);
  return sm_st_find(f->raw, name);
}

void sm_foreign_option(foreign_file *f, const char *name, const char *fmt, ...) {
  char text[160];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  const char *value = sm_arena_strdup(f->texts, text);
  if (!value) names_no_memory(f);
  else if (f->out->options < SM_FOREIGN_OPTIONS)
    f->out->option[f->out->options++] = (struct sm_foreign_option){name, value};
}

void sm_foreign_refuse(foreign_file *f, const char *what, const char *hint) {
  if (f->status) return;
  f->status = sm_fail(f->err, SM_EUNSUPPORTED, "the weights cannot be run: %s", what);
  sm_hint(f->err, "%s", hint);
}

/* ---- tensors that are cut or joined ------------------------------------------------------------------- */

static void *names_room(foreign_file *f, uint64_t bytes) {
  void *room = sm_arena_alloc(f->arena, (size_t)bytes);
  if (!room) names_no_memory(f);
  return room;
}

/* The three parts below one another; a part that is missing is zero. All have n elements of size. */
static void names_join(foreign_file *f, const char *name, const char *const part[3]) {
  sm_st_tensor *t[3], *some = NULL;
  for (int i = 0; i < 3; i++)
    if ((t[i] = part[i] ? sm_foreign_find(f, "%s", part[i]) : NULL)) some = t[i];
  if (!some || f->status) return;
  sm_st_tensor joined = *some;
  for (int i = 0; i < 3; i++)
    if (t[i] && (strcmp(t[i]->dtype, some->dtype) || t[i]->bytes != some->bytes || t[i]->ndim != some->ndim ||
                 t[i]->ndim < 1 || t[i]->ndim > 2))
      return; /* left as they are, so that loading says that they do not fit */
  char *data = names_room(f, 3 * some->bytes);
  if (!data) return;
  for (int i = 0; i < 3; i++) /* room is zeroed */
    if (t[i] && t[i]->bytes) memcpy(data + (uint64_t)i * some->bytes, t[i]->data, (size_t)t[i]->bytes);
  joined.shape[0] *= 3, joined.elements *= 3, joined.bytes *= 3;
  joined.data = data;
  names_add(f, &joined, sm_arena_strdup(f->arena, name));
  for (int i = 0; i < 3; i++)
    if (part[i] && (some = sm_foreign_find(f, "%s", part[i]))) names_remove(f, some);
}

/* BEiT has biases of queries and values only: that of keys adds one number to all logits of a query, which
 * softmax does not see, so zeros are the same network. Hugging Face keeps the three apart. */
static void names_join_block(foreign_file *f, int block) {
  static const char *const kinds[][4] = {{"attn.qkv.bias", "attn.q_bias", NULL, "attn.v_bias"},
                                         {"attn.qkv.weight", "attn.q.weight", "attn.k.weight", "attn.v.weight"},
                                         {"attn.qkv.bias", "attn.q.bias", "attn.k.bias", "attn.v.bias"}};
  char name[4][64];
  for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
    const char *part[3];
    for (int i = 0; i < 4; i++)
      if (kinds[k][i]) snprintf(name[i], sizeof name[i], "blocks.%d.%s", block, kinds[k][i]);
    for (int i = 0; i < 3; i++) part[i] = kinds[k][i + 1] ? name[i + 1] : NULL;
    if (!sm_foreign_find(f, "%s", name[0])) names_join(f, name[0], part);
  }
}

/* timm's packed SwiGLU is called fc1, with both halves in it. */
static void names_swiglu(foreign_file *f, int block) {
  static const char *const pair[][2] = {
      {"fc1.weight", "w12.weight"}, {"fc1.bias", "w12.bias"}, {"fc2.weight", "w3.weight"}, {"fc2.bias", "w3.bias"}};
  const sm_st_tensor *in = sm_foreign_find(f, "blocks.%d.mlp.fc1.weight", block),
                     *out = sm_foreign_find(f, "blocks.%d.mlp.fc2.weight", block);
  if (!in || !out || in->ndim != 2 || out->ndim != 2 || in->shape[0] != 2 * out->shape[1]) return;
  for (int i = 0; i < 4; i++) {
    sm_st_tensor *t = sm_foreign_find(f, "blocks.%d.mlp.%s", block, pair[i][0]);
    if (t && !(t->name = sm_arena_printf(f->arena, "blocks.%d.mlp.%s", block, pair[i][1]))) names_no_memory(f);
  }
}

static int64_t names_square(int64_t n) {
  const int64_t side = n > 0 ? llround(sqrt((double)n)) : 0;
  return side * side == n ? side : 0;
}

/* A table of positions for patches alone beside a class token (timm: no_embed_class) gets a row of zeros in
 * front; rows for registers are added to the registers. Both are the same network. */
static void names_positions(foreign_file *f) {
  sm_st_tensor *pos = sm_foreign_find(f, "pos_embed");
  const sm_st_tensor *cls = sm_foreign_find(f, "cls_token"), *dist = sm_foreign_find(f, "dist_token");
  sm_st_tensor *reg = sm_foreign_find(f, "register_tokens");
  if (!pos || pos->ndim != 3 || pos->shape[0] != 1 || !cls || pos->elements > (1u << 30)) return;
  const int64_t own = 1 + (dist != NULL), rows = pos->shape[1],
                regs = reg && reg->ndim == 3 && reg->shape[0] == 1 ? reg->shape[1] : 0;
  const uint64_t row = rows ? pos->bytes / (uint64_t)rows : 0;
  if (names_square(rows - own)) return;
  if (names_square(rows)) {
    char *data = names_room(f, pos->bytes + (uint64_t)own * row);
    if (!data) return;
    memcpy(data + (uint64_t)own * row, pos->data, (size_t)pos->bytes);
    pos->data = data;
    pos->shape[1] += own, pos->bytes += (uint64_t)own * row;
    pos->elements += (uint64_t)own * (uint64_t)pos->shape[2];
    return;
  }
  if (!regs || !names_square(rows - own - regs) || strcmp(pos->dtype, "F32") || strcmp(reg->dtype, "F32") ||
      reg->shape[2] != pos->shape[2])
    return;
  char *table = names_room(f, pos->bytes - (uint64_t)regs * row), *tokens = names_room(f, reg->bytes);
  if (!table || !tokens) return;
  for (uint64_t i = 0; i < reg->elements; i++) {
    float a, b;
    memcpy(&a, (const char *)reg->data + i * sizeof a, sizeof a);
    memcpy(&b, (const char *)pos->data + (uint64_t)own * row + i * sizeof b, sizeof b);
    a += b;
    memcpy(tokens + i * sizeof a, &a, sizeof a);
  }
  memcpy(table, pos->data, (size_t)((uint64_t)own * row));
  memcpy(table + (uint64_t)own * row, (const char *)pos->data + (uint64_t)(own + regs) * row,
         (size_t)(pos->bytes - (uint64_t)(own + regs) * row));
  reg->data = tokens, pos->data = table;
  pos->shape[1] -= regs, pos->bytes -= (uint64_t)regs * row;
  pos->elements -= (uint64_t)regs * (uint64_t)pos->shape[2];
}

/* masked_embed is (1, D) here; MAE's mask token is its decoder's and stays out. */
static void names_mask(foreign_file *f) {
  sm_st_tensor *mask = sm_foreign_find(f, "masked_embed");
  const sm_st_tensor *patch = sm_foreign_find(f, "patch_embed.proj.weight");
  if (!mask) return;
  if (sm_foreign_raw(f, "decoder_embed.weight") || sm_st_find(f->raw, "decoder.decoder_embed.weight") ||
      (patch && mask->elements != (uint64_t)patch->shape[0])) {
    f->out->unused++;
    sm_text_add(&f->out->text, "%-12s mask_token: %s\n", "unused", DECODER);
    names_remove(f, mask);
    return;
  }
  if (mask->ndim == 3 && mask->shape[0] == 1 && mask->shape[1] == 1) {
    mask->shape[1] = mask->shape[2];
    mask->ndim = 2;
  }
}

/* ---- layouts ------------------------------------------------------------------------------------------ */

foreign_layout sm_foreign_layout(const foreign_file *f) {
  if (sm_foreign_raw(f, "embeddings.patch_embeddings.projection.weight"))
    return sm_foreign_raw(f, "encoder.layer.0.attention.attention.query.weight") ? FOREIGN_HF : FOREIGN_UNKNOWN;
  if (!sm_foreign_raw(f, "patch_embed.proj.weight")) return FOREIGN_UNKNOWN;
  if (sm_foreign_raw(f, "layers.0.blocks.0.attn.relative_position_bias_table")) return FOREIGN_SWIN;
  if (sm_foreign_raw(f, "blocks.0.norm1.weight") || sm_foreign_raw(f, "blocks.0.0.norm1.weight"))
    return FOREIGN_TIMM;
  return FOREIGN_UNKNOWN;
}

/* Chunked blocks of DINOv2's training: blocks.CHUNK.I, I counted through. */
static const char *names_plain(foreign_file *f, const char *name) {
  char number[3][12];
  const char *rest;
  if (names_match("blocks.#.#.$", name, number, &rest))
    return sm_arena_printf(f->arena, "blocks.%s.%s", number[1], rest);
  return sm_arena_strdup(f->arena, name);
}

static void names_map_one(foreign_file *f, const name_rule *rule, const sm_st_tensor *t) {
  const char *name = t->name + f->cut, *rest;
  char number[3][12];
  for (; rule->from; rule++) {
    if (!names_match(rule->from, name, number, &rest)) continue;
    if (rule->to) names_add(f, t, names_fill(f->arena, rule->to, number, rest));
    else {
      f->out->unused++;
      sm_text_add(&f->out->text, "%-12s %s: %s\n", "unused", name, rule->why);
    }
    return;
  }
  names_add(f, t, names_plain(f, name));
}

void sm_foreign_map(foreign_file *f, foreign_layout layout) {
  const sm_st_tensor *t;
  for (size_t i = 0; !f->status && (t = sm_st_at(f->raw, i)); i++)
    if (!strncmp(t->name, f->prefix, f->cut)) names_map_one(f, layout_rules[layout], t);
  names_mask(f);
  if (layout == FOREIGN_SWIN) return;
  for (int block = 0; !f->status && block < 512 && sm_foreign_find(f, "blocks.%d.norm1.weight", block); block++) {
    names_join_block(f, block);
    names_swiglu(f, block);
  }
  names_positions(f);
}
