/* listed.h — what the datasets over a listing (smalti/listing.h) share: options, opening with or without
 * an index, and all that is said of a picture before it is read. */
#ifndef LISTED_H
#define LISTED_H

#include <smalti/listing.h>
#include <smalti/plugin.h>

#include <sys/stat.h>

enum { CLASSES_AUTO, CLASSES_FOLDERS, CLASSES_NONE, CLASSES_CLS };

typedef struct listed {
  const char *path;
  int classes_mode;
  int64_t limit;
  sm_ints grey16;

  sm_listing *list;
  bool shards, indexed; /* what is listed; by an index */
} listed;

#define LISTED_OPTIONS(choices, about)                                                                      \
  SM_CHOICE(listed, classes_mode, "classes", "auto", choices, about),                                       \
      SM_INT(listed, limit, "limit", "0", 0, 1e9, "pictures",                                               \
             "take only the first ones of each class; 0 takes all"),                                        \
      SM_INTS(listed, grey16, "grey16", "~", 0, 65535, NULL,                                                \
              "values of 16-bit grey pictures that become black and white, as [0, 4095] for 12 bits; left " \
              "out: the upper 8 bits are kept")

static sm_status listed_create(void *self, sm_error *err) {
  const sm_ints *range = &((const listed *)self)->grey16;
  if (range->n == 0 || (range->n == 2 && range->v[0] < range->v[1])) return SM_OK;
  sm_fail(err, SM_EINVAL, "grey16 wants two values, the smaller one first");
  return sm_hint(err, "for 12 bits say grey16: [0, 4095]");
}

static sm_status listed_check_list(const listed *set, sm_error *err) {
  const int64_t count = sm_listing_count(set->list), others = sm_listing_others(set->list);
  if (count == 0) {
    if (others)
      sm_fail(err, SM_ENOTFOUND, "no picture in %s, but %lld other files", set->path, (long long)others);
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
  if (set->classes_mode == CLASSES_CLS && sm_listing_classes(set->list) == 0) {
    sm_fail(err, SM_EINVAL, "no label in %s: beside none of its %lld pictures lies a .cls", set->path,
            (long long)count);
    sm_hint(err, "put KEY.cls beside KEY.jpg in its shard, or say classes: none");
    return SM_EINVAL;
  }
  return SM_OK;
}

/* An index that is there and cannot be taken is an error: to make the list in its place could take an
 * hour, on each of many machines, and nobody would know why. */
static sm_listing *listed_list(listed *set, sm_error *err) {
  const bool shards = set->shards;
  struct stat st;
  sm_listing *list = NULL;
  sm_arena *arena = sm_arena_new("listing");
  const char *file = arena ? sm_listing_file(arena, set->path) : NULL;
  const bool indexed = set->indexed = file && lstat(file, &st) == 0;
  if (!file) sm_fail(err, SM_ENOMEM, "out of memory while listing %s", set->path);
  else if (indexed) list = sm_listing_open(set->path, file, err);
  else list = shards ? sm_listing_tar(set->path, err) : sm_listing_folder(set->path, err);
  if (indexed && list && (sm_listing_shards(list) > 0) != shards) {
    sm_listing_free(list);
    list = NULL;
    sm_fail(err, SM_EINVAL, "this is the index of %s", shards ? "a folder of pictures" : "tar shards");
    sm_fail_at(err, file, 0, 0);
    sm_hint(err, shards ? "use the dataset `folder`, or remove it" : "use the dataset `tar`, or remove it");
  }
  sm_arena_free(arena);
  return list;
}

static sm_listing_by listed_by(const listed *set) {
  if (set->classes_mode == CLASSES_NONE) return SM_LISTING_BY_NOTHING;
  if (set->classes_mode == CLASSES_CLS) return SM_LISTING_BY_NUMBER;
  const bool numbered = set->classes_mode == CLASSES_AUTO && sm_listing_numbered(set->list);
  return numbered ? SM_LISTING_BY_NUMBER : SM_LISTING_BY_FOLDER;
}

static sm_status listed_arrange(listed *set, sm_error *err) {
  sm_status status = sm_listing_arrange(set->list, listed_by(set), set->limit, err);
  if (!status) status = listed_check_list(set, err);
  if (!status) sm_listing_tell(set->list);
  return status;
}

static sm_status listed_open(listed *set, bool shards, sm_error *err) {
  sm_error why = {0};
  set->shards = shards;
  if (!set->list && !(set->list = listed_list(set, &why))) {
    if (err) *err = why;
    return why.code;
  }
  return listed_arrange(set, err);
}

/* An index is there for the others, too. */
static sm_status listed_give(const void *self, sm_text *found, sm_error *err) {
  const listed *set = self;
  return set->indexed ? SM_OK : sm_listing_write(set->list, found, err);
}

/* The list of another process, if the folders are here what they are there, by one look at each. */
static void listed_take(listed *set, bool shards, const void *found, size_t bytes) {
  sm_arena *arena = sm_arena_new("listing");
  const char *file = arena ? sm_listing_file(arena, set->path) : NULL;
  struct stat st;
  if (file && lstat(file, &st) != 0) set->list = sm_listing_read(set->path, found, bytes, NULL);
  if (set->list && (sm_listing_shards(set->list) > 0) != shards) sm_listing_free(set->list), set->list = NULL;
  sm_arena_free(arena);
}

static int64_t listed_count(const void *self) { return sm_listing_count(((const listed *)self)->list); }
static int listed_classes_of(const void *self) { return sm_listing_classes(((const listed *)self)->list); }
static uint64_t listed_hash(const void *self) { return sm_listing_hash(((const listed *)self)->list); }

static int listed_label(const void *self, int64_t index) {
  return sm_listing_label(((const listed *)self)->list, index);
}

static const char *listed_name(const void *self, int64_t index) {
  return sm_listing_name(((const listed *)self)->list, index);
}

static const char *listed_class_name(const void *self, int c) {
  return sm_listing_class_name(((const listed *)self)->list, c);
}

static sm_image_limits listed_limits(const listed *set, const sm_image_limits *limits) {
  sm_image_limits all = limits ? *limits : (sm_image_limits){0};
  if (set->grey16.n == 2) all.grey16_from = (int)set->grey16.v[0], all.grey16_to = (int)set->grey16.v[1];
  return all;
}

#endif
