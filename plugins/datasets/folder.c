/* folder.c — dataset `folder`: the JPEG, PNG and WebP files below a folder, with its sub-folders as classes.
 *
 * The list is made once, in open, and is sorted by byte order at every level, so it is the same on every
 * machine: first the pictures beside the class folders (without a label), then class after class, at any
 * depth. Hidden files are left out, links are followed, and a link that leads back to a folder above it is
 * skipped. A file is listed for its name and decoded for its content; what cannot be read is found out, and
 * counted, when its turn comes. Names may hold any byte. Where `smalti data index` has put an index beside the folder,
 * the list is that one. */
#include <smalti/listing.h>
#include <smalti/plugin.h>

#include <sys/stat.h>

enum { CLASSES_AUTO, CLASSES_FOLDERS, CLASSES_NONE };
static const char *const classes_choices[] = {"auto", "folders", "none", NULL};

typedef struct folder {
  const char *path;
  int classes_mode;
  int64_t limit;
  sm_ints grey16;

  sm_listing *list;
} folder;

static sm_status folder_check_list(const folder *set, sm_error *err) {
  const int64_t count = sm_listing_count(set->list), others = sm_listing_others(set->list);
  if (count == 0) {
    if (others) sm_fail(err, SM_ENOTFOUND, "no picture in %s, but %lld other files", set->path, (long long)others);
    else sm_fail(err, SM_ENOTFOUND, "no picture in %s: it holds no file at all", set->path);
    sm_hint(err, "files named %s count, in upper or lower case; hidden ones do not", sm_listing_endings());
    return SM_ENOTFOUND;
  }
  if (set->classes_mode == CLASSES_FOLDERS && sm_listing_classes(set->list) == 0) {
    sm_fail(err, SM_EINVAL, "no class folder in %s: its %lld pictures lie in one folder", set->path,
            (long long)count);
    sm_hint(err, "make a sub-folder for each class, or say classes: none");
    return SM_EINVAL;
  }
  return SM_OK;
}

static sm_status folder_create(void *self, sm_error *err) {
  const sm_ints *range = &((const folder *)self)->grey16;
  if (range->n == 0 || (range->n == 2 && range->v[0] < range->v[1])) return SM_OK;
  sm_fail(err, SM_EINVAL, "grey16 wants two values, the smaller one first");
  return sm_hint(err, "for 12 bits say grey16: [0, 4095]");
}

/* An index that is there and cannot be taken is an error: to list the folder in its place could take an hour, on each
 * of many machines, and nobody would know why. */
static sm_listing *folder_list(const folder *set, sm_error *err) {
  struct stat st;
  sm_listing *list = NULL;
  sm_arena *arena = sm_arena_new("folder");
  const char *file = arena ? sm_listing_file(arena, set->path) : NULL;
  if (!file) sm_fail(err, SM_ENOMEM, "out of memory while listing %s", set->path);
  else if (lstat(file, &st)) list = sm_listing_folder(set->path, err);
  else list = sm_listing_open(set->path, file, err);
  sm_arena_free(arena);
  return list;
}

static sm_status folder_open(void *self, sm_error *err) {
  folder *set = self;
  sm_error why = {0};
  if (!(set->list = folder_list(set, &why))) {
    if (err) *err = why;
    return why.code;
  }
  sm_status status = sm_listing_arrange(set->list, set->classes_mode != CLASSES_NONE, set->limit, err);
  if (!status) status = folder_check_list(set, err);
  if (!status) sm_listing_tell(set->list);
  return status;
}

static void folder_destroy(void *self) { sm_listing_free(((folder *)self)->list); }

static int64_t folder_count(const void *self) { return sm_listing_count(((const folder *)self)->list); }
static int folder_classes(const void *self) { return sm_listing_classes(((const folder *)self)->list); }
static uint64_t folder_hash(const void *self) { return sm_listing_hash(((const folder *)self)->list); }

static int folder_label(const void *self, int64_t index) {
  return sm_listing_label(((const folder *)self)->list, index);
}

static const char *folder_name(const void *self, int64_t index) {
  return sm_listing_name(((const folder *)self)->list, index);
}

static const char *folder_class_name(const void *self, int c) {
  return sm_listing_class_name(((const folder *)self)->list, c);
}

static sm_status folder_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                             sm_error *err) {
  const folder *set = self;
  sm_image_limits all = limits ? *limits : (sm_image_limits){0};
  if (set->grey16.n == 2) all.grey16_from = (int)set->grey16.v[0], all.grey16_to = (int)set->grey16.v[1];
  sm_text path = {0};
  sm_listing_path(set->list, index, &path);
  sm_status status = path.failed ? sm_fail(err, SM_ENOMEM, "no memory for the name of a picture")
                                 : sm_image_read(path.s, &all, NULL, out, err);
  sm_text_free(&path);
  if (status != SM_ENOTFOUND || !sm_listing_at(set->list, index).dangling) return status;
  return sm_fail(err, SM_EFORMAT,
                 "a link that leads nowhere"); /* it did when it was listed: no passing fault */
}

static const sm_option options[] = {
    SM_PATH(folder, path, "path", NULL, "folder with the pictures, or with one sub-folder a class"),
    SM_CHOICE(folder, classes_mode, "classes", "auto", classes_choices,
              "auto: sub-folders are classes if there are any; folders: they must be; none: no labels"),
    SM_INT(folder, limit, "limit", "0", 0, 1e9, "pictures",
           "take only the first ones of each class; 0 takes all"),
    SM_INTS(
        folder, grey16, "grey16", "~", 0, 65535, NULL,
        "values of 16-bit grey pictures that become black and white, as [0, 4095] for 12 bits; left out: the upper 8 bits are kept"),
};

static const sm_dataset_ops ops = {
    .open = folder_open,
    .count = folder_count,
    .label = folder_label,
    .name = folder_name,
    .classes = folder_classes,
    .class_name = folder_class_name,
    .read = folder_read,
    .hash = folder_hash,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "folder",
    .create = folder_create,
    .summary = "JPEG, PNG and WebP files below a folder, its sub-folders as classes",
    .version = "0.1",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(folder),
    .destroy = folder_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)
