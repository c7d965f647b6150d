/* discovery.c — evaluation `discovery`: objects in each picture, found from its patches alone, without
 * training and without labels: one by LOST or TokenCut, several by MaskCut, on the keys of the last block.
 *
 * CorLoc is the share of pictures whose box overlaps any annotated one by at least a half (IoU; crowds are
 * none). Pictures come one at a time in their own size, padded with zeros at the right and below to whole
 * patches, as in both papers' code. MaskCut's first mask gives its box; all of its masks are scored as
 * COCO's detections of one category, and there a picture without objects counts too. What a box in the
 * middle and the whole picture hit stands beside it: where objects are large, that is much. */
#include "discovery.h"

#include <math.h>
#include <string.h>

#include <smalti/coco.h>
#include <smalti/discovery.h>
#include <smalti/measure.h>

enum { BOTH, ONLY_LOST, ONLY_TOKENCUT, ONLY_MASKCUT };
enum { FEATURE_KEYS, FEATURE_QUERIES, FEATURE_VALUES, FEATURE_PATCHES };
enum { HARD_KEEP, HARD_LEAVE_OUT };
enum { PATCHES_MOST = 1 << 14, SHEET_COLUMNS = 5 };
static const char *const methods[] = {"both", "lost", "tokencut", "maskcut", NULL};
static const char *const features[] = {"keys", "queries", "values", "patches", NULL};
static const char *const hards[] = {"keep", "leave_out", NULL};
static const char *const figures[DISCOVERY_BOXES] = {"corloc.lost", "corloc.tokencut", "corloc.maskcut",
                                                     "corloc.centre", "corloc.whole"};

struct discovery {
  int method, feature, hard;
  int64_t k, masks, shorter, square, sheet_pictures;
  double tau;
  const char *sheet, *detections;
};

static const sm_option options[] = {
    SM_CHOICE(
        struct discovery, method, "method", "both", methods,
        "which way of finding an object: both are LOST and TokenCut; MaskCut finds several, with their masks"),
    SM_CHOICE(
        struct discovery, feature, "feature", "keys", features,
        "what patches are compared by: keys, queries or values of the last block, or its output after the norm, "
        "which networks without attention have too"),
    SM_INT(struct discovery, k, "k", "100", 1, PATCHES_MOST, "patches", "LOST: how many may widen the seed"),
    SM_FLOAT(struct discovery, tau, "tau", "0.2", 0, 1, NULL,
             "TokenCut and MaskCut: patches of a larger cosine are joined; CutLER's demonstration has 0.15"),
    SM_INT(struct discovery, masks, "masks", "3", 1, DISCOVERY_MASKS, "masks",
           "MaskCut: of a picture at most"),
    SM_INT(struct discovery, shorter, "shorter", "0", 0, 4096, "px",
           "scale pictures so that their shorter side is this; 0: their own size"),
    SM_INT(
        struct discovery, square, "square", "0", 0, 4096, "px",
        "make pictures this wide and high, whatever the ratio of their sides: 480 as published for MaskCut; 0: keep it"),
    SM_CHOICE(struct discovery, hard, "hard", "keep", hards,
              "objects said to be difficult or truncated: count them, or leave them out"),
    SM_PATH(
        struct discovery, sheet, "sheet", "~",
        "PNG file of pictures with annotated boxes in green, LOST's in red, TokenCut's in blue, MaskCut's masks in "
        "several colours; replaced each time"),
    SM_INT(struct discovery, sheet_pictures, "sheet_pictures", "30", 1, 1000, "pictures",
           "how many the sheet shows"),
    SM_PATH(
        struct discovery, detections, "detections", "~",
        "MaskCut: JSON file of its boxes and masks as COCO's detections, for `smalti score coco --agnostic`; "
        "replaced each time"),
};

static sm_status discovery_create(void *self, sm_error *err) {
  const struct discovery *o = self;
  if (o->shorter && o->square) {
    sm_fail(err, SM_EINVAL, "shorter keeps the ratio of a picture's sides, and square does not");
    return sm_hint(err, "leave one of them out");
  }
  if (!o->detections || o->method == ONLY_MASKCUT) return SM_OK;
  sm_fail(err, SM_EINVAL, "only MaskCut has masks to write to '%s'", o->detections);
  return sm_hint(err, "say method=maskcut, or leave detections out");
}

static void discovery_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  *spec = (sm_feature_spec){.blocks = 1, .pool = SM_POOL_CLS, .labels = SM_LABELS_ANY};
  spec->test_alone = spec->own_size = true;
}

typedef struct looking {
  const struct discovery *o;
  sm_eval_context *x;
  sm_picture_list list;
  sm_dataset set;
  sm_whole_request request;
  sm_whole whole;
  sm_looker *looker; /* for pictures of height × width */
  int height, width;
  float *keys; /* (patches, dim) */
  size_t room;
  double *truth; /* (n_truth, 4): boxes of this picture that count */
  int64_t n_truth, truth_room;
  float *negative; /* (pictures that count), % */
  int64_t n, without; /* pictures that count; those without an object that does */
  int64_t hits[DISCOVERY_BOXES];
  bool does[DISCOVERY_METHODS];
  discovery_list list_of_masks;
  uint8_t *which, *patches; /* of the picture in hand: of its pixels, see discovery_found; (masks, patches) */
  size_t which_room, patches_room;
  sm_sheet *sheet;
  int64_t drawn;
} looking;

static sm_status looking_no_memory(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "no memory to look for objects");
}

/* ---- what counts --------------------------------------------------------------------------------------- */

static sm_status looking_truth(looking *l, int64_t index, sm_error *err) {
  const sm_object *objects;
  int64_t n;
  sm_status status = l->set.ops->objects->get(l->set.self, index, &objects, &n, err);
  l->n_truth = 0;
  if (!status && n > l->truth_room) {
    double *more = sm_realloc(l->truth, (size_t)n * 4 * sizeof *more);
    if (!more) return looking_no_memory(err);
    l->truth = more;
    l->truth_room = n;
  }
  for (int64_t i = 0; !status && i < n; i++) {
    const sm_object *o = &objects[i];
    const bool hard = l->o->hard == HARD_LEAVE_OUT && (o->difficult || o->truncated);
    if (o->crowd || hard || !(o->width > 0 && o->height > 0)) continue;
    memcpy(l->truth + 4 * l->n_truth++, (double[]){o->x, o->y, o->width, o->height}, 4 * sizeof(double));
  }
  return status;
}

static bool looking_hits(const looking *l, const double box[4]) {
  for (int64_t i = 0; i < l->n_truth; i++)
    if (sm_box_iou(box, l->truth + 4 * i, false) >= .5) return true;
  return false;
}

/* ---- features of a picture ----------------------------------------------------------------------------- */

static sm_status looking_open(looking *l, sm_error *err) {
  const sm_whole *w = &l->whole;
  const bool patches = l->o->feature == FEATURE_PATCHES;
  if (l->looker && l->height == w->height && l->width == w->width) return SM_OK;
  const sm_look_request want = {
      .height = w->height, .width = w->width, .patches = patches, .qkv = !patches, .bf16 = l->x->bf16};
  sm_looker_free(l->looker);
  l->height = w->height, l->width = w->width;
  l->looker = sm_looker_new(l->x->network, l->x->pool, &want, err);
  return l->looker ? SM_OK : SM_EUNSUPPORTED;
}

/* Part of qkv, or the patches, close together: `keys` borrows them. */
static sm_status looking_keys(looking *l, sm_patch_keys *keys, sm_error *err) {
  sm_look look;
  sm_status status = looking_open(l, err);
  if (status) return err ? err->code : status;
  if ((status = sm_looker_run(l->looker, l->whole.x, &look, err))) return status;
  const size_t n = (size_t)look.rows * (size_t)look.cols, dim = (size_t)look.dim;
  *keys = (sm_patch_keys){.x = look.patches,
                          .rows = look.rows,
                          .cols = look.cols,
                          .dim = look.dim,
                          .cell = look.cell,
                          .height = l->whole.resized_height,
                          .width = l->whole.resized_width};
  if (l->o->feature == FEATURE_PATCHES) return SM_OK;
  if (n * dim > l->room) {
    sm_free(l->keys);
    l->keys = sm_malloc(n * dim * sizeof *l->keys);
    l->room = l->keys ? n * dim : 0;
    if (!l->keys) return looking_no_memory(err);
  }
  const size_t from = (l->o->feature == FEATURE_KEYS ? 1u : l->o->feature == FEATURE_VALUES ? 2u : 0u) * dim;
  for (size_t i = 0; i < n; i++) memcpy(l->keys + i * dim, look.qkv + i * 3 * dim + from, dim * sizeof *l->keys);
  keys->x = l->keys;
  return SM_OK;
}

/* ---- masks --------------------------------------------------------------------------------------------- */

static sm_status looking_grow(uint8_t **at, size_t *has, size_t wants, sm_error *err) {
  if (*has >= wants) return SM_OK;
  sm_free(*at);
  *at = sm_malloc(wants);
  *has = *at ? wants : 0;
  return *at ? SM_OK : looking_no_memory(err);
}

/* Each pixel of the picture itself has the mask of the patch that it lies in. */
static void looking_pixels(looking *l, const sm_patch_keys *keys, int masks) {
  const sm_whole *w = &l->whole;
  const size_t n = (size_t)keys->rows * (size_t)keys->cols;
  for (int y = 0; y < w->own_height; y++)
    for (int x = 0; x < w->own_width; x++) {
      const int64_t row =
                        (2 * (int64_t)y + 1) * w->resized_height / (2 * (int64_t)w->own_height) / keys->cell,
                    col = (2 * (int64_t)x + 1) * w->resized_width / (2 * (int64_t)w->own_width) / keys->cell;
      uint8_t *to = &l->which[(size_t)y * (size_t)w->own_width + (size_t)x];
      *to = 0;
      for (int m = 0; m < masks && !*to; m++)
        if (l->patches[(size_t)m * n + (size_t)(row * keys->cols + col)]) *to = (uint8_t)(m + 1);
    }
}

/* Those without a pixel, which lie in what was padded, count for nothing. */
static sm_status looking_maskcut(looking *l, const sm_patch_keys *keys, discovery_found *f, sm_error *err) {
  const sm_whole *w = &l->whole;
  const size_t n = (size_t)keys->rows * (size_t)keys->cols,
               pixels = (size_t)w->own_height * (size_t)w->own_width;
  sm_patch_box box[DISCOVERY_MASKS];
  int masks = 0;
  sm_status status = looking_grow(&l->patches, &l->patches_room, (size_t)l->o->masks * n, err);
  if (!status) status = looking_grow(&l->which, &l->which_room, pixels, err);
  if (!status) status = sm_maskcut(keys, l->o->tau, (int)l->o->masks, l->patches, box, &masks, err);
  if (!status) looking_pixels(l, keys, masks);
  for (int m = 0; !status && m < masks; m++) {
    double *to = f->mask_box[f->n_masks];
    status = discovery_list_mask(&l->list_of_masks, l->which, m + 1, 1.0 / (f->n_masks + 1), to, err);
    f->n_masks += to[2] > 0;
  }
  f->which = l->which;
  if (f->n_masks) memcpy(f->box[DISCOVERY_MASKCUT], f->mask_box[0], sizeof f->mask_box[0]);
  return status;
}

/* ---- one picture --------------------------------------------------------------------------------------- */

/* In the picture's own pixels. */
static void looking_place(const sm_whole *w, const sm_patch_box *from, double box[4]) {
  const double across = (double)w->own_width / w->resized_width, down = (double)w->own_height / w->resized_height;
  box[0] = from->x0 * across, box[1] = from->y0 * down;
  box[2] = (from->x1 - from->x0) * across, box[3] = (from->y1 - from->y0) * down;
}

static sm_status looking_find(looking *l, discovery_found *f, sm_error *err) {
  sm_patch_keys keys;
  sm_patch_box box;
  sm_lost_parts parts = {0};
  const sm_whole *w = &l->whole;
  const double share = sqrt(.5), width = w->own_width, height = w->own_height;
  const double middle[] = {(1 - share) / 2 * width, (1 - share) / 2 * height, share * width, share * height};
  sm_status status = looking_keys(l, &keys, err);
  if (!status && l->does[DISCOVERY_LOST]) {
    status = sm_lost(&keys, (int)l->o->k, &parts, &box, err);
    if (!status) looking_place(w, &box, f->box[DISCOVERY_LOST]);
    f->negative = parts.negative;
  }
  if (!status && l->does[DISCOVERY_TOKENCUT]) {
    status = sm_tokencut(&keys, l->o->tau, false, NULL, &box, err);
    if (!status) looking_place(w, &box, f->box[DISCOVERY_TOKENCUT]);
  }
  if (!status && l->does[DISCOVERY_MASKCUT]) status = looking_maskcut(l, &keys, f, err);
  if (status) return status;
  memcpy(f->box[DISCOVERY_CENTRE], middle, sizeof middle);
  memcpy(f->box[DISCOVERY_WHOLE], (double[]){0, 0, width, height}, 4 * sizeof(double));
  return SM_OK;
}

static sm_status looking_too_many(const looking *l, int cell, sm_error *err) {
  const int64_t patches = (int64_t)(l->whole.height / cell) * (l->whole.width / cell);
  if (patches <= PATCHES_MOST) return SM_OK;
  sm_fail(err, SM_EINVAL, "a picture of %d x %d pixels has %lld patches of %d pixels; %d can be compared",
          l->whole.width, l->whole.height, (long long)patches, cell, PATCHES_MOST);
  sm_hint(err, "make pictures smaller: shorter=%d", cell * 64);
  return sm_fail_at(err, l->set.ops->name(l->set.self, l->whole.index), 0, 0);
}

static void looking_count(looking *l, const discovery_found *f) {
  for (int m = 0; m < DISCOVERY_BOXES; m++) l->hits[m] += looking_hits(l, f->box[m]);
  l->negative[l->n++] = (float)(100 * f->negative);
}

static sm_status looking_picture(looking *l, int64_t index, sm_error *err) {
  discovery_found found = {0};
  bool bad;
  sm_status status = looking_truth(l, index, err);
  if (!status && !l->n_truth) l->without++;
  if (status || (!l->n_truth && !l->does[DISCOVERY_MASKCUT])) return status;
  status = sm_whole_read(l->x, "test", index, &l->request, &l->whole, &bad, err);
  if (status || bad) return status;
  status = looking_too_many(l, sm_network_describe(l->x->network)->backbone.cell, err);
  if (!status && l->does[DISCOVERY_MASKCUT])
    status = discovery_list_picture(&l->list_of_masks, &l->set, index, l->whole.own_height,
                                    l->whole.own_width, err);
  if (!status) status = looking_find(l, &found, err);
  if (status) return status;
  if (l->n_truth) looking_count(l, &found);
  if (!l->sheet || l->drawn >= l->o->sheet_pictures) return SM_OK;
  if (l->drawn && l->drawn % SHEET_COLUMNS == 0) sm_sheet_row(l->sheet);
  l->drawn++;
  return discovery_draw(l->sheet, l->x, &l->whole, sm_path_base(l->set.ops->name(l->set.self, index)), l->truth,
                        l->n_truth, &found, l->does, err);
}

/* ---- all ----------------------------------------------------------------------------------------------- */

static sm_status looking_check(looking *l, sm_error *err) {
  const sm_network *network = l->x->network;
  if (!network) {
    sm_fail(err, SM_EUNSUPPORTED, "pixels have no patches to find an object by");
    return sm_hint(err, "leave '--net pixels' out; '--net init' is an untrained network");
  }
  const sm_network_spec *about = sm_network_describe(network);
  if (!l->set.ops->objects) {
    sm_fail(err, SM_EINVAL, "the test pictures have no annotated objects");
    return sm_hint(err, "take a data set that has them, such as voc or coco: data.test");
  }
  if (l->o->feature != FEATURE_PATCHES && about->backbone.heads < 1) {
    sm_fail(err, SM_EUNSUPPORTED, "backbone `%s` has no attention, and so no %s, in its last block", about->name,
            features[l->o->feature]);
    return sm_hint(err, "feature=patches compares its output; the figures published are of keys");
  }
  l->request = (sm_whole_request){.height = (int)l->o->square,
                                  .width = (int)l->o->square,
                                  .shorter = (int)l->o->shorter,
                                  .multiple = about->backbone.cell,
                                  .fit = SM_FIT_PAD};
  if (about->backbone.one_grid) l->request.height = about->height, l->request.width = about->width;
  return SM_OK;
}

static sm_status looking_begin(looking *l, sm_error *err) {
  l->does[DISCOVERY_LOST] = l->o->method == BOTH || l->o->method == ONLY_LOST;
  l->does[DISCOVERY_TOKENCUT] = l->o->method == BOTH || l->o->method == ONLY_TOKENCUT;
  l->does[DISCOVERY_MASKCUT] = l->o->method == ONLY_MASKCUT;
  sm_status status = sm_picture_list_get(l->x, "test", &l->list, err);
  if (!status) status = sm_picture_dataset(l->x, "test", &l->set, err);
  if (!status) status = looking_check(l, err);
  if (status) return status;
  l->negative = sm_malloc(((size_t)l->list.n + 1) * sizeof *l->negative);
  if (!l->negative) return looking_no_memory(err);
  if (l->o->sheet && !(l->sheet = sm_sheet_new())) return looking_no_memory(err);
  return SM_OK;
}

static sm_status looking_figures(looking *l, sm_eval_result *r, sm_error *err) {
  double sum = 0;
  if (!l->n) {
    sm_fail(err, SM_EINVAL, "none of the %lld test pictures has an object that counts and can be read",
            (long long)l->list.n);
    return sm_hint(err, "crowds do not count; see `smalti data check`");
  }
  for (int m = 0; m < DISCOVERY_BOXES; m++)
    if (m >= DISCOVERY_CENTRE || l->does[m]) sm_figure_hits(r, l->hits[m], l->n, "%s", figures[m]);
  if (l->does[DISCOVERY_MASKCUT]) return discovery_list_figures(&l->list_of_masks, r, err);
  if (!l->does[DISCOVERY_LOST]) return SM_OK;
  sm_status status = sm_mean_intervals(l->negative, l->n, 1, &r->interval[r->n], err);
  if (status) return status;
  r->has_interval[r->n] = true;
  for (int64_t i = 0; i < l->n; i++) sum += (double)l->negative[i];
  sm_figure_add_in(r, "%", sum / (double)l->n, "negative");
  if (sum <= 0)
    sm_log(SM_LOG_WARNING,
           "discovery: no two patches have a product below 0, so LOST takes all of each picture for the object");
  return SM_OK;
}

static void looking_method(const struct discovery *o, char *to, size_t size) {
  const long long k = (long long)o->k, masks = (long long)o->masks;
  if (o->method == BOTH)
    snprintf(to, size, "one box a picture by LOST (k %lld) and TokenCut (tau %g)", k, o->tau);
  if (o->method == ONLY_LOST) snprintf(to, size, "one box a picture by LOST (k %lld)", k);
  if (o->method == ONLY_TOKENCUT) snprintf(to, size, "one box a picture by TokenCut (tau %g)", o->tau);
  if (o->method == ONLY_MASKCUT)
    snprintf(to, size, "%lld %s a picture at most by MaskCut (tau %g, no CRF)", masks,
             sm_plural(masks, "mask", "masks"), o->tau);
}

static void looking_protocol(const looking *l, sm_eval_result *r) {
  char method[80], size[64], without[64] = "";
  const struct discovery *o = l->o;
  const sm_network_spec *about = sm_network_describe(l->x->network);
  const bool masks = l->does[DISCOVERY_MASKCUT];
  looking_method(o, method, sizeof method);
  if (l->request.height) snprintf(size, sizeof size, "resized to %d x %d", l->request.width, l->request.height);
  else if (o->shorter) snprintf(size, sizeof size, "shorter side %lld", (long long)o->shorter);
  else snprintf(size, sizeof size, "own size");
  if (l->without)
    snprintf(without, sizeof without, ", %lld without an object left out%s", (long long)l->without,
             masks ? " of corloc" : "");
  snprintf(
      r->protocol, sizeof r->protocol,
      "%s on %s of the last block; pictures one by one, %s, zeros at the right and below to whole patches of %d; "
      "hit%s: IoU with any object at least 0.5, no crowds%s; %s%lld pictures%s",
      method, features[o->feature], size, about->backbone.cell, masks ? " of the first" : "",
      o->hard == HARD_LEAVE_OUT ? ", none difficult or truncated" : "",
      masks ? "ap: COCO's, one category, score 1/rank; " : "", (long long)l->n, without);
}

static sm_status looking_write(const looking *l, sm_error *err) {
  sm_image sheet = {0};
  sm_status status =
      l->o->detections ? discovery_list_write(&l->list_of_masks, l->o->detections, err) : SM_OK;
  if (status || !l->sheet || !l->drawn) return status;
  status = sm_sheet_draw(l->sheet, &sheet, err);
  if (status == SM_EINVAL) sm_hint(err, "show fewer: sheet_pictures");
  if (!status) status = sm_image_write_png(l->o->sheet, &sheet, err);
  sm_image_free(&sheet);
  return status;
}

static sm_status discovery_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  looking l = {.o = self, .x = x};
  x->doing = "discovery";
  sm_status status = looking_begin(&l, err);
  for (int64_t i = 0; !status && i < l.list.n; i++) {
    status = looking_picture(&l, l.list.index[i], err);
    if (!status) status = x->going_on(x, (double)(i + 1) / (double)l.list.n, err);
  }
  if (!status) status = looking_figures(&l, result, err);
  if (!status) status = looking_write(&l, err);
  if (!status) looking_protocol(&l, result);
  sm_looker_free(l.looker);
  sm_whole_free(&l.whole);
  sm_sheet_free(l.sheet);
  sm_free(l.keys);
  sm_free(l.truth);
  sm_free(l.negative);
  sm_free(l.which);
  sm_free(l.patches);
  discovery_list_free(&l.list_of_masks);
  return status;
}

static void discovery_figures(const void *self, sm_text *out) {
  const int method = ((const struct discovery *)self)->method;
  if (method == BOTH || method == ONLY_LOST) sm_text_add(out, "%s negative ", figures[DISCOVERY_LOST]);
  if (method == BOTH || method == ONLY_TOKENCUT) sm_text_add(out, "%s ", figures[DISCOVERY_TOKENCUT]);
  if (method == ONLY_MASKCUT)
    sm_text_add(out, "%s ap.box ap50.box ar100.box ap.mask ap50.mask ar100.mask masks ",
                figures[DISCOVERY_MASKCUT]);
  sm_text_add(out, "%s %s ", figures[DISCOVERY_CENTRE], figures[DISCOVERY_WHOLE]);
}

static const sm_evaluation_ops ops = {discovery_run, discovery_wants, discovery_figures};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "discovery",
    .summary = "objects in pictures, found from their patches without training: LOST, TokenCut, MaskCut",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite =
        "Simeoni et al., Localizing Objects with Self-Supervised Transformers and no Labels, BMVC 2021; "
        "Wang et al., Self-Supervised Transformers for Unsupervised Object Discovery using Normalized Cut, CVPR 2022; "
        "Wang et al., Cut and Learn for Unsupervised Object Detection and Instance Segmentation, CVPR 2023",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct discovery),
    .create = discovery_create,
    .ops = &ops,
};
SM_MODULE(&plugin)
