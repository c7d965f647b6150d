/* listing.h — a listing's inside, shared by the files that make, arrange and store one. The entries are
 * kept as they lie in an index file (smalti/listing.h), whether they were found or mapped; everything else
 * is a few bytes a folder. Private to the tree. */
#ifndef SMALTI_DATA_LISTING_H
#define SMALTI_DATA_LISTING_H

#include <smalti/listing.h>

#include <pthread.h>

enum {
  SM_LISTING_BLOCK = 16,    /* entries of a folder behind one whole name */
  SM_LISTING_NAME = 255,    /* bytes of a name */
  SM_LISTING_UNIT = 512,    /* bytes; what offsets in shards are multiples of */
  SM_LISTING_DEEPEST = 100, /* folders below the root */
  SM_LISTING_THREADS = 16   /* that wait for the file system at once */
};

/* What an entry says of its size; from SM_LISTING_BYTES on: bytes. */
enum { SM_LISTING_SUB, SM_LISTING_DANGLING, SM_LISTING_UNKNOWN, SM_LISTING_BYTES };

/* What an entry says of its label; from SM_LISTING_CLASS on: a class. */
enum { SM_LISTING_NO_LABEL, SM_LISTING_ODD_LABEL, SM_LISTING_CLASS };

typedef struct sm_listing_folder_head { /* as it lies in the file */
  int64_t changed;
  uint32_t entries, zero;
} sm_listing_folder_head;

typedef struct sm_listing_shard { /* as it lies in the file */
  int64_t changed;
  uint64_t bytes, name, zero; /* name: where it begins in the names */
} sm_listing_shard;

typedef struct sm_listing_node {
  uint32_t parent, at; /* its folder, and which entry of that it is */
  uint32_t child, children; /* the first of its sub-folders, which follow one another */
  uint32_t depth;
  size_t block; /* of its first block */
} sm_listing_node;

/* Pictures that follow one another in the order and in their folder. */
typedef struct sm_listing_run {
  int64_t first; /* index of the first picture */
  uint32_t folder, entry;
  int32_t label;
} sm_listing_run;

typedef struct sm_listing_kept {
  int64_t index;
  char *name; /* NULL: a free place */
} sm_listing_kept;

struct sm_listing {
  char *root; /* the path, without slashes at its end */
  /* the image: in `own`, or in the mapping */
  const sm_listing_folder_head *heads;
  const unsigned char *entries;
  size_t entries_bytes;
  uint32_t folders, shards;
  bool single; /* the root is itself the only shard */
  bool numbered; /* pictures have labels of their own */
  const sm_listing_shard *shard_heads;
  const char *shard_names;
  size_t names_bytes;
  sm_listing_folder_head *own_heads;
  sm_listing_shard *own_shards;
  sm_text own_entries, own_names;
  const void *map;
  size_t map_bytes;
  char *map_path; /* NULL: it is no file that is mapped, but memory of its own */

  int64_t pictures, others;
  sm_text tell_others, tell_skipped; /* what sm_listing_tell says; each one ended by a zero byte */
  bool tell_pictures;                /* pictures of another format are among the others */
  sm_text odd_label;                 /* the first label that is no class number, and what it is; from an index: "" */

  /* made from the image */
  sm_listing_node *nodes; /* folders */
  uint64_t *blocks;       /* where they begin in the entries */

  /* the arrangement */
  sm_listing_run *runs;
  int64_t n_runs, runs_room, count;
  char **class_names;
  int n_classes;
  bool by_number; /* a picture's label is its entry's, and not its run's */
  uint64_t hash;

  pthread_mutex_t lock; /* for the names that were asked for */
  sm_listing_kept *kept;
  size_t n_kept, kept_room;
};

/* ---- entries ------------------------------------------------------------------------------------------- */

/* What stands behind a name. */
typedef struct sm_listing_entry {
  uint64_t value, shard, offset; /* the last two of pictures in shards; offset in units of SM_LISTING_UNIT */
  uint64_t label;                /* where the listing is numbered */
} sm_listing_entry;

/* Appends the entry number `at` of a folder of the listing; `before` is the name of the one before it. */
void sm_listing_put(const sm_listing *, sm_text *entries, uint32_t at, const char *before, const char *name,
                    const sm_listing_entry *);

/* Reads entries one after the other, believing nothing. */
typedef struct sm_listing_cursor {
  const unsigned char *at, *end;
  bool sharded, numbered;
  size_t length; /* of the name */
  sm_listing_entry entry;
  char name[SM_LISTING_NAME + 1];
} sm_listing_cursor;
bool sm_listing_next(sm_listing_cursor *, bool whole); /* whole: the name must share nothing */

/* ---- names and times ----------------------------------------------------------------------------------- */

bool sm_listing_is_picture(const char *name); /* by its ending */

/* Files passed over, by their endings. */
enum { SM_LISTING_ENDINGS = 64 };
typedef struct sm_listing_ending {
  char name[12]; /* in lower case; "" stands for none, and for those that found no room */
  int64_t files;
} sm_listing_ending;
typedef struct sm_listing_passed {
  sm_listing_ending endings[SM_LISTING_ENDINGS]; /* the first is "" */
  int n;
  int64_t files;
} sm_listing_passed;
void sm_listing_pass(sm_listing_passed *, const char *name);
/* n counts into one, and into the listing: what it says of them. */
void sm_listing_passed_over(sm_listing *, sm_listing_passed *, int n);
struct stat;
int64_t sm_listing_changed(const struct stat *); /* time of the last change, ns since 1970 */

/* Runs all items on several threads, as sm_pool_run, or where there are none to be had on this one.
 * `worker` is less than SM_LISTING_THREADS. */
void sm_listing_each(int64_t items, void (*fn)(void *ctx, int64_t item, int worker), void *ctx);

/* ---- listings ------------------------------------------------------------------------------------------ */

sm_listing *sm_listing_new(const char *path, sm_error *);
static inline const char *sm_listing_kind(const sm_listing *l) { return l->shards ? "shards" : "folder"; } /* in messages */
/* The image is what stands in `own`: as sm_listing_read_image. */
sm_status sm_listing_own(sm_listing *, sm_error *);
/* Makes the tables of folders and blocks from heads and entries. SM_EFORMAT, `what` (may be NULL) says why
 * in a few words. */
sm_status sm_listing_read_image(sm_listing *, const char **what, sm_error *);
/* Entry `at` of a folder. False only where the mapping has changed under us. */
bool sm_listing_find(const sm_listing *, uint32_t folder, uint32_t at, sm_listing_cursor *);
/* The path of a folder, as the listing was asked for it. */
void sm_listing_folder_path(const sm_listing *, uint32_t folder, sm_text *path);

/* As sm_listing_open, without a look at what is there. */
sm_listing *sm_listing_load(const char *path, const char *file, sm_error *);
/* Whether a folder changed so shortly before `now` (s since 1970), or after it, that the next change may
 * bear the same time: *tick seconds later it cannot. */
bool sm_listing_newer(const sm_listing *, double now, double *tick);
/* The same names and sizes in the same folders; else `where` says in which folder the first difference is. */
bool sm_listing_equal(const sm_listing *, const sm_listing *, sm_text *where);

#endif
