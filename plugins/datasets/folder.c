/* folder.c — dataset `folder`: the JPEG, PNG and WebP files below a folder, with its sub-folders as classes.
 *
 * The list is made once, in open, and is sorted by byte order at every level, so it is the same on every
 * machine: first the pictures beside the class folders (without a label), then class after class, at any
 * depth. Hidden files are left out, links are followed, and a link that leads back to a folder above it is
 * skipped. A file is listed for its name and decoded for its content; what cannot be read is found out, and
 * counted, when its turn comes. Names may hold any byte. Where `smalti data index` has put an index beside the folder,
 * the list is that one. */
#include "listed.h"

static sm_status folder_open(void *self, sm_error *err) { return listed_open(self, false, err); }
static sm_status folder_take(void *self, const void *found, size_t bytes, sm_error *err) {
  listed_take(self, false, found, bytes);
  return folder_open(self, err);
}
static void folder_destroy(void *self) { sm_listing_free(((listed *)self)->list); }

static sm_status folder_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                             sm_error *err) {
  const listed *set = self;
  const sm_image_limits all = listed_limits(set, limits);
  sm_text path = {0};
  sm_listing_path(set->list, index, &path);
  sm_status status = path.failed ? sm_fail(err, SM_ENOMEM, "no memory for the name of a picture")
                                 : sm_image_read(path.s, &all, NULL, out, err);
  sm_text_free(&path);
  if (status != SM_ENOTFOUND || !sm_listing_at(set->list, index).dangling) return status;
  return sm_fail(err, SM_EFORMAT,
                 "a link that leads nowhere"); /* it did when it was listed: no passing fault */
}

static const char *const folder_classes[] = {"auto", "folders", "none", NULL};
static const sm_option options[] = {
    SM_PATH(listed, path, "path", NULL, "folder with the pictures, or with one sub-folder a class"),
    LISTED_OPTIONS(folder_classes,
                   "auto: sub-folders are classes if there are any; folders: they must be; none: no labels"),
};

static const sm_dataset_ops ops = {
    .open = folder_open,
    .count = listed_count,
    .label = listed_label,
    .name = listed_name,
    .classes = listed_classes_of,
    .class_name = listed_class_name,
    .read = folder_read,
    .hash = listed_hash,
    .give = listed_give,
    .take = folder_take,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "folder",
    .create = listed_create,
    .summary = "JPEG, PNG and WebP files below a folder, its sub-folders as classes",
    .version = "0.1",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(listed),
    .destroy = folder_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)
