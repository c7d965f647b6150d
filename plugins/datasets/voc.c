/* voc.c — dataset `voc`: pictures with an XML file of boxes each, in Pascal VOC's folders.
 *
 * Pictures are those of a list (ImageSets/Main/NAME.txt), or all that have an annotation. Boxes count pixels from 1, both
 * ends included: xmin 1, xmax 10 are the first ten columns. Of a file's elements those are read that the objects need:
 * the picture's size, and of each object name, difficult, truncated and bndbox, in any order; boxes of an object's parts
 * are none. Everything is read when the data set is opened. */
#include "annotated.h"
#include "xml.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const size_t voc_most_bytes = (size_t)1 << 24; /* of an annotation, and of a list */

typedef struct voc {
  annotated set; /* first: annotated.h */
  const char *path, *list, *pictures, *annotations, *lists, *category_names;
  int64_t limit;
  int missing;

  char *text; /* of category_names */
  const char **named; /* of each object: its category's name, until all are known */
  int64_t named_room;
} voc;

/* ---- one annotation ------------------------------------------------------------------------------------ */

enum { LEFT, TOP, RIGHT, LOW, SIDES };
static const char *const voc_sides[] = {"xmin", "ymin", "xmax", "ymax"};

typedef struct voc_object {
  const char *name;
  double side[SIDES];
  bool has[SIDES], difficult, truncated;
  int line;
} voc_object;

typedef struct voc_file {
  xml xml;
  const char *path;
  char *data;
  double height, width; /* 0: not said */
  voc_object *objects;
  int64_t n, room;
} voc_file;

static sm_status voc_number(const xml *x, const char *what, double *value, sm_error *err) {
  if (sm_parse_double(x->text, value) && fabs(*value) < 1e9) return SM_OK;
  return xml_fail(x, err, "%s is '%.40s', which is no number of pixels", what, x->text);
}

static sm_status voc_flag(const xml *x, const char *what, bool *value, sm_error *err) {
  *value = !strcmp(x->text, "1");
  if (*value || !strcmp(x->text, "0")) return SM_OK;
  return xml_fail(x, err, "%s is '%.40s', neither 0 nor 1", what, x->text);
}

static sm_status voc_side(const xml *x, const char *name, voc_object *o, sm_error *err) {
  for (int i = 0; i < SIDES; i++) {
    if (strcmp(name, voc_sides[i]) != 0) continue;
    if (o->has[i]) return xml_fail(x, err, "an object has two '%s'", name);
    o->has[i] = true;
    return voc_number(x, name, &o->side[i], err);
  }
  return SM_OK;
}

static sm_status voc_object_begins(voc_file *f, sm_error *err) {
  if (f->n == f->room) {
    const int64_t room = f->room ? 2 * f->room : 16;
    voc_object *more = sm_realloc(f->objects, (size_t)room * sizeof *more);
    if (!more) return annotated_no_memory(f->path, err);
    f->objects = more;
    f->room = room;
  }
  f->objects[f->n++] = (voc_object){.line = f->xml.line};
  return SM_OK;
}

static sm_status voc_object_ends(const voc_file *f, sm_error *err) {
  const voc_object *o = &f->objects[f->n - 1];
  const long long number = (long long)f->n;
  const char *name = o->name ? o->name : "";
  sm_status status = SM_OK;
  if (!*name) status = xml_fail(&f->xml, err, "object %lld has no name", number);
  for (int i = 0; !status && i < SIDES; i++)
    if (!o->has[i]) status = xml_fail(&f->xml, err, "object %lld (%.60s) has no '%s'", number, name, voc_sides[i]);
  if (!status && (o->side[RIGHT] < o->side[LEFT] || o->side[LOW] < o->side[TOP]))
    status = xml_fail(&f->xml, err, "object %lld (%.60s) has a box from (%g, %g) to (%g, %g)", number, name,
                      o->side[LEFT], o->side[TOP], o->side[RIGHT], o->side[LOW]);
  if (status) sm_fail_at(err, f->path, o->line, 0);
  return status;
}

/* What an element at `path` says. */
static sm_status voc_element(voc_file *f, const char *path, sm_error *err) {
  static const char object[] = "annotation/object", box[] = "annotation/object/bndbox/";
  xml *x = &f->xml;
  voc_object *o = f->n ? &f->objects[f->n - 1] : NULL;
  if (!strcmp(path, "annotation/size/width")) return voc_number(x, "width", &f->width, err);
  if (!strcmp(path, "annotation/size/height")) return voc_number(x, "height", &f->height, err);
  if (strncmp(path, object, sizeof object - 1) != 0 || !o) return SM_OK;
  const char *below = path + sizeof object - 1;
  if (!*below) return voc_object_ends(f, err);
  if (!strcmp(below, "/name")) o->name = x->text;
  if (!strcmp(below, "/difficult")) return voc_flag(x, "difficult", &o->difficult, err);
  if (!strcmp(below, "/truncated")) return voc_flag(x, "truncated", &o->truncated, err);
  if (!strncmp(path, box, sizeof box - 1)) return voc_side(x, path + sizeof box - 1, o, err);
  return SM_OK;
}

static sm_status voc_size(const voc_file *f, sm_error *err) {
  if (f->width >= 0 && f->height >= 0 && f->width <= SM_IMAGE_MAX_SIDE && f->height <= SM_IMAGE_MAX_SIDE &&
      f->width == floor(f->width) && f->height == floor(f->height) && !f->width == !f->height)
    return SM_OK;
  sm_fail(err, SM_EFORMAT, "the picture's size is %g x %g", f->width, f->height);
  sm_hint(err, "write the size in pixels, or leave it out");
  sm_fail_at(err, f->path, 0, 0);
  return SM_EFORMAT;
}

/* Objects' names lie in f->data. voc_file_free in every case. */
static sm_status voc_file_read(const char *path, voc_file *f, sm_error *err) {
  size_t bytes;
  xml_event event = XML_OPEN;
  *f = (voc_file){.path = path};
  sm_status status = sm_file_get(path, voc_most_bytes, &f->data, &bytes, err);
  if (status) return status;
  if (strlen(f->data) != bytes) {
    sm_fail(err, SM_EFORMAT, "it is not a text file: it holds a zero byte");
    sm_hint(err, "save it as UTF-8");
    sm_fail_at(err, path, 0, 0);
    return SM_EFORMAT;
  }
  f->xml = (xml){.file = path, .at = f->data + (strncmp(f->data, "\xef\xbb\xbf", 3) ? 0 : 3), .line = 1};
  while (!status && !(status = xml_next(&f->xml, &event, err)) && event != XML_END) {
    const char *at = f->xml.path;
    if (event == XML_CLOSE) status = voc_element(f, at, err);
    else if (!strcmp(at, "annotation/object")) status = voc_object_begins(f, err);
    else if (f->xml.depth == 1 && strcmp(at, "annotation") != 0)
      status = xml_fail(&f->xml, err, "<%s> is no annotation of VOC, which begins with <annotation>", at);
  }
  return status ? status : voc_size(f, err);
}

static void voc_file_free(voc_file *f) {
  sm_free(f->data);
  sm_free(f->objects);
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* Names are kept beside the objects until all categories are known. */
static sm_status voc_keep(voc *set, const voc_object *from, sm_error *err) {
  const int64_t at = set->set.n_objects;
  const char *last = at ? set->named[at - 1] : NULL;
  sm_object o = {.x = from->side[LEFT] - 1,
                 .y = from->side[TOP] - 1,
                 .id = at + 1,
                 .difficult = from->difficult,
                 .truncated = from->truncated};
  o.width = from->side[RIGHT] - o.x;
  o.height = from->side[LOW] - o.y;
  o.area = o.width * o.height;
  if (at == set->named_room) {
    const int64_t room = at ? 2 * at : 256;
    const char **more = sm_realloc(set->named, (size_t)room * sizeof *more);
    if (!more) return annotated_no_memory(set->path, err);
    set->named = more;
    set->named_room = room;
  }
  set->named[at] = last && !strcmp(last, from->name) ? last : sm_arena_strdup(set->set.arena, from->name);
  if (!set->named[at]) return annotated_no_memory(set->path, err);
  return annotated_object(&set->set, &o, err);
}

/* The picture's file, relative: by the first ending under which there is one, else by the first. */
static const char *voc_picture(voc *set, const char *root, const char *id) {
  static const char *const endings[] = {".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".webp"};
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    const char *name = sm_arena_printf(set->set.arena, "%s/%s%s", root, id, endings[i]);
    if (!name) return NULL;
    if (access(name, F_OK) == 0) return sm_arena_printf(set->set.arena, "%s%s", id, endings[i]);
  }
  return sm_arena_printf(set->set.arena, "%s%s", id, endings[0]);
}

static sm_status voc_take(voc *set, const char *root, const char *folder, const char *id, sm_error *err) {
  voc_file f = {0};
  bool there;
  const char *path = sm_arena_printf(set->set.arena, "%s/%s.xml", folder, id);
  const char *picture = path ? voc_picture(set, root, id) : NULL;
  if (!picture) return annotated_no_memory(set->path, err);
  sm_status status = voc_file_read(path, &f, err);
  if (!status) status = annotated_add(&set->set, root, picture, (int)f.height, (int)f.width, &there, err);
  for (int64_t i = 0; !status && there && i < f.n; i++) status = voc_keep(set, &f.objects[i], err);
  voc_file_free(&f);
  return status;
}

/* ---- which pictures ------------------------------------------------------------------------------------ */

typedef struct voc_places {
  const char *pictures, *annotations, *list;
} voc_places;

static const char *voc_below(voc *set, const char *name) {
  return *name == '/' ? sm_arena_strdup(set->set.arena, name)
                      : sm_arena_printf(set->set.arena, "%s/%s", set->path, name);
}

static bool voc_full(const voc *set) { return set->limit && set->set.count >= set->limit; }

/* A list of one class has a column more, which says whether the class is there. */
static sm_status voc_list_line(voc *set, const voc_places *at, char *line, int number, sm_error *err) {
  char *id = line + strspn(line, " \t"), *end = id + strcspn(id, " \t\r"), *more = end + strspn(end, " \t\r");
  if (!*id || *id == '\r') return SM_OK;
  *end = 0;
  if (!*more && *id != '/' && !strstr(id, "..")) return voc_take(set, at->pictures, at->annotations, id, err);
  if (*more) {
    sm_fail(err, SM_EFORMAT, "'%.60s' is followed by '%.20s'", id, more);
    sm_hint(err, "take a list of all pictures, such as trainval; those of one class, such as cat_trainval, are none");
  } else {
    sm_fail(err, SM_EFORMAT, "'%.60s' is no name of a picture", id);
    sm_hint(err, "names are without folder and ending, as 2007_000027");
  }
  sm_fail_at(err, at->list, number, 0);
  return SM_EFORMAT;
}

static sm_status voc_read_list(voc *set, const voc_places *at, sm_error *err) {
  char *text;
  size_t bytes;
  int number = 1;
  sm_status status = sm_file_get(at->list, voc_most_bytes, &text, &bytes, err);
  if (status) return status;
  if (strlen(text) != bytes) status = sm_fail(err, SM_EFORMAT, "%s is not a text file", at->list);
  for (char *line = text, *next; !status && *line && !voc_full(set); line = next, number++) {
    next = line + strcspn(line, "\n");
    if (*next) *next++ = 0;
    status = voc_list_line(set, at, line, number, err);
  }
  sm_free(text);
  return status;
}

static int voc_is_annotation(const struct dirent *d) {
  const size_t n = strlen(d->d_name);
  return d->d_name[0] != '.' && n > 4 && !strcmp(d->d_name + n - 4, ".xml");
}
static int voc_by_bytes(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static sm_status voc_read_folder(voc *set, const voc_places *at, sm_error *err) {
  struct dirent **entries = NULL;
  const int n = scandir(at->annotations, &entries, voc_is_annotation, voc_by_bytes);
  sm_status status = SM_OK;
  if (n < 0 && errno == ENOMEM) return annotated_no_memory(at->annotations, err);
  if (n < 0) {
    sm_fail(err, errno == ENOENT || errno == ENOTDIR ? SM_ENOTFOUND : SM_EIO, "cannot read the folder %s: %s",
            at->annotations, strerror(errno));
    return sm_hint(err, "path is the folder that holds JPEGImages and Annotations; others are named by pictures and "
                        "annotations");
  }
  for (int i = 0; i < n; i++) {
    entries[i]->d_name[strlen(entries[i]->d_name) - 4] = 0;
    if (!status && !voc_full(set)) status = voc_take(set, at->pictures, at->annotations, entries[i]->d_name, err);
    free(entries[i]);
  }
  free(entries);
  return status;
}

/* ---- categories ---------------------------------------------------------------------------------------- */

static int voc_by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The different names of the objects, sorted by bytes. */
static sm_status voc_gather(voc *set, sm_error *err) {
  annotated *s = &set->set;
  const int64_t n = s->n_objects;
  int64_t kept = 0;
  const char **names = s->category = sm_malloc((size_t)(n ? n : 1) * sizeof *names);
  if (!names) return annotated_no_memory(set->path, err);
  if (n) memcpy(names, set->named, (size_t)n * sizeof *names);
  if (n) qsort(names, (size_t)n, sizeof *names, voc_by_name);
  for (int64_t i = 0; i < n; i++)
    if (!kept || strcmp(names[i], names[kept - 1]) != 0) names[kept++] = names[i];
  if (!kept) names[kept++] = "object"; /* no picture has any */
  if (kept > ANNOTATED_CATEGORIES)
    return sm_fail(err, SM_EFORMAT, "objects have %lld different names; at most %d are read", (long long)kept,
                   ANNOTATED_CATEGORIES);
  s->categories = (int)kept;
  for (int64_t i = 0; i < n; i++) {
    const char **found = bsearch(&set->named[i], names, (size_t)kept, sizeof *names, voc_by_name);
    s->objects[i].category = (int)(found - names);
  }
  return SM_OK;
}

/* The lines of category_names, in their order. */
static sm_status voc_read_names(voc *set, sm_error *err) {
  annotated *s = &set->set;
  size_t bytes, lines = 2;
  sm_status status = sm_file_get(set->category_names, voc_most_bytes, &set->text, &bytes, err);
  if (status) return status;
  if (strlen(set->text) != bytes) return sm_fail(err, SM_EFORMAT, "%s is not a text file", set->category_names);
  for (const char *c = set->text; *c; c++) lines += *c == '\n';
  if (!(s->category = sm_malloc(lines * sizeof *s->category))) return annotated_no_memory(set->path, err);
  for (char *line = set->text, *next; *line; line = next) {
    next = line + strcspn(line, "\n");
    if (*next) *next++ = 0;
    line[strcspn(line, "\r")] = 0;
    if (*line && s->categories < ANNOTATED_CATEGORIES) s->category[s->categories++] = line;
  }
  if (!s->categories)
    return sm_fail(err, SM_EFORMAT, "%s names no category", set->category_names);
  return SM_OK;
}

static sm_status voc_number_names(voc *set, sm_error *err) {
  annotated *s = &set->set;
  sm_status status = voc_read_names(set, err);
  for (int64_t p = 0; !status && p < s->count; p++)
    for (int64_t i = s->pictures[p].first; !status && i < s->pictures[p].first + s->pictures[p].n; i++) {
      int c = 0;
      while (c < s->categories && strcmp(s->category[c], set->named[i]) != 0) c++;
      s->objects[i].category = c;
      if (c < s->categories) continue;
      status = sm_fail(err, SM_EFORMAT, "picture %.200s has a '%.60s', which %.200s does not name",
                       s->pictures[p].name, set->named[i], set->category_names);
    }
  return status;
}

/* ---- the plugin ---------------------------------------------------------------------------------------- */

static sm_status voc_open(void *self, sm_error *err) {
  voc *set = self;
  sm_error why = {0};
  voc_places at = {0};
  const char *named;
  if (!(set->set.arena = sm_arena_new("voc"))) return annotated_no_memory(set->path, err);
  at.pictures = voc_below(set, set->pictures);
  at.annotations = voc_below(set, set->annotations);
  named = set->list ? sm_arena_printf(set->set.arena, "%s/%s.txt", set->lists, set->list) : NULL;
  at.list = named ? voc_below(set, named) : NULL;
  if (!at.pictures || !at.annotations || (set->list && !at.list)) return annotated_no_memory(set->path, err);
  sm_status status = set->list ? voc_read_list(set, &at, &why) : voc_read_folder(set, &at, &why);
  if (!status) status = set->category_names ? voc_number_names(set, &why) : voc_gather(set, &why);
  if (!status)
    status = annotated_finish(&set->set, set->missing, set->list ? at.list : at.annotations, at.pictures, &why);
  if (status && err) *err = why;
  return status;
}

static void voc_destroy(void *self) {
  voc *set = self;
  annotated_destroy(self);
  sm_free((void *)set->named);
  sm_free(set->text);
}

static const sm_option options[] = {
    SM_PATH(voc, path, "path", NULL, "folder of the data set, such as VOC2007"),
    SM_STRING(voc, list, "list", "~", "which pictures, such as trainval; left out: all that have an annotation"),
    SM_STRING(voc, pictures, "pictures", "JPEGImages", "folder of the pictures, below path"),
    SM_STRING(voc, annotations, "annotations", "Annotations", "folder of the XML files, below path"),
    SM_STRING(voc, lists, "lists", "ImageSets/Main", "folder of the lists, below path"),
    SM_PATH(voc, category_names, "category_names", "~",
            "text file with a category a line, in the order of their numbers; left out: the names that occur, sorted"),
    SM_CHOICE(voc, missing, "missing", "refuse", annotated_missings,
              "pictures that are not there: refuse the data set, or skip them with a warning"),
    SM_INT(voc, limit, "limit", "0", 0, 1e9, "pictures", "take only the first ones; 0 takes all"),
};

static const sm_dataset_ops ops = ANNOTATED_OPS(voc_open);

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "voc",
    .summary = "pictures and boxes in the folders and XML files of Pascal VOC",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Everingham et al., The Pascal Visual Object Classes (VOC) Challenge, IJCV 2010",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(voc),
    .destroy = voc_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)
