/* labelled.c — dataset `labelled`: a folder of pictures and a folder of label pictures, which give a class for each
 * pixel: CamVid, ADE20K, Cityscapes and the like, once they are laid out so.
 *
 * A picture PATH/SUB/NAME.jpg has its labels in LABELS/SUB/NAME.png. The list is that of the dataset
 * `folder`: made once, in open, sorted by bytes at every level, without hidden files. */
#include <smalti/listing.h>
#include <smalti/plugin.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_CLASSES = 65536 };
enum { CLIPS_NONE, CLIPS_PREFIX };
static const char *const clips_choices[] = {"none", "prefix", NULL};

typedef struct picture {
  const char *name, *labels; /* files */
  const char *stem;          /* below the folder, without the ending */
  int64_t clip;
} picture;

typedef struct labelled {
  const char *path, *labels, *class_names, *suffix;
  int64_t classes, ignore, limit;
  bool reduce_zero;
  int clips_mode;

  sm_arena *arena;
  picture *pictures;
  int64_t count, room, clips;
  const char **clip_names; /* (clips) */
  int64_t n_classes;       /* as said, or as class_names has them */
  const char **names;      /* (n_classes) */
  char *text;              /* of class_names */
  uint64_t hash;
} labelled;

static sm_status labelled_no_memory(const labelled *set, sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "out of memory while listing %s", set->path);
}

/* ---- the list ------------------------------------------------------------------------------------------ */

static sm_status labelled_add(labelled *set, const char *relative, int64_t bytes, sm_error *err) {
  if (set->limit && set->count >= set->limit) return SM_OK;
  if (set->count == set->room) {
    const int64_t room = set->room ? 2 * set->room : 256;
    picture *more = sm_realloc(set->pictures, (size_t)room * sizeof *more);
    if (!more) return labelled_no_memory(set, err);
    set->pictures = more;
    set->room = room;
  }
  const int stem = (int)(strrchr(relative, '.') - relative);
  picture *p = &set->pictures[set->count];
  *p = (picture){.name = sm_arena_printf(set->arena, "%s/%s", set->path, relative),
                 .labels = sm_arena_printf(set->arena, "%s/%.*s%s.png", set->labels, stem, relative,
                                           set->suffix ? set->suffix : ""),
                 .stem = sm_arena_printf(set->arena, "%.*s", stem, relative),
                 .clip = -1};
  if (!p->name || !p->labels || !p->stem) return labelled_no_memory(set, err);
  struct stat st;
  if (stat(p->labels, &st) != 0) {
    const bool gone = errno == ENOENT || errno == ENOTDIR;
    sm_fail(err, gone ? SM_ENOTFOUND : SM_EIO, "%s has no label picture: %s: %s", p->name, p->labels,
            strerror(errno));
    return sm_hint(err, "labels have the picture's name and the ending .png; what stands between is 'suffix'");
  }
  const int64_t sizes[] = {bytes, (int64_t)st.st_size};
  set->hash = sm_hash64(relative, strlen(relative) + 1, set->hash);
  set->hash = sm_hash64(sizes, sizeof sizes, set->hash);
  set->count++;
  return SM_OK;
}

static sm_status labelled_list(labelled *set, sm_error *err) {
  sm_listing *list = sm_listing_folder(set->path, err);
  if (!list) return err->code;
  sm_text path = {0};
  size_t root = strlen(set->path);
  while (root > 1 && set->path[root - 1] == '/') root--;
  sm_status status = sm_listing_arrange(list, SM_LISTING_BY_NOTHING, 0, err);
  for (int64_t i = 0; !status && i < sm_listing_count(list); i++) {
    const sm_listing_place place = sm_listing_at(list, i);
    if (place.bytes < 0) continue; /* a link that leads nowhere */
    sm_listing_path(list, i, &path);
    status = path.failed ? labelled_no_memory(set, err) : labelled_add(set, path.s + root + 1, place.bytes, err);
  }
  sm_text_free(&path);
  sm_listing_free(list);
  return status;
}

/* ---- classes ------------------------------------------------------------------------------------------- */

/* A line is a name, or the class's number, a blank or tab, its name, and perhaps a number more that counts for nothing,
 * as CamVid's share of pixels. */
static sm_status labelled_class_line(labelled *set, char *line, int at, sm_error *err) {
  const size_t digits = strspn(line, "0123456789");
  int64_t number = 0;
  double more;
  if (digits && (line[digits] == ' ' || line[digits] == '\t')) {
    line[digits] = 0;
    if (!sm_parse_int(line, &number) || number != set->n_classes) {
      sm_fail(err, SM_EFORMAT, "class '%.40s' stands where class %lld should", line, (long long)set->n_classes);
      sm_hint(err, "classes stand in order from 0, one a line");
      return sm_fail_at(err, set->class_names, at, 0), SM_EFORMAT;
    }
    line += digits + 1;
    size_t last = strlen(line);
    while (last > 0 && line[last - 1] != ' ' && line[last - 1] != '\t') last--;
    if (last > 1 && sm_parse_double(line + last, &more)) line[last - 1] = 0;
  }
  if (set->n_classes == MOST_CLASSES)
    return sm_fail(err, SM_EFORMAT, "%s names more than %d classes", set->class_names, MOST_CLASSES);
  set->names[set->n_classes++] = line;
  return SM_OK;
}

static sm_status labelled_read_classes(labelled *set, sm_error *err) {
  size_t bytes;
  sm_status status = sm_file_get(set->class_names, 1 << 22, &set->text, &bytes, err);
  if (status) return status;
  if (strlen(set->text) != bytes) return sm_fail(err, SM_EFORMAT, "%s is not a text file", set->class_names);
  size_t lines = 2;
  for (const char *c = set->text; *c; c++) lines += *c == '\n';
  if (!(set->names = sm_malloc(lines * sizeof *set->names))) return labelled_no_memory(set, err);
  set->n_classes = 0;
  int at = 0;
  for (char *line = set->text; !status && *line;) {
    char *end = line + strcspn(line, "\n"), *next = *end ? end + 1 : end;
    at++;
    *end = 0;
    if (end > line && end[-1] == '\r') end[-1] = 0;
    if (*line && *line != '#') status = labelled_class_line(set, line, at, err);
    line = next;
  }
  if (!status && !set->n_classes) status = sm_fail(err, SM_EFORMAT, "%s names no class", set->class_names);
  return status;
}

static sm_status labelled_number_classes(labelled *set, sm_error *err) {
  set->n_classes = set->classes;
  if (!(set->names = sm_malloc((size_t)set->n_classes * sizeof *set->names))) return labelled_no_memory(set, err);
  for (int64_t c = 0; c < set->n_classes; c++)
    if (!(set->names[c] = sm_arena_printf(set->arena, "%lld", (long long)c))) return labelled_no_memory(set, err);
  return SM_OK;
}

/* ---- clips --------------------------------------------------------------------------------------------- */

/* Of neighbours whose names agree up to the last '_'. */
static sm_status labelled_find_clips(labelled *set, sm_error *err) {
  set->clip_names = sm_malloc(((size_t)set->count + 1) * sizeof *set->clip_names);
  if (!set->clip_names) return labelled_no_memory(set, err);
  for (int64_t i = 0; i < set->count; i++) {
    const char *stem = set->pictures[i].stem, *mark = strrchr(stem, '_');
    const int n = (int)(mark ? (size_t)(mark - stem) : strlen(stem));
    const char *last = set->clips ? set->clip_names[set->clips - 1] : NULL;
    if (!last || strlen(last) != (size_t)n || strncmp(last, stem, (size_t)n) != 0) {
      const char *name = sm_arena_printf(set->arena, "%.*s", n, stem);
      if (!name) return labelled_no_memory(set, err);
      set->clip_names[set->clips++] = name;
    }
    set->pictures[i].clip = set->clips - 1;
  }
  return SM_OK;
}

/* ---- the plugin ---------------------------------------------------------------------------------------- */

static sm_status labelled_create(void *self, sm_error *err) {
  const labelled *set = self;
  if (!set->class_names && !set->classes) {
    sm_fail(err, SM_EINVAL, "the classes of the label pictures are not known");
    return sm_hint(err, "say how many there are, classes: 11, or name a file with a class a line, class_names");
  }
  if (set->class_names && set->classes)
    return sm_fail(err, SM_EINVAL, "both classes and class_names are given: class_names says how many there are");
  if (set->reduce_zero && set->ignore < 0) {
    sm_fail(err, SM_EINVAL, "reduce_zero turns 0 into the ignored value, but there is none");
    return sm_hint(err, "say ignore: 255");
  }
  return SM_OK;
}

static sm_status labelled_open(void *self, sm_error *err) {
  labelled *set = self;
  sm_error why = {0};
  if (!(set->arena = sm_arena_new("labelled"))) return labelled_no_memory(set, err);
  set->hash = sm_hash64(&set->reduce_zero, sizeof set->reduce_zero, (uint64_t)set->ignore);
  sm_status status = set->class_names ? labelled_read_classes(set, &why) : labelled_number_classes(set, &why);
  if (!status) status = labelled_list(set, &why);
  if (!status && !set->count) {
    status = sm_fail(&why, SM_ENOTFOUND, "no picture in %s", set->path);
    sm_hint(&why, "files named %s count", sm_listing_endings());
  }
  if (!status && set->clips_mode == CLIPS_PREFIX) status = labelled_find_clips(set, &why);
  for (int64_t c = 0; !status && c < set->n_classes; c++)
    set->hash = sm_hash64(set->names[c], strlen(set->names[c]) + 1, set->hash);
  if (status && err) *err = why;
  return status;
}

static void labelled_destroy(void *self) {
  labelled *set = self;
  sm_arena_free(set->arena);
  sm_free(set->pictures);
  sm_free((void *)set->clip_names);
  sm_free((void *)set->names);
  sm_free(set->text);
}

static int64_t labelled_count(const void *self) { return ((const labelled *)self)->count; }
static int labelled_label(const void *self, int64_t index) {
  (void)self, (void)index;
  return -1;
}
static const char *labelled_name(const void *self, int64_t index) {
  return ((const labelled *)self)->pictures[index].name;
}
static int labelled_classes(const void *self) {
  (void)self;
  return 0;
}
static const char *labelled_no_class(const void *self, int c) {
  (void)self, (void)c;
  return NULL;
}
static uint64_t labelled_hash(const void *self) { return ((const labelled *)self)->hash; }
static sm_status labelled_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                               sm_error *err) {
  return sm_image_read(labelled_name(self, index), limits, NULL, out, err);
}

static int labelled_map_classes(const void *self) { return (int)((const labelled *)self)->n_classes; }
static const char *labelled_map_class_name(const void *self, int c) { return ((const labelled *)self)->names[c]; }
static int labelled_map_ignore(const void *self) { return (int)((const labelled *)self)->ignore; }
static const char *labelled_map_name(const void *self, int64_t index) {
  return ((const labelled *)self)->pictures[index].labels;
}
static sm_status labelled_map_read(const void *self, int64_t index, const sm_image_limits *limits,
                                   sm_label_map *out, sm_error *err) {
  const labelled *set = self;
  sm_status status = sm_label_map_read(labelled_map_name(self, index), limits, out, err);
  if (status || !set->reduce_zero) return status;
  const size_t pixels = (size_t)out->width * (size_t)out->height;
  for (size_t i = 0; i < pixels; i++)
    if (out->value[i] == 0) out->value[i] = (uint16_t)set->ignore;
    else if (out->value[i] != set->ignore) out->value[i]--;
  return SM_OK;
}

static int64_t labelled_clips(const void *self) { return ((const labelled *)self)->clips; }
static int64_t labelled_clip_of(const void *self, int64_t index) {
  return ((const labelled *)self)->pictures[index].clip;
}
static const char *labelled_clip_name(const void *self, int64_t clip) {
  return ((const labelled *)self)->clip_names[clip];
}

static const sm_option options[] = {
    SM_PATH(labelled, path, "path", NULL, "folder with the pictures, at any depth"),
    SM_PATH(labelled, labels, "labels", NULL,
            "folder with the label pictures, PNG of grey or with a palette, by the same names"),
    SM_STRING(labelled, suffix, "suffix", "~", "what label pictures have between name and .png"),
    SM_INT(labelled, classes, "classes", "0", 0, MOST_CLASSES, NULL, "how many classes; left out: see class_names"),
    SM_PATH(labelled, class_names, "class_names", "~",
            "text file with a class a line: its name, or number, tab and name"),
    SM_INT(labelled, ignore, "ignore", "255", -1, 65535, NULL, "value of pixels without a class; -1: there is none"),
    SM_BOOL(labelled, reduce_zero, "reduce_zero", "false",
            "0 is no class and 1 the first one, as ADE20K counts: 0 becomes the ignored value, others less by one"),
    SM_CHOICE(labelled, clips_mode, "clips", "none", clips_choices,
              "prefix: neighbours whose names agree up to the last '_' are one clip, as CamVid's drives"),
    SM_INT(labelled, limit, "limit", "0", 0, 1e9, "pictures", "take only the first ones; 0 takes all"),
};

static const sm_map_ops maps = {.classes = labelled_map_classes,
                                .class_name = labelled_map_class_name,
                                .ignore = labelled_map_ignore,
                                .name = labelled_map_name,
                                .read = labelled_map_read};
static const sm_clip_ops clips = {
    .count = labelled_clips, .of = labelled_clip_of, .name = labelled_clip_name};

static const sm_dataset_ops ops = {
    .open = labelled_open,
    .count = labelled_count,
    .label = labelled_label,
    .name = labelled_name,
    .classes = labelled_classes,
    .class_name = labelled_no_class,
    .read = labelled_read,
    .hash = labelled_hash,
    .maps = &maps,
    .clips = &clips,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "labelled",
    .create = labelled_create,
    .summary = "a folder of pictures and a folder of label pictures: a class for each pixel",
    .version = "1.0",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(labelled),
    .destroy = labelled_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)
