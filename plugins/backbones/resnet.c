/* resnet — residual networks with batch normalisation (He et al. 2016), as torchvision builds them and DINO
 * trains them: ResNet-18 to 152, wide ones and ResNeXt.
 *
 * The stride of a bottleneck stands at its 3×3 convolution ("v1.5"), and its last norm's gain begins at 1
 * (zero_init puts 0, as timm does). The view is the mean of the last feature map, 2048 numbers for ResNet-50:
 * what DINO's head and its evaluations read. The cells of that map are the patches, 32 pixels a side; the
 * four stages may be asked for. A hidden cell's pixels become a learned colour before the first convolution,
 * so that nothing of the cell leaks through the windows.
 *
 * In training a norm's statistics are those of the views of one size in the micro-batch, as in DINO's
 * forward, which runs once per size. Student and teacher keep a running state each, which moves once per step
 * and size of views; evaluations use it. Parameter names and shapes are torchvision's, timm's and DINO's. */
#include <smalti/plugin.h>

#include <math.h>

enum { STAGES = 4, OWN = 5 };
static const char *const arch_names[] = {"resnet18",  "resnet34", "resnet50", "resnet101",
                                         "resnet152", "custom",   NULL};
static const int64_t preset_depths[][STAGES] = {{2, 2, 2, 2},  {3, 4, 6, 3},  {3, 4, 6, 3},
                                                {3, 4, 23, 3}, {3, 8, 36, 3}, {0, 0, 0, 0}};
enum { BY_ARCH, BASIC, BOTTLENECK };
static const char *const block_names[] = {"arch", "basic", "bottleneck", NULL};
enum { STEM_IMAGENET, STEM_SMALL };
static const char *const stem_names[] = {"imagenet", "small", NULL};
enum { MOST_DEPTH = 64 };
static const double norm_eps = 1e-5;

typedef struct resnet {
  int arch, block, stem;
  sm_ints depths;
  int64_t width, groups, group_width;
  double momentum;
  bool zero_init;
} resnet;

static const sm_option options[] = {
    SM_CHOICE(resnet, arch, "arch", "resnet50", arch_names,
              "Depths and kind of block, as torchvision has them, or your own"),
    SM_INTS(resnet, depths, "depths", "~", 1, MOST_DEPTH, "blocks",
            "Blocks of each of the four stages; left out: as arch says"),
    SM_CHOICE(
        resnet, block, "block", "arch", block_names,
        "Two 3x3 convolutions, or 1x1, 3x3 and 1x1 with four times the width behind; arch: as arch says, "
        "basic for custom"),
    SM_INT(resnet, width, "width", "64", 1, 1024, "channels",
           "Width of the stem and of the first stage's inner convolutions; it doubles with each stage"),
    SM_INT(resnet, groups, "groups", "1", 1, 1024, NULL,
           "Groups of a bottleneck's 3x3 convolution (ResNeXt: 32)"),
    SM_INT(resnet, group_width, "group_width", "64", 1, 1024, "channels",
           "Width of a group in the first stage where width is 64 (ResNeXt: 4 or 8; wide ResNet: 128)"),
    SM_CHOICE(
        resnet, stem, "stem", "imagenet", stem_names,
        "7x7 of stride 2 and pooling of stride 2, or, for pictures of some 32 pixels, 3x3 without stride"),
    SM_FLOAT(resnet, momentum, "bn_momentum", "0.1", 0, 1, NULL,
             "How much of a step's mean and variance enters the running ones"),
    SM_BOOL(resnet, zero_init, "zero_init", "false",
            "Gain 0 at the last norm of each block at first (timm); torchvision and DINO begin with 1"),
};

/* ---- what it is ---------------------------------------------------------------------------------------- */

static bool resnet_bottleneck(const resnet *r) {
  return r->block == BY_ARCH ? r->arch >= 2 && r->arch < OWN : r->block == BOTTLENECK;
}
static int resnet_depth(const resnet *r, int stage) {
  return (int)(r->depths.n == STAGES ? r->depths.v[stage] : preset_depths[r->arch][stage]);
}
static int resnet_blocks(const resnet *r) {
  int n = 0;
  for (int s = 0; s < STAGES; s++) n += resnet_depth(r, s);
  return n;
}
static int64_t resnet_planes(const resnet *r, int stage) { return r->width << stage; }
static int64_t resnet_out(const resnet *r, int stage) {
  return resnet_planes(r, stage) * (resnet_bottleneck(r) ? 4 : 1);
}
/* Of the 3×3 convolution: torchvision's int(planes · width_per_group/64) · groups. */
static int64_t resnet_inner(const resnet *r, int stage) {
  return resnet_bottleneck(r) ? resnet_planes(r, stage) * r->group_width / 64 * r->groups
                              : resnet_planes(r, stage);
}
static int resnet_cell(const resnet *r) { return r->stem == STEM_SMALL ? 8 : 32; }

static sm_status resnet_create(void *self, sm_error *err) {
  const resnet *r = self;
  if (r->depths.n && r->depths.n != STAGES) {
    sm_fail(err, SM_EINVAL, "depths has %d numbers, but there are 4 stages", r->depths.n);
    return sm_hint(err, "give one number per stage, for instance depths: [2, 2, 2, 2]");
  }
  if (r->arch == OWN && !r->depths.n) {
    sm_fail(err, SM_EINVAL, "arch 'custom' needs depths");
    return sm_hint(err, "for instance {arch: custom, depths: [1, 1, 1, 1], width: 32}");
  }
  if (!resnet_bottleneck(r) && (r->groups != 1 || r->group_width != 64)) {
    sm_fail(err, SM_EINVAL, "basic blocks have no groups");
    return sm_hint(err, "leave groups and group_width out, or say block: bottleneck");
  }
  if (resnet_inner(r, 0) < 1) {
    sm_fail(err, SM_EINVAL, "a width of %d in groups of %d leaves no channel", (int)r->width,
            (int)r->group_width);
    return sm_hint(err, "raise width or group_width: their product must be at least 64");
  }
  return SM_OK;
}

static sm_status resnet_spec(const void *self, int height, int width, sm_backbone_spec *out, sm_error *err) {
  const resnet *r = self;
  const int cell = resnet_cell(r);
  sm_status status = resnet_create((void *)r, err);
  if (status) return status;
  if (height < cell || width < cell || height % cell || width % cell) {
    if (height == width)
      sm_fail(err, SM_EINVAL, "views of %d pixels cannot be cut into cells of %d", height, cell);
    else
      sm_fail(err, SM_EINVAL, "views of %d x %d pixels cannot be cut into cells of %d", height, width, cell);
    return sm_hint(err,
                   r->stem == STEM_SMALL
                       ? "choose a view size that is a multiple of 8"
                       : "choose a view size that is a multiple of 32; for small pictures say stem: small");
  }
  out->dim = (int)resnet_out(r, STAGES - 1);
  out->rows = height / cell, out->cols = width / cell, out->cell = cell;
  out->blocks = STAGES;
  for (int s = 0; s < STAGES; s++)
    out->block[s] =
        (sm_block_spec){(int)resnet_out(r, s), out->rows << (STAGES - 1 - s), out->cols << (STAGES - 1 - s)};
  out->layers = resnet_blocks(r);
  out->batch_norm = true;
  return SM_OK;
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

/* torch's kaiming_normal_(mode="fan_out", nonlinearity="relu"); no biases. */
static void resnet_declare_conv(const sm_params *p, const char *base, int64_t out, int64_t in, int64_t side) {
  char name[96];
  snprintf(name, sizeof name, "%s.weight", base);
  sm_declare(p, name, SM_INIT_NORMAL, sqrt(2.0 / (double)(out * side * side)), 0, 4,
             (int64_t[]){out, in, side, side});
}

static void resnet_declare_norm(const sm_params *p, const char *base, int64_t c, bool zero) {
  sm_declare_norm(p, base, zero ? SM_INIT_ZEROS : SM_INIT_ONES, c);
  sm_declare_running(p, base, c);
}

static bool resnet_projects(int stage, int64_t in, int64_t out) { return stage > 0 || in != out; }

static void resnet_declare_block(const resnet *r, const sm_params *p, int stage, int block, int64_t in) {
  const int64_t inner = resnet_inner(r, stage), out = resnet_out(r, stage);
  char base[64];
#define IN_BLOCK(name) (snprintf(base, sizeof base, "layer%d.%d.%s", stage + 1, block, name), base)
  if (resnet_bottleneck(r)) {
    resnet_declare_conv(p, IN_BLOCK("conv1"), inner, in, 1);
    resnet_declare_norm(p, IN_BLOCK("bn1"), inner, false);
    resnet_declare_conv(p, IN_BLOCK("conv2"), inner, inner / r->groups, 3);
    resnet_declare_norm(p, IN_BLOCK("bn2"), inner, false);
    resnet_declare_conv(p, IN_BLOCK("conv3"), out, inner, 1);
    resnet_declare_norm(p, IN_BLOCK("bn3"), out, r->zero_init);
  } else {
    resnet_declare_conv(p, IN_BLOCK("conv1"), inner, in, 3);
    resnet_declare_norm(p, IN_BLOCK("bn1"), inner, false);
    resnet_declare_conv(p, IN_BLOCK("conv2"), out, inner, 3);
    resnet_declare_norm(p, IN_BLOCK("bn2"), out, r->zero_init);
  }
  if (block == 0 && resnet_projects(stage, in, out)) {
    resnet_declare_conv(p, IN_BLOCK("downsample.0"), out, in, 1);
    resnet_declare_norm(p, IN_BLOCK("downsample.1"), out, false);
  }
#undef IN_BLOCK
}

static void resnet_declare(const void *self, int height, int width, const sm_params *p) {
  const resnet *r = self;
  int64_t in = r->width;
  int layer = 0;
  (void)height, (void)width;
  sm_declare_layer(p, 0);
  sm_declare(p, "mask_token", SM_INIT_ZEROS, 0, SM_ROW_NO_EXPORT, 2, (int64_t[]){1, 3}); /* a colour */
  resnet_declare_conv(p, "conv1", r->width, 3, r->stem == STEM_SMALL ? 3 : 7);
  resnet_declare_norm(p, "bn1", r->width, false);
  for (int s = 0; s < STAGES; s++)
    for (int b = 0; b < resnet_depth(r, s); b++, in = resnet_out(r, s)) {
      sm_declare_layer(p, ++layer);
      resnet_declare_block(r, p, s, b, in);
    }
}

/* ---- forward ------------------------------------------------------------------------------------------- */

/* A picture on its way through the network. */
typedef struct flow {
  const resnet *r;
  sm_graph *g;
  const sm_params *p;
  bool training;
} flow;
typedef struct feature_map {
  sm_tensor *x; /* (B, height·width, C) */
  int height, width;
} feature_map;

static feature_map resnet_conv(const flow *f, feature_map m, const char *base, int side, int stride,
                               int groups) {
  const sm_conv_shape shape = {m.height, m.width, stride, side / 2, groups};
  return (feature_map){sm_convolve(f->g, m.x, sm_param(f->g, f->p, "%s.weight", base), NULL, &shape),
                       sm_window_count(m.height, side, stride, side / 2),
                       sm_window_count(m.width, side, stride, side / 2)};
}

static feature_map resnet_norm(const flow *f, feature_map m, const char *base, bool relu) {
  const sm_running running = {sm_param(f->g, f->p, "%s.running_mean", base),
                              sm_param(f->g, f->p, "%s.running_var", base), f->r->momentum};
  m.x = sm_batch_norm(f->g, m.x, sm_param(f->g, f->p, "%s.weight", base),
                      sm_param(f->g, f->p, "%s.bias", base), &running, norm_eps, f->training);
  if (relu) m.x = sm_relu(f->g, m.x);
  return m;
}

static feature_map resnet_stem(const flow *f, const sm_backbone_in *in) {
  const bool small = f->r->stem == STEM_SMALL;
  feature_map m = {sm_patchify(f->g, in->pictures, 1), (int)in->pictures->dim[2], (int)in->pictures->dim[3]};
  if (in->mask)
    m.x = sm_hide_cells(f->g, m.x, sm_param(f->g, f->p, "mask_token"), in->mask, m.height, m.width,
                        resnet_cell(f->r));
  m = resnet_norm(f, resnet_conv(f, m, "conv1", small ? 3 : 7, small ? 1 : 2, 1), "bn1", true);
  if (small) return m;
  const sm_pool_shape pool = {m.height, m.width, 3, 2, 1};
  return (feature_map){sm_pool_max(f->g, m.x, &pool), sm_window_count(m.height, 3, 2, 1),
                       sm_window_count(m.width, 3, 2, 1)};
}

static feature_map resnet_block(const flow *f, feature_map m, int stage, int block, int64_t in) {
  const int stride = stage > 0 && block == 0 ? 2 : 1;
  feature_map y = m, by = m;
  char base[64];
#define IN_BLOCK(name) (snprintf(base, sizeof base, "layer%d.%d.%s", stage + 1, block, name), base)
  if (resnet_bottleneck(f->r)) {
    y = resnet_conv(f, y, IN_BLOCK("conv1"), 1, 1, 1);
    y = resnet_norm(f, y, IN_BLOCK("bn1"), true);
    y = resnet_conv(f, y, IN_BLOCK("conv2"), 3, stride, (int)f->r->groups);
    y = resnet_norm(f, y, IN_BLOCK("bn2"), true);
    y = resnet_conv(f, y, IN_BLOCK("conv3"), 1, 1, 1);
    y = resnet_norm(f, y, IN_BLOCK("bn3"), false);
  } else {
    y = resnet_conv(f, y, IN_BLOCK("conv1"), 3, stride, 1);
    y = resnet_norm(f, y, IN_BLOCK("bn1"), true);
    y = resnet_conv(f, y, IN_BLOCK("conv2"), 3, 1, 1);
    y = resnet_norm(f, y, IN_BLOCK("bn2"), false);
  }
  if (block == 0 && resnet_projects(stage, in, resnet_out(f->r, stage))) {
    by = resnet_conv(f, by, IN_BLOCK("downsample.0"), 1, stride, 1);
    by = resnet_norm(f, by, IN_BLOCK("downsample.1"), false);
  }
  y.x = sm_relu(f->g, sm_add(f->g, y.x, by.x));
  return y;
#undef IN_BLOCK
}

/* Cells listed in `only` belong to the last map: blocks before it answer whole. */
static sm_block_out resnet_answer(sm_graph *g, const sm_backbone_in *in, sm_tensor *x, bool last) {
  sm_block_out out = {0};
  if (in->view) out.view = sm_mean_tokens(g, x, 0);
  if (in->patches) out.patches = in->only && last ? sm_gather(g, x, in->only) : x;
  return out;
}

/* There is no norm behind the last block: raw and not raw are the same. */
static void resnet_build(const void *self, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                         sm_backbone_out *out) {
  const resnet *r = self;
  const flow f = {r, g, p, in->training};
  int64_t width = r->width;
  int wish = 0;
  feature_map m = resnet_stem(&f, in);
  m.x = sm_block_border(g, m.x);
  for (int s = 0; s < STAGES; s++) {
    for (int b = 0; b < resnet_depth(r, s); b++, width = resnet_out(r, s)) {
      sm_scope_push(g, "layer%d.%d", s + 1, b);
      m = resnet_block(&f, m, s, b, width);
      m.x = sm_block_border(g, m.x);
      sm_scope_pop(g);
    }
    for (; wish < in->blocks && in->block[wish].block == s; wish++)
      out->block[wish] = resnet_answer(g, in, m.x, s == STAGES - 1);
  }
  const sm_block_out end = resnet_answer(g, in, m.x, true);
  out->view = end.view, out->patches = end.patches;
}

/* ---- elsewhere ----------------------------------------------------------------------------------------- */

/* What torchvision's class cannot be told is said as a change of the network it made. */
static void resnet_elsewhere(const void *self, int height, int width, sm_text *text) {
  const resnet *r = self;
  (void)height, (void)width;
  sm_text_add(text, "torchvision: ResNet(%s, [%d, %d, %d, %d]",
              resnet_bottleneck(r) ? "Bottleneck" : "BasicBlock", resnet_depth(r, 0), resnet_depth(r, 1),
              resnet_depth(r, 2), resnet_depth(r, 3));
  if (r->groups != 1) sm_text_add(text, ", groups=%d", (int)r->groups);
  if (r->group_width != 64) sm_text_add(text, ", width_per_group=%d", (int)r->group_width);
  sm_text_add(text, ") with fc = Identity()");
  if (r->stem == STEM_SMALL)
    sm_text_add(text, ", conv1 = Conv2d(3, %d, 3, padding=1, bias=False), maxpool = Identity()",
                (int)r->width);
  if (r->width != 64) sm_text_add(text, ", all widths times %d/64", (int)r->width);
}

static const sm_backbone_ops ops = {
    .spec = resnet_spec, .declare = resnet_declare, .build = resnet_build, .elsewhere = resnet_elsewhere};
static const sm_plugin plugin = {.kind = SM_BACKBONE,
                                 .name = "resnet",
                                 .summary = "Residual convolutional network with batch normalisation",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(resnet),
                                 .create = resnet_create,
                                 .ops = &ops};
SM_MODULE(&plugin)
