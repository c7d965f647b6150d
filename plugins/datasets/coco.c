/* coco.c — dataset `coco`: the pictures that a COCO annotation file lists, with their objects: boxes, and masks where the
 * file has segmentations (polygons or runs).
 *
 * Categories are in ascending id, pictures in ascending id too; those without objects count. The file is read whole and
 * checked when the data set is opened. */
#include <smalti/coco.h>

#include "annotated.h"

#include <string.h>

typedef struct coco {
  annotated set; /* first: annotated.h */
  const char *path, *annotations;
  int64_t limit;
  int missing;
  sm_coco file;
} coco;

/* Objects of picture i are order[end[i - 1] … end[i] - 1], from 0 on for the first one, in the order of the file. */
static sm_status coco_sort(const sm_coco *c, int **end, int **order, sm_error *err) {
  *end = sm_calloc((size_t)c->n_images + 1, sizeof **end);
  *order = sm_malloc(((size_t)c->n_objects + 1) * sizeof **order);
  if (!*end || !*order) return annotated_no_memory(c->path, err);
  for (int i = 0; i < c->n_objects; i++) (*end)[c->objects[i].image + 1]++;
  for (int i = 1; i <= c->n_images; i++) (*end)[i] += (*end)[i - 1];
  for (int i = 0; i < c->n_objects; i++) (*order)[(*end)[c->objects[i].image]++] = i;
  return SM_OK;
}

static sm_object coco_object(const sm_coco_object *from) {
  return (sm_object){.x = from->box[0],
                     .y = from->box[1],
                     .width = from->box[2],
                     .height = from->box[3],
                     .area = from->area,
                     .category = from->category,
                     .id = from->id,
                     .crowd = from->crowd,
                     .runs = from->mask.n ? from->mask.runs : NULL,
                     .n_runs = from->mask.n};
}

static sm_status coco_take(coco *set, int image, const int *end, const int *order, sm_error *err) {
  const sm_coco_image *from = &set->file.images[image];
  bool there;
  if (!*from->file || strstr(from->file, "://")) {
    sm_fail(err, SM_EFORMAT, "the picture with id %lld has %s in place of a file name", (long long)from->id,
            *from->file ? "a network address" : "nothing");
    return sm_fail_at(err, set->annotations, 0, 0);
  }
  sm_status status = annotated_add(&set->set, set->path, from->file, from->height, from->width, &there, err);
  if (!status && there) set->set.pictures[set->set.count - 1].id = from->id;
  for (int i = image ? end[image - 1] : 0; !status && there && i < end[image]; i++) {
    const sm_object object = coco_object(&set->file.objects[order[i]]);
    status = annotated_object(&set->set, &object, err);
  }
  return status;
}

static sm_status coco_categories(coco *set, sm_error *err) {
  const sm_coco *c = &set->file;
  if (c->n_categories < 1 || c->n_categories > ANNOTATED_CATEGORIES) {
    sm_fail(err, SM_EFORMAT, "it has %d categories; 1 to %d are read", c->n_categories, ANNOTATED_CATEGORIES);
    return sm_fail_at(err, set->annotations, 0, 0);
  }
  set->set.category = sm_malloc((size_t)c->n_categories * sizeof *set->set.category);
  set->set.category_id = sm_malloc((size_t)c->n_categories * sizeof *set->set.category_id);
  if (!set->set.category || !set->set.category_id) return annotated_no_memory(set->annotations, err);
  set->set.categories = c->n_categories;
  for (int i = 0; i < c->n_categories; i++) {
    set->set.category[i] = c->categories[i].name;
    set->set.category_id[i] = c->categories[i].id;
  }
  return SM_OK;
}

static sm_status coco_open(void *self, sm_error *err) {
  coco *set = self;
  sm_error why = {0};
  int *end = NULL, *order = NULL;
  set->set.arena = sm_arena_new("coco");
  sm_status status = set->set.arena ? sm_coco_read(set->annotations, SM_COCO_ANY, &set->file, &why)
                                    : annotated_no_memory(set->annotations, &why);
  if (!status) status = coco_categories(set, &why);
  if (!status) status = coco_sort(&set->file, &end, &order, &why);
  for (int i = 0; !status && i < set->file.n_images && (!set->limit || set->set.count < set->limit); i++)
    status = coco_take(set, i, end, order, &why);
  if (!status) status = annotated_finish(&set->set, set->missing, set->annotations, set->path, &why);
  sm_free(end);
  sm_free(order);
  if (status && err) *err = why;
  return status;
}

static void coco_destroy(void *self) {
  coco *set = self;
  annotated_destroy(self);
  sm_coco_free(&set->file);
}

static const sm_option options[] = {
    SM_PATH(coco, path, "path", NULL, "folder with the pictures, such as train2017"),
    SM_PATH(coco, annotations, "annotations", NULL,
            "JSON file with images, annotations and categories, such as instances_train2017.json"),
    SM_CHOICE(coco, missing, "missing", "refuse", annotated_missings,
              "pictures of the file that are not in the folder: refuse the data set, or skip them with a warning"),
    SM_INT(coco, limit, "limit", "0", 0, 1e9, "pictures", "take only the first ones, by id; 0 takes all"),
};

static const sm_dataset_ops ops = ANNOTATED_OPS(coco_open);

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "coco",
    .summary = "pictures and objects of a COCO annotation file: boxes and masks",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(coco),
    .destroy = coco_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)
