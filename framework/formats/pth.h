/* pth.h — private to this folder: what the files share that read PyTorch's weights (torch.save).
 *
 *   pth_zip.c      where the members of a zip archive lie
 *   pth_values.c   the values that a pickle makes: inert, counted, in one pool
 *   pth_pickle.c   the pickle machine: opcodes to values; nothing is imported, nothing is called
 *   pth_known.c    the few functions and storage types whose meaning is known: tensors
 *   pth_names.c    from nested dicts and lists to tensors with dotted names
 *   pth.c          both forms of the file, and the bytes of each tensor
 *
 * Everything but the limits below points into the mapped file. Sources: torch/serialization.py and
 * torch/_utils.py (PyTorch 1.0 … 2.13), Python's pickletools, PKWARE's APPNOTE 6.3. */
#ifndef SMALTI_FORMATS_PTH_H
#define SMALTI_FORMATS_PTH_H

#include "st.h"

enum {
  PTH_PICKLE_MAX = 64 << 20,  /* bytes of a pickle                                                      */
  PTH_VALUES_MAX = 1 << 20,   /* values, and entries of containers, that a pickle may make               */
  PTH_STACK_MAX = 1 << 20,    /* values on the stack, entries of the memo                                */
  PTH_DEPTH_MAX = 64,         /* containers in one another, on the way to a tensor                       */
  PTH_TENSORS_MAX = 1 << 17,  /* tensors with a name                                                     */
  PTH_NAME_MAX = 4096,        /* bytes of a dotted name                                                  */
  PTH_TEXT_MAX = 32 << 20,    /* bytes of all names                                                      */
  PTH_PAIRS_MAX = 256,        /* plain values that are kept as metadata                                  */
  PTH_MEMBERS_MAX = 1 << 18,  /* members of a zip archive                                                */
  PTH_COPY_MORE = 16 << 20    /* bytes of strided tensors, made contiguous, beyond four times the file   */
};

/* ---- zip ---------------------------------------------------------------------------------------------- */

typedef struct pth_member {
  const char *name; /* not terminated */
  size_t name_bytes;
  uint64_t at, bytes; /* of its data in the file */
  uint64_t header_at; /* of its local header     */
  uint32_t crc;
} pth_member;
typedef struct pth_zip {
  pth_member *member; /* in order of place */
  const pth_member **by_name;
  size_t count;
} pth_zip;

/* The members of an archive, all stored without compression, inside the file, none over another. */
sm_status sm_pth_zip_read(const unsigned char *map, uint64_t bytes, pth_zip *, sm_error *);
const pth_member *sm_pth_zip_find(const pth_zip *, const char *name, size_t name_bytes); /* or NULL */
void sm_pth_zip_free(pth_zip *);
uint32_t sm_pth_crc32(const void *data, size_t bytes);

/* ---- values ------------------------------------------------------------------------------------------- */

typedef enum {
  PTH_NONE, PTH_BOOL, PTH_INT, PTH_LONG, PTH_FLOAT, PTH_TEXT, PTH_BYTES, PTH_TUPLE, PTH_LIST, PTH_DICT,
  PTH_GLOBAL,  /* a name that would be imported: module and name  */
  PTH_OBJECT,  /* what a call would have made: inert              */
  PTH_BROKEN,  /* a tensor that cannot be read: of which function */
  PTH_STORAGE, PTH_TENSOR
} pth_kind;

enum { PTH_UNSEEN, PTH_OPEN, PTH_EMPTY, PTH_HOLDS }; /* pth_names.c: has a container tensors in it? */

typedef uint32_t pth_ref; /* index of a value; 0: none */

typedef struct pth_value {
  uint8_t kind, seen;
  union {
    int64_t number;   /* BOOL, INT */
    double real;
    struct { const char *s; size_t n; } text;        /* TEXT, BYTES, LONG (little-endian) */
    struct { const char *s; uint32_t n, module; } global; /* "module\nname": the name begins behind `module` + 1 */
    struct { uint32_t first, last, count; } items;   /* TUPLE, LIST, DICT: of the pool of items */
    struct { pth_ref of, state; } object;            /* OBJECT, BROKEN: its class, what BUILD gave it */
    uint32_t index;   /* STORAGE, TENSOR */
  } as;
} pth_value;

typedef struct pth_item { pth_ref key, value; uint32_t next; } pth_item;

typedef struct pth_storage {
  const char *dtype; /* NULL: bytes, of an UntypedStorage */
  const char *key;
  size_t key_bytes;
  int64_t count;       /* elements */
  bool view;           /* legacy form: a part of the storage `key` */
  int64_t view_at, view_count;
  const unsigned char *data; /* found later; NULL: not yet */
} pth_storage;

typedef struct pth_tensor {
  uint32_t storage;
  const char *dtype;
  int ndim;
  int64_t offset, size[SM_ST_MAX_DIMS], stride[SM_ST_MAX_DIMS]; /* in elements */
} pth_tensor;

typedef struct pth_pool {
  sm_arena *arena; /* borrowed */
  pth_value *value;
  pth_item *item;
  pth_storage *storage;
  pth_tensor *tensor;
  uint32_t values, value_room, items, item_room, storages, storage_room, tensors, tensor_room;
  sm_error *err;
  sm_status status; /* the first failure stays */
} pth_pool;

void sm_pth_pool_free(pth_pool *);
/* Fail once, with the rule that was broken; returns 0. */
pth_ref sm_pth_bad(pth_pool *, const char *fmt, ...) SM_PRINTF(2, 3);
pth_ref sm_pth_unsupported(pth_pool *, const char *fmt, ...) SM_PRINTF(2, 3);
/* A new value of a kind, zeroed; 0: no room. Pointers to values and items hold until the next one is made. */
pth_ref sm_pth_new(pth_pool *, pth_kind);
pth_ref sm_pth_number(pth_pool *, int64_t);
void sm_pth_push(pth_pool *, pth_ref container, pth_ref key, pth_ref value);
uint32_t sm_pth_new_storage(pth_pool *); /* index; failure: status */
uint32_t sm_pth_new_tensor(pth_pool *);
/* The n-th entry of a tuple or list; 0: there is none. */
pth_ref sm_pth_nth(const pth_pool *, pth_ref, uint32_t n);
pth_kind sm_pth_kind_of(const pth_pool *, pth_ref);
/* Does a GLOBAL name this? */
bool sm_pth_is(const pth_pool *, pth_ref global, const char *module, const char *name);
/* "argparse.Namespace" into buf, only its printable bytes. */
const char *sm_pth_global_text(const pth_pool *, pth_ref global, char *buf, size_t size);

/* ---- pickle ------------------------------------------------------------------------------------------- */

/* Run one pickle from *at on; *at is then behind its STOP. The pool keeps what earlier ones made. Returns the
 * object; 0: an error. */
pth_ref sm_pth_pickle(pth_pool *, const unsigned char *data, size_t bytes, size_t *at);

/* ---- what is known ------------------------------------------------------------------------------------ */

/* What a function called with arguments would give: a tensor, a dict, a tuple, or an inert object. */
pth_ref sm_pth_reduce(pth_pool *, pth_ref function, pth_ref arguments);
/* The storage that a persistent id names. */
pth_ref sm_pth_persistent(pth_pool *, pth_ref id);

/* ---- names -------------------------------------------------------------------------------------------- */

typedef struct pth_named {
  const char *name; /* in the arena */
  uint32_t tensor;
} pth_named;
typedef struct pth_names {
  pth_named *named; /* sm_free */
  size_t count, room;
  st_pair *pairs; /* plain values, as "pth.args.arch"; sm_free */
  size_t npairs, pairs_room;
} pth_names;
/* All tensors under `root` by dotted name. */
sm_status sm_pth_name(pth_pool *, pth_ref root, pth_names *);
void sm_pth_names_free(pth_names *);

/* ---- the file ----------------------------------------------------------------------------------------- */

/* Does a file begin as one of PyTorch's? (At least 9 bytes.) */
bool sm_pth_begins(const unsigned char *map, uint64_t bytes);

typedef struct pth_sum {
  uint64_t at, bytes;
  uint32_t crc;
} pth_sum;
/* Fill `header` (sm_st_header_free) with the tensors, whose `data` is set and whose `offset` is 0, and with
 * plain values as metadata; names and copies live in the arena. *sums: checksums of the archive's members, in
 * the arena. */
sm_status sm_pth_read(const unsigned char *map, uint64_t bytes, sm_arena *, st_header *header, pth_sum **sums,
                      size_t *n_sums, sm_error *);

#endif
