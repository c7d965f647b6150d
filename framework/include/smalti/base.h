/* smalti/base.h — errors, memory, text, randomness, threads, log and files.
 *
 * The floor of the library: it knows nothing of tensors or pictures and includes only the C library.
 * Every function that can fail returns a sm_status and fills the caller's sm_error (NULL is allowed: the
 * status alone is returned). Nothing here prints or exits. */
#ifndef SMALTI_BASE_H
#define SMALTI_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define SM_PRINTF(fmt, args)
#endif

/* ---- errors ------------------------------------------------------------------------------------------- */

typedef enum {
  SM_OK = 0,
  SM_ENOMEM,       /* memory ran out                                                         */
  SM_EINVAL,       /* the caller's or the user's value is wrong                               */
  SM_EIO,          /* reading or writing failed; message holds strerror                       */
  SM_ENOTFOUND,    /* no such file, plugin, key, tensor                                       */
  SM_EFORMAT,      /* a file is damaged or not what its name says                             */
  SM_EUNSUPPORTED, /* well-formed, but this build cannot do it                                */
  SM_EINTERRUPTED, /* a signal asked for an orderly stop                                      */
  SM_EINTERNAL,    /* a broken invariant: a bug in smalti or a plugin                         */
  SM_ELOST         /* another process of a run that several train does not answer             */
} sm_status;

/* One error: what is wrong, where, and what to do. Printed as "smalti: PLACE: MESSAGE; HINT". */
typedef struct sm_error {
  sm_status code;
  char place[512];    /* "FILE:LINE:COL" or a file name or ""        */
  char message[1024]; /* one clause, no final stop                    */
  char hint[512];     /* what to do, or ""                            */
} sm_error;

/* Fill `err` (clears place and hint) and return `code`, so that `return sm_fail(err, SM_EINVAL, "…");` reads
 * well. */
sm_status sm_fail(sm_error *err, sm_status code, const char *fmt, ...) SM_PRINTF(3, 4);
/* Add the place (line or col 0 = not known) or the hint to an error already filled; both write nothing to NULL. Return
 * err->code, and SM_EINVAL for NULL: what is given a hint has failed, whether somebody wants to know why or not. */
sm_status sm_fail_at(sm_error *err, const char *file, int line, int col);
sm_status sm_hint(sm_error *err, const char *fmt, ...) SM_PRINTF(2, 3);
void sm_error_clear(sm_error *err);
/* The whole error as one line into buf (always terminated), without the "smalti: " in front; returns buf. */
char *sm_error_text(const sm_error *err, char *buf, size_t size);
const char *sm_status_name(sm_status);

/* The word of `words` (NULL-terminated) nearest to `word` by edit distance, or NULL if none is near: for "did
 * you mean". */
const char *sm_nearest(const char *word, const char *const *words);

/* ---- memory ------------------------------------------------------------------------------------------- */

/* A named arena: allocations live until the arena is freed. Not thread-safe; one owner at a time. */
typedef struct sm_arena sm_arena;
sm_arena *sm_arena_new(const char *name); /* NULL when memory runs out; name is copied */
void sm_arena_free(sm_arena *);           /* NULL is allowed */
void *sm_arena_alloc(sm_arena *, size_t bytes);  /* zeroed, 16-byte aligned; NULL when memory runs out */
char *sm_arena_strdup(sm_arena *, const char *);
char *sm_arena_strndup(sm_arena *, const char *, size_t);
char *sm_arena_printf(sm_arena *, const char *fmt, ...) SM_PRINTF(2, 3);
size_t sm_arena_bytes(const sm_arena *);

/* Heap calls that the failure injector sees: in tests, SMALTI_FAIL_ALLOC=k makes the k-th call of the process
 * fail. */
void *sm_malloc(size_t bytes);
void *sm_calloc(size_t n, size_t bytes);
void *sm_realloc(void *, size_t bytes);
char *sm_strdup(const char *);
void sm_free(void *);
/* Large zeroed blocks on 64-byte borders (huge pages are asked for when big); free with sm_aligned_free. */
void *sm_aligned_alloc(size_t bytes);
void sm_aligned_free(void *);

/* ---- text --------------------------------------------------------------------------------------------- */

/* A growing, always terminated text. Zero-initialise; a failed growth sets `failed` and later calls do
 * nothing. */
typedef struct sm_text {
  char *s;
  size_t len, cap;
  bool failed;
} sm_text;
void sm_text_add(sm_text *, const char *fmt, ...) SM_PRINTF(2, 3);
void sm_text_addv(sm_text *, const char *fmt, va_list);
void sm_text_bytes(sm_text *, const void *, size_t);
void sm_text_free(sm_text *); /* frees and zeroes */

/* Names and messages from files may hold any byte. sm_printable_bytes: the bytes of the character that `text`
 * begins with, 0 where a terminal would not show it as a character (controls, marks that turn the writing
 * direction, no UTF-8). sm_printable: `text` with each such byte as "\x1b", but for the control characters in
 * `kept`; cut at a whole character where it is longer than buf. Returns the length of the whole, as snprintf
 * does. */
size_t sm_printable_bytes(const char *text);
size_t sm_printable(const char *text, const char *kept, char *buf, size_t size);

/* `one` or `many`, as n wants: printf("%d %s", n, sm_plural(n, "class", "classes")). */
const char *sm_plural(int64_t n, const char *one, const char *many);
/* "12 %", "0.25 %", "under 0.01 %": a part of a whole. Only all of it is 100 %, only nothing is 0 %. */
char *sm_share_text(double part, double whole, char *buf, size_t size);

/* "1.5 GiB", "320 KiB"; "1 h 02 min", "3.4 s"; into buf, returns buf. */
char *sm_human_bytes(double bytes, char *buf, size_t size);
char *sm_human_seconds(double seconds, char *buf, size_t size);
/* Shortest decimal text that reads back to the same double ("0.1",
 * not "0.10000000000000001"); returns buf. */
char *sm_double_text(double, char *buf, size_t size);
/* Whole-text decimal numbers only: false on rest, space, overflow, "nan", "inf", or empty; then the value is
 * untouched. */
bool sm_parse_int(const char *, int64_t *);
bool sm_parse_double(const char *, double *);
void sm_sort_doubles(double *, size_t n); /* ascending; none may be NaN */
/* The middle 95 % of n > 0 values drawn again and again, a bootstrap's, which this sorts: as many are left
 * out at either end, (n - 1) / 40 rounded down. None may be NaN. */
void sm_drawn_interval(double *drawn, size_t n, double *low, double *high);
uint64_t sm_hash64(const void *, size_t, uint64_t seed); /* FNV-1a, finalised; stable over versions */
uint32_t sm_crc32c(uint32_t crc, const void *, size_t);  /* Castagnoli; start with 0 */

/* ---- randomness --------------------------------------------------------------------------------------- */

/* Counter-based generator (Philox4x32-10, Salmon et al. 2011). Its whole state is its key, so a stream is
 * named by what it is for and never saved. Equal keys give equal numbers on every machine. */
typedef struct sm_rng {
  uint32_t key[2], counter[4], block[4];
  uint32_t used;
} sm_rng;

typedef enum { /* purposes: never renumber, add at the end */
  SM_RNG_INIT = 1, SM_RNG_SHUFFLE, SM_RNG_CROP, SM_RNG_COLOUR, SM_RNG_MASK, SM_RNG_DROP_PATH, SM_RNG_REPLACE,
  SM_RNG_SHAPES, SM_RNG_BENCH, SM_RNG_TEST, SM_RNG_TOKENIZER, SM_RNG_EVAL, SM_RNG_OBJECTIVE
} sm_purpose;

sm_rng sm_rng_make(uint64_t seed, sm_purpose, uint64_t epoch, uint64_t sample, uint32_t view);
/* Keyed by a name: the initial values of a parameter do not depend on the order of parameters. */
sm_rng sm_rng_named(uint64_t seed, sm_purpose, const char *name);
uint32_t sm_rng_u32(sm_rng *);
double sm_rng_uniform(sm_rng *);                        /* [0, 1), 53 bits  */
double sm_rng_between(sm_rng *, double low, double high); /* [low, high)      */
uint32_t sm_rng_below(sm_rng *, uint32_t n);              /* 0 … n-1, unbiased; n > 0 */
double sm_rng_normal(sm_rng *);                         /* mean 0, deviation 1 (Box-Muller, two draws) */
void sm_rng_shuffle(sm_rng *, uint32_t *values, size_t n);

/* ---- threads ------------------------------------------------------------------------------------------ */

/* A pool for compute: the caller is worker 0. Items are handed out in ascending order from one counter; which
 * worker takes which is not fixed, so an item must not depend on the worker but for scratch memory. */
typedef struct sm_pool sm_pool;
sm_pool *sm_pool_new(int threads, sm_error *); /* 1 … 256 */
void sm_pool_free(sm_pool *);
int sm_pool_threads(const sm_pool *);
/* The path of kernels that graphs and vector work on this pool take: a name that sm_isa_find (tensor.h) gave, and that
 * outlives the pool, or NULL, as it begins: the best one. */
void sm_pool_take(sm_pool *, const char *isa);
const char *sm_pool_isa(const sm_pool *);
/* Runs all items and returns when they are done. One job at a time: an item may not run another job on its
 * own pool, and two threads may not share one. */
void sm_pool_run(sm_pool *, int64_t items, void (*fn)(void *ctx, int64_t item, int worker), void *ctx);
int sm_cpu_count(void); /* processors this process may use (affinity and cgroup quota) */
double sm_now(void);    /* monotonic seconds */
void sm_sleep(double seconds); /* so long, or until a signal comes */

/* ---- log ---------------------------------------------------------------------------------------------- */

typedef enum { SM_LOG_DEBUG, SM_LOG_INFO, SM_LOG_WARNING, SM_LOG_ERROR } sm_log_level;
typedef void (*sm_log_sink)(void *ctx, sm_log_level, const char *line);
void sm_log(sm_log_level, const char *fmt, ...)
    SM_PRINTF(2, 3); /* any thread; no sink: dropped; not from a sink */
void sm_log_to(sm_log_sink, void *ctx);                           /* [main] NULL: none */

/* ---- files -------------------------------------------------------------------------------------------- */

/* A file written whole or not at all: bytes go to a temporary name in the same folder; commit does fsync,
 * rename and fsync of the folder; abort (or a failed commit) removes the temporary file. Write errors are
 * sticky. */
typedef struct sm_file sm_file;
sm_file *sm_file_create(const char *path, sm_error *);
sm_status sm_file_write(sm_file *, const void *, size_t);
sm_status sm_file_printf(sm_file *, const char *fmt, ...) SM_PRINTF(2, 3);
int sm_file_fd(sm_file *);
const char *sm_file_temporary(const sm_file *);     /* the name being written, to read back before commit */
sm_status sm_file_sync(sm_file *, sm_error *);      /* flush and fsync now, keep open */
sm_status sm_file_commit(sm_file *, sm_error *);    /* frees the handle in every case  */
void sm_file_abort(sm_file *);                      /* frees the handle; NULL allowed  */
sm_status sm_file_put(const char *path, const void *, size_t, sm_error *); /* create, write, commit */

/* A whole file read into memory (terminated by an extra 0 byte); more than `limit` bytes is SM_EINVAL. Free
 * with sm_free. */
sm_status sm_file_get(const char *path, size_t limit, char **data, size_t *bytes, sm_error *);
sm_status sm_mkdirs(const char *path, sm_error *);            /* mkdir -p */
sm_status sm_remove_tree(const char *path, sm_error *);       /* rm -r; a missing path is fine */
char *sm_path_join(sm_arena *, const char *dir, const char *name);
const char *sm_path_base(const char *path);                   /* after the last '/' */
/* The files of a folder, or its folders, in the order of sm_names_compare; hidden ones are left out, links are what they
 * point to. Names live in the arena, (*names)[*n] is NULL. SM_ENOTFOUND: no folder, or a link to nothing; SM_EIO,
 * SM_ENOMEM. */
sm_status sm_folder_names(sm_arena *, const char *path, bool folders, const char ***names, int64_t *n, sm_error *);
/* The names that a text file lists, one a line, without blanks at the end; empty lines count for none. (*line)[i] is the
 * line of (*names)[i]; both live in the arena. SM_EFORMAT: no text, no name, or one twice; and errors of reading. */
sm_status sm_file_names(sm_arena *, const char *path, const char ***names, int **line, int64_t *n, sm_error *);
/* By bytes, but digits that stand together are a number: frame2 before frame10. 0 for equal names only. */
int sm_names_compare(const char *, const char *);

/* ---- version ------------------------------------------------------------------------------------------ */

const char *sm_version(void); /* "0.1.0" */
/* Where this build is installed: its plugins (plugindir of smalti.pc) and the recipes that come with it. */
const char *sm_plugin_dir(void);
const char *sm_recipe_dir(void);

#ifdef __cplusplus
}
#endif
#endif
