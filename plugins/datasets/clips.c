/* clips.c — dataset `clips`: videos as folders of frames, PATH/CLIP/FRAME.jpg, and where there are masks
 * MASKS/CLIP/FRAME.png, whose values are numbers of objects: DAVIS as it comes, or any folder of folders.
 *
 * Everything is listed once, in open: clips by name or as the list has them, frames by their numbers. The
 * arena owns the names. Masks are the label pictures of smalti/dataset.h: 0 is background, 255 unknown. */
#include <smalti/plugin.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { UNKNOWN = 255, MOST_OBJECTS = 254 };

typedef struct picture {
  const char *name, *mask; /* files; mask NULL: there are none */
  int64_t clip;
} picture;

typedef struct clips {
  const char *path, *masks, *resolution, *list;
  int64_t objects;
  bool foreground;

  sm_arena *arena;
  const char *frames_at, *masks_at; /* folders; the latter may be NULL */
  const char **name;                /* (n) of the clips */
  int64_t n;
  picture *frames;
  int64_t count, room;
  const char **values; /* (1 + objects) names of the masks' values */
  uint64_t hash;
} clips;

static sm_status clips_no_memory(const clips *set, sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "out of memory while listing %s", set->path);
}

static bool clips_is_folder(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- where things are ---------------------------------------------------------------------------------- */

/* DAVIS's own tree has JPEGImages/480p and Annotations/480p. */
static sm_status clips_find(clips *set, sm_error *err) {
  const char *jpeg = sm_path_join(set->arena, set->path, "JPEGImages"),
             *annotations = sm_path_join(set->arena, set->path, "Annotations");
  if (!jpeg || !annotations) return clips_no_memory(set, err);
  set->frames_at = set->path, set->masks_at = set->masks;
  if (!clips_is_folder(jpeg)) return SM_OK;
  set->frames_at = sm_path_join(set->arena, jpeg, set->resolution);
  if (!set->masks && clips_is_folder(annotations))
    set->masks_at = annotations = sm_path_join(set->arena, annotations, set->resolution);
  if (!set->frames_at || !annotations) return clips_no_memory(set, err);
  if (clips_is_folder(set->frames_at)) return SM_OK;
  sm_fail(err, SM_ENOTFOUND, "there is no folder %s", set->frames_at);
  sm_hint(err, "'resolution' names the folder in JPEGImages; '.' where clips lie in it themselves");
  return SM_ENOTFOUND;
}

static sm_status clips_read_list(clips *set, sm_error *err) {
  int *line;
  sm_status status = sm_file_names(set->arena, set->list, &set->name, &line, &set->n, err);
  for (int64_t i = 0; !status && i < set->n; i++) {
    const char *folder = sm_arena_printf(set->arena, "%s/%s", set->frames_at, set->name[i]);
    if (!folder) return clips_no_memory(set, err);
    if (clips_is_folder(folder)) continue;
    status = sm_fail(err, SM_EFORMAT, "'%.200s' is no folder of %s", set->name[i], set->frames_at);
    sm_hint(err, "a line is the name of a clip, as in DAVIS's ImageSets/2017/val.txt");
    sm_fail_at(err, set->list, line[i], 0);
  }
  return status;
}

/* ---- frames and masks ---------------------------------------------------------------------------------- */

static bool clips_ends(const char *name, const char *const *endings) {
  const char *dot = strrchr(name, '.');
  for (; dot && *endings; endings++)
    if (!strcasecmp(dot, *endings)) return true;
  return false;
}

static bool clips_is_picture(const char *name) {
  static const char *const endings[] = {".webp", ".jpg", ".jpeg", ".png", NULL};
  return clips_ends(name, endings + !sm_image_reads_webp());
}

static bool clips_is_mask(const char *name) {
  static const char *const png[] = {".png", NULL};
  return clips_ends(name, png);
}

typedef struct file {
  const char *name, *stem;
} file;
typedef struct files {
  file *v;
  int64_t n;
} files;

static int clips_by_stem(const void *a, const void *b) {
  return sm_names_compare(((const file *)a)->stem, ((const file *)b)->stem);
}

/* The pictures, or the masks, of a clip in the order of their stems; two of one stem are refused. */
static sm_status clips_files(clips *set, const char *folder, bool (*wanted)(const char *), files *to,
                             sm_error *err) {
  const char **names;
  int64_t n;
  *to = (files){0};
  sm_status status = sm_folder_names(set->arena, folder, false, &names, &n, err);
  if (status) return status;
  if (!(to->v = sm_arena_alloc(set->arena, ((size_t)n + 1) * sizeof *to->v)))
    return clips_no_memory(set, err);
  for (int64_t i = 0; i < n; i++) {
    if (!wanted(names[i])) continue;
    const char *stem = sm_arena_strndup(set->arena, names[i], (size_t)(strrchr(names[i], '.') - names[i]));
    if (!stem) return clips_no_memory(set, err);
    to->v[to->n++] = (file){names[i], stem};
  }
  qsort(to->v, (size_t)to->n, sizeof *to->v, clips_by_stem);
  for (int64_t i = 1; i < to->n; i++)
    if (!strcmp(to->v[i - 1].stem, to->v[i].stem))
      return sm_fail(err, SM_EINVAL, "%s and %s are one frame twice, in %s", to->v[i - 1].name, to->v[i].name,
                     folder);
  return SM_OK;
}

static sm_status clips_add(clips *set, int64_t clip, const char *name, const char *mask, sm_error *err) {
  if (set->count == set->room) {
    const int64_t room = set->room ? 2 * set->room : 256;
    picture *more = sm_realloc(set->frames, (size_t)room * sizeof *more);
    if (!more) return clips_no_memory(set, err);
    set->frames = more;
    set->room = room;
  }
  set->frames[set->count++] = (picture){.name = name, .mask = mask, .clip = clip};
  const char *const of[] = {name, mask};
  for (int i = 0; i < 2 && of[i]; i++) {
    struct stat st;
    const int64_t bytes = stat(of[i], &st) == 0 ? (int64_t)st.st_size : -1;
    set->hash = sm_hash64(sm_path_base(of[i]), strlen(sm_path_base(of[i])) + 1, set->hash);
    set->hash = sm_hash64(&bytes, sizeof bytes, set->hash);
  }
  return SM_OK;
}

/* Where the two lists first differ. frame or mask may be NULL: its list has ended. */
static sm_status clips_unmatched(const char *folder, const file *frame, const char *masked, const file *mask,
                                 sm_error *err) {
  if (frame && (!mask || clips_by_stem(frame, mask) < 0)) {
    sm_fail(err, SM_ENOTFOUND, "%s/%s has no mask: there is no %s/%s.png", folder, frame->name, masked,
            frame->stem);
    sm_hint(
        err,
        "each frame has a mask, a PNG of its name; for frames alone let 'path' be the folder of the clips");
  } else {
    sm_fail(err, SM_ENOTFOUND, "%s/%s is the mask of no frame in %s", masked, mask->name, folder);
    sm_hint(err, "a mask has the name of its frame: is a frame missing?");
  }
  return SM_ENOTFOUND;
}

static sm_status clips_take(clips *set, int64_t clip, sm_error *err) {
  const char *name = set->name[clip], *folder = sm_path_join(set->arena, set->frames_at, name),
             *masked = set->masks_at ? sm_path_join(set->arena, set->masks_at, name) : NULL;
  files frames, masks = {0};
  if (!folder || (set->masks_at && !masked)) return clips_no_memory(set, err);
  sm_status status = clips_files(set, folder, clips_is_picture, &frames, err);
  if (!status && !frames.n) {
    status = sm_fail(err, SM_ENOTFOUND, "the clip %s holds no frame", folder);
    sm_hint(err, "frames are files named .jpg, .jpeg, .png or .webp, and each folder of %s is a clip",
            set->frames_at);
  }
  if (!status && masked) status = clips_files(set, masked, clips_is_mask, &masks, err);
  set->hash = sm_hash64(name, strlen(name) + 1, set->hash);
  for (int64_t i = 0; !status && (i < frames.n || i < masks.n); i++) {
    const file *frame = i < frames.n ? &frames.v[i] : NULL, *mask = i < masks.n ? &masks.v[i] : NULL;
    if (masked && (!frame || !mask || strcmp(frame->stem, mask->stem) != 0))
      return clips_unmatched(folder, frame, masked, mask, err);
    const char *frame_file = sm_path_join(set->arena, folder, frame->name),
               *mask_file = mask ? sm_path_join(set->arena, masked, mask->name) : NULL;
    if (!frame_file || (mask && !mask_file)) return clips_no_memory(set, err);
    status = clips_add(set, clip, frame_file, mask_file, err);
  }
  return status;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static sm_status clips_name_values(clips *set, sm_error *err) {
  const int64_t n = 1 + (set->foreground ? 1 : set->objects);
  bool memory = (set->values = sm_arena_alloc(set->arena, (size_t)n * sizeof *set->values)) != NULL;
  for (int64_t i = 0; memory && i < n; i++)
    memory = (set->values[i] = i ? sm_arena_printf(set->arena, "object %lld", (long long)i) : "background") !=
             NULL;
  return memory ? SM_OK : clips_no_memory(set, err);
}

static sm_status clips_list_all(clips *set, sm_error *err) {
  sm_status status = sm_folder_names(set->arena, set->frames_at, true, &set->name, &set->n, err);
  if (!status && !set->n) {
    status = sm_fail(err, SM_ENOTFOUND, "there is no folder in %s", set->frames_at);
    sm_hint(err, "each clip is a folder with its frames");
  }
  return status;
}

static sm_status clips_open(void *self, sm_error *err) {
  clips *set = self;
  sm_error why = {0};
  if (!(set->arena = sm_arena_new("clips"))) return clips_no_memory(set, err);
  const int64_t said[] = {set->objects, set->foreground};
  set->hash = sm_hash64(said, sizeof said, 0);
  sm_status status = clips_find(set, &why);
  if (!status) status = set->list ? clips_read_list(set, &why) : clips_list_all(set, &why);
  for (int64_t clip = 0; !status && clip < set->n; clip++) status = clips_take(set, clip, &why);
  if (!status) status = clips_name_values(set, &why);
  if (status && err) *err = why;
  return status;
}

static void clips_destroy(void *self) {
  clips *set = self;
  sm_arena_free(set->arena);
  sm_free(set->frames);
}

/* ---- the pictures -------------------------------------------------------------------------------------- */

static int64_t clips_count(const void *self) { return ((const clips *)self)->count; }
static int clips_label(const void *self, int64_t index) {
  (void)self, (void)index;
  return -1;
}
static const char *clips_name(const void *self, int64_t index) {
  return ((const clips *)self)->frames[index].name;
}
static int clips_classes(const void *self) {
  (void)self;
  return 0;
}
static const char *clips_no_class(const void *self, int c) {
  (void)self, (void)c;
  return NULL;
}
static uint64_t clips_hash(const void *self) { return ((const clips *)self)->hash; }
static sm_status clips_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                            sm_error *err) {
  return sm_image_read(clips_name(self, index), limits, NULL, out, err);
}

/* ---- masks --------------------------------------------------------------------------------------------- */

static int clips_values(const void *self) {
  const clips *set = self;
  return 1 + (int)(set->foreground ? 1 : set->objects);
}
static const char *clips_value_name(const void *self, int c) { return ((const clips *)self)->values[c]; }
static int clips_unknown(const void *self) { return ((const clips *)self)->foreground ? -1 : UNKNOWN; }
static const char *clips_mask(const void *self, int64_t index) {
  return ((const clips *)self)->frames[index].mask;
}
static sm_status clips_mask_read(const void *self, int64_t index, const sm_image_limits *limits,
                                 sm_label_map *out, sm_error *err) {
  sm_status status = sm_label_map_read(clips_mask(self, index), limits, out, err);
  if (status || !((const clips *)self)->foreground) return status;
  const size_t pixels = (size_t)out->width * (size_t)out->height;
  for (size_t i = 0; i < pixels; i++) out->value[i] = out->value[i] != 0;
  return SM_OK;
}

static int64_t clips_clips(const void *self) { return ((const clips *)self)->n; }
static int64_t clips_clip_of(const void *self, int64_t index) {
  return ((const clips *)self)->frames[index].clip;
}
static const char *clips_clip_name(const void *self, int64_t clip) {
  return ((const clips *)self)->name[clip];
}

/* ---- the plugin ---------------------------------------------------------------------------------------- */

static const sm_option options[] = {
    SM_PATH(clips, path, "path", NULL,
            "folder with a folder of frames for each clip, or DAVIS's, with JPEGImages and Annotations"),
    SM_PATH(
        clips, masks, "masks", "~",
        "folder with a folder of masks for each clip, PNG of grey or with a palette, named as the frames; left "
        "out: Annotations of DAVIS, elsewhere none"),
    SM_PATH(clips, list, "list", "~", "text file with the name of a clip a line; left out: all of them"),
    SM_STRING(clips, resolution, "resolution", "480p", "which folder of DAVIS's JPEGImages and Annotations"),
    SM_INT(
        clips, objects, "objects", "254", 1, MOST_OBJECTS, NULL,
        "largest number of an object in a mask; what lies above is refused, but for 255, which is unknown"),
    SM_BOOL(clips, foreground, "foreground", "false",
            "masks tell only object and background, say by 255 and 0: all values but 0 become object 1"),
};

static const sm_map_ops maps = {.classes = clips_values,
                                .class_name = clips_value_name,
                                .ignore = clips_unknown,
                                .name = clips_mask,
                                .read = clips_mask_read};
static const sm_clip_ops clip_ops = {.count = clips_clips, .of = clips_clip_of, .name = clips_clip_name};

static const sm_dataset_ops ops = {
    .open = clips_open,
    .count = clips_count,
    .label = clips_label,
    .name = clips_name,
    .classes = clips_classes,
    .class_name = clips_no_class,
    .read = clips_read,
    .hash = clips_hash,
    .maps = &maps,
    .clips = &clip_ops,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "clips",
    .summary = "videos as folders of frames, with a mask of objects for each frame: DAVIS, or your own",
    .version = "1.0",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(clips),
    .destroy = clips_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)
