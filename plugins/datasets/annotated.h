/* annotated.h — for the datasets `voc` and `coco`: a list of pictures with their objects, and what both answer from it.
 *
 * An instance of either begins with an `annotated`, which its `open` fills: pictures one by one, each with its objects
 * behind it, then annotated_finish. Everything but the pixels is read when the data set is opened. */
#ifndef SMALTI_PLUGIN_ANNOTATED_H
#define SMALTI_PLUGIN_ANNOTATED_H

#include <smalti/plugin.h>

enum { ANNOTATED_REFUSE, ANNOTATED_SKIP };
extern const char *const annotated_missings[]; /* "refuse", "skip" */
enum { ANNOTATED_CATEGORIES = 65536 };

typedef struct annotated_picture {
  int64_t id; /* what the annotations call it; else its place, from 1 on */
  const char *name;
  int height, width; /* as annotated; 0: not said */
  int64_t first, n;  /* its objects */
} annotated_picture;

typedef struct annotated {
  sm_arena *arena;
  annotated_picture *pictures;
  sm_object *objects;
  int64_t count, room, n_objects, objects_room;
  int64_t gone; /* pictures that are not there */
  const char *first_gone;
  const char **category; /* allocated with sm_malloc */
  int64_t *category_id;  /* the same; NULL: numbered from 1 on */
  int categories;
  uint64_t hash; /* of what was added; begin with 0 */
} annotated;

/* A picture below `root` (or at an absolute path), height and width as annotated, or 0. *there false: the file is
 * missing and was counted; its objects are left out. */
sm_status annotated_add(annotated *, const char *root, const char *relative, int height, int width, bool *there,
                        sm_error *);
/* An object of the last picture. Its runs outlive the data set. */
sm_status annotated_object(annotated *, const sm_object *, sm_error *);
/* All were added: missing ones are refused or told (`missing`), and there must be a picture. `source`: what named them,
 * `root`: where they were looked for. */
sm_status annotated_finish(annotated *, int missing, const char *source, const char *root, sm_error *);
sm_status annotated_no_memory(const char *source, sm_error *);

void annotated_destroy(void *self);
int64_t annotated_count(const void *self);
int annotated_label(const void *self, int64_t index);
const char *annotated_name(const void *self, int64_t index);
int annotated_classes(const void *self);
const char *annotated_class_name(const void *self, int c);
uint64_t annotated_hash(const void *self);
/* Refuses a picture of another size than its annotations are for. */
sm_status annotated_read(const void *self, int64_t index, const sm_image_limits *, sm_image *, sm_error *);
extern const sm_object_ops annotated_objects;

#define ANNOTATED_OPS(open_callback)                                                                       \
  {.open = (open_callback),       .count = annotated_count,           .label = annotated_label,            \
   .name = annotated_name,        .classes = annotated_classes,       .class_name = annotated_class_name,  \
   .read = annotated_read,        .hash = annotated_hash,             .objects = &annotated_objects}

#endif
