/* plugins/evaluations/backgrounds.c — ImageNet-9's backgrounds challenge (Xiao et al., ICLR 2021):
 * accuracy on sets of pictures whose foreground or background was cut out or exchanged, how much of it
 * goes when a background of the same class becomes a random one, and how many foregrounds some background
 * makes it mistake. Pictures are cut from their centre without resizing where the evaluation has their
 * size. */
#include <string.h>

#include "../datasets/csv.h"
#include "backgrounds.h"

typedef struct backgrounds {
  const char *folder, *groups;
  int64_t foregrounds, seed;
  ask_options ask;
} backgrounds;

static const sm_option options[] = {
    SM_PATH(
        backgrounds, folder, "folder", NULL,
        "the sets as published, SET/val/CLASS/PICTURE, or SET/CLASS/PICTURE; SET is original, mixed_same, "
        "mixed_rand, mixed_next, no_fg, only_bg_b, only_bg_t or only_fg"),
    SM_PATH(
        backgrounds, groups, "groups", "~",
        "CSV file, a line CLASS,GROUP for each training class that belongs to one of the sets' classes; others are "
        "wrong. Left out: the sets' classes are the training pictures'"),
    SM_INT(
        backgrounds, foregrounds, "foregrounds", "0", 0, 1e9, "pictures",
        "how many of the original pictures' foregrounds are set before all backgrounds of only_bg_t, drawn by the seed, "
        "each until it is mistaken; all 4050 as published. 0: none"),
    SM_INT(backgrounds, seed, "seed", "0", 0, 1e9, NULL, "of that draw"),
    ASK_CLASSIFIER(backgrounds, ask),
};

static const char *const known[] = {"original", "mixed_same", "mixed_rand", "mixed_next",
                                    "no_fg",    "only_bg_b",  "only_bg_t",  "only_fg"};
enum { ORIGINAL, MIXED_SAME, MIXED_RAND, SETS = sizeof known / sizeof *known };

static void backgrounds_wants(const void *self, sm_feature_spec *spec) {
  ask_wants(&((const backgrounds *)self)->ask, spec);
}

typedef struct judging {
  const backgrounds *o;
  sm_eval_context *x;
  ask_question q;
  outside_names classes, groups; /* of training; of the sets, where they are others */
  int32_t *group_of;             /* (classes.n) place in groups, -1: none */
  bool there[SETS];
  int64_t n[SETS], right[SETS];
  backgrounds_sets sets;
  backgrounds_gap gap;
  int64_t pairs, foregrounds, vulnerable;
} judging;

/* ---- which training classes belong together ------------------------------------------------------------ */

static sm_status backgrounds_take(judging *j, csv *c, const csv_row *row, sm_error *err) {
  if (row->n != 2 || !row->field[1][0])
    return csv_fail(c, row->line, err, "there are not two names", "write CLASS,GROUP in each line");
  const int k = outside_names_find(&j->classes, row->field[0]);
  if (k < 0) {
    sm_fail(err, SM_EINVAL, "'%s' is none of the training pictures' classes", row->field[0]);
    return sm_fail_at(err, c->file, row->line, 0);
  }
  if (j->group_of[k] >= 0) {
    sm_fail(err, SM_EINVAL, "class '%s' has a group already, '%s'", row->field[0], j->groups.v[j->group_of[k]]);
    return sm_fail_at(err, c->file, row->line, 0);
  }
  if ((j->group_of[k] = outside_names_find(&j->groups, row->field[1])) >= 0) return SM_OK;
  if (!outside_names_add(&j->groups, row->field[1])) return sm_fail(err, SM_ENOMEM, "no memory for groups");
  j->group_of[k] = j->groups.n - 1;
  return SM_OK;
}

static sm_status backgrounds_groups(judging *j, sm_error *err) {
  csv c = {0};
  csv_row row;
  char *text = NULL;
  sm_status status = csv_open(&c, j->o->groups, 1 << 24, &text, err);
  c.delimiter = ',';
  while (!status && !(status = csv_next(&c, &row, err)) && row.n) status = backgrounds_take(j, &c, &row, err);
  sm_free(text);
  if (!status && !j->groups.n) status = sm_fail(err, SM_EINVAL, "'%s' is empty", j->o->groups);
  return status;
}

static sm_status backgrounds_classes(judging *j, sm_error *err) {
  sm_status status = outside_classes(j->x, &j->classes, err);
  if (status) return status;
  if (!(j->group_of = sm_malloc((size_t)j->classes.n * sizeof *j->group_of)))
    return sm_fail(err, SM_ENOMEM, "no memory for classes");
  for (int c = 0; c < j->classes.n; c++) j->group_of[c] = j->o->groups ? -1 : c;
  return j->o->groups ? backgrounds_groups(j, err) : SM_OK;
}

static int backgrounds_class_of(void *ctx, const char *name, sm_error *err) {
  const judging *j = ctx;
  if (!j->o->groups) return outside_class_of(&j->classes, j->o->folder, name, err);
  const int g = outside_names_find(&j->groups, name);
  if (g >= 0) return g;
  sm_fail(err, SM_EINVAL, "class '%s' in '%s' is no group of '%s'", name, j->o->folder, j->o->groups);
  sm_hint(err, "the second column must have the names of the sets' class folders");
  return -1;
}

/* ---- sets ---------------------------------------------------------------------------------------------- */

static sm_status backgrounds_list(judging *j, sm_error *err) {
  outside_names folders = {0};
  int sets = 0;
  sm_status status = outside_names_get(j->o->folder, 'd', &folders, err);
  for (int i = 0; !status && i < folders.n; i++) {
    int s = 0;
    while (s < SETS && strcmp(known[s], folders.v[i])) s++;
    if (s < SETS) j->there[s] = true, sets++;
    else if (strcmp(folders.v[i], "fg_mask")) { /* that is published beside them */
      status = sm_fail(err, SM_EINVAL, "'%s/%s' is none of the 8 sets of the backgrounds challenge", j->o->folder,
                       folders.v[i]);
      sm_hint(err, "name the folder that holds original, mixed_same and their like, and take other things out of it");
    }
  }
  outside_names_free(&folders);
  if (status || sets) return status;
  return sm_fail(err, SM_EINVAL, "'%s' holds no set: neither original nor mixed_same nor one of their like",
                 j->o->folder);
}

sm_status backgrounds_tree(const backgrounds_sets *sets, const char *set, outside *pictures, sm_text *root,
                           sm_error *err) {
  sm_text path = {0};
  sm_text_add(&path, "%s/%s", sets->folder, set);
  const size_t end = path.len;
  sm_text_add(&path, "/val");
  sm_status status = path.failed ? sm_fail(err, SM_ENOMEM, "no memory for a path") : SM_OK;
  if (!status && !outside_is_folder(path.s)) path.s[path.len = end] = 0;
  if (!status) status = outside_tree(path.s, sets->class_of, sets->ctx, pictures, err);
  if (root) *root = path;
  else sm_text_free(&path);
  return status;
}

bool backgrounds_right(const backgrounds_sets *sets, int32_t class_of, int32_t label) {
  return class_of >= 0 && sets->group_of[class_of] == label;
}

static sm_status backgrounds_ask(judging *j, int set, outside *pictures, sm_error *err) {
  const sm_eval_context *x = j->x;
  int32_t *class_of = sm_malloc((size_t)pictures->n * sizeof *class_of);
  if (!class_of) return sm_fail(err, SM_ENOMEM, "no memory for classes");
  const int shorter = x->height < x->width ? x->height : x->width;
  j->q.request = (sm_picture_request){.own = &outside_ops, .own_self = pictures, .resize = shorter};
  j->q.n = pictures->n;
  const double share = j->o->foregrounds ? 0.1 : 1; /* foregrounds are the long part */
  j->q.from = share * set / SETS, j->q.to = share * (set + 1.0) / SETS;
  sm_status status = ask_about(j->x, &j->q, class_of, NULL, err);
  for (int64_t i = 0; !status && i < pictures->n; i++) {
    if (class_of[i] == ASK_UNREAD) continue;
    const bool right = backgrounds_right(&j->sets, class_of[i], pictures->label[i]);
    j->n[set]++;
    j->right[set] += right;
    if (set == MIXED_SAME || set == MIXED_RAND)
      status = backgrounds_gap_add(&j->gap, set == MIXED_RAND, pictures->path.v[i], right, err);
  }
  sm_free(class_of);
  if (!status && !j->n[set])
    status = sm_fail(err, SM_EINVAL, "no picture of '%s/%s' could be read", j->o->folder, known[set]);
  return status;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static sm_status backgrounds_figures(judging *j, sm_eval_result *r, sm_error *err) {
  char gap[96] = "", foregrounds[128] = "";
  int sets = 0;
  int64_t pictures = 0;
  sm_status status = SM_OK;
  for (int s = 0; s < SETS; s++) {
    if (!j->there[s]) continue;
    sm_figure_hits(r, j->right[s], j->n[s], "%s", known[s]);
    sets++, pictures += j->n[s];
  }
  if (j->there[MIXED_SAME] && j->there[MIXED_RAND]) {
    status = backgrounds_gap_figure(&j->gap, r, &j->pairs, err);
    snprintf(gap, sizeof gap, "; bg_gap: mixed_same - mixed_rand, drawn again by %lld shared foregrounds",
             (long long)j->pairs);
  }
  if (j->foregrounds) {
    sm_figure_hits(r, j->vulnerable, j->foregrounds, "vulnerable");
    snprintf(foregrounds, sizeof foregrounds,
             "; vulnerable: of %lld foregrounds before all of only_bg_t, seed %lld",
             (long long)j->foregrounds, (long long)j->o->seed);
  }
  const int classes = j->o->groups ? j->groups.n : j->classes.n;
  snprintf(r->protocol, sizeof r->protocol,
           "%s; %d of the 8 sets, %lld pictures, cut without resizing, %d %s for %d of training%s%s",
           sm_classifier_what(j->q.classifier), sets, (long long)pictures, classes,
           sm_plural(classes, "class", "classes"), j->classes.n, gap, foregrounds);
  return status;
}

static void backgrounds_names(const void *self, sm_text *out) {
  for (int s = 0; s < SETS; s++) sm_text_add(out, "%s ", known[s]);
  sm_text_add(out, "bg_gap ");
  if (((const backgrounds *)self)->foregrounds) sm_text_add(out, "vulnerable ");
}

static sm_status backgrounds_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  judging j = {.o = self, .x = x};
  sm_features test;
  x->doing = "pictures with other backgrounds";
  sm_status status = backgrounds_list(&j, err);
  if (!status) status = backgrounds_classes(&j, err);
  if (!status) status = ask_open(x, &j.o->ask, &j.q, &test, err);
  j.sets = (backgrounds_sets){j.o->folder, backgrounds_class_of, &j, j.group_of};
  for (int s = 0; !status && s < SETS; s++) {
    outside pictures;
    if (!j.there[s]) continue;
    status = backgrounds_tree(&j.sets, known[s], &pictures, NULL, err);
    if (status) break;
    status = backgrounds_ask(&j, s, &pictures, err);
    outside_free(&pictures);
  }
  if (!status && j.o->foregrounds) {
    j.q.from = 0.1, j.q.to = 1;
    status = backgrounds_vulnerable(x, &j.sets, &j.q, j.o->foregrounds, (uint64_t)j.o->seed, &j.vulnerable,
                                    &j.foregrounds, err);
  }
  if (!status) status = backgrounds_figures(&j, result, err);
  backgrounds_gap_free(&j.gap);
  ask_close(&j.q);
  outside_names_free(&j.classes);
  outside_names_free(&j.groups);
  sm_free(j.group_of);
  return status;
}

static const sm_evaluation_ops ops = {backgrounds_run, backgrounds_wants, backgrounds_names};
static const sm_plugin backgrounds_plugin = {
    .kind = SM_EVALUATION,
    .name = "backgrounds",
    .summary = "accuracy on pictures whose background was exchanged, ImageNet-9's backgrounds challenge",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Xiao et al., Noise or Signal: The Role of Image Backgrounds in Object Recognition, ICLR 2021",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(backgrounds),
    .ops = &ops,
};
SM_MODULE(&backgrounds_plugin)
