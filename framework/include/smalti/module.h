/* smalti/module.h — what a plugin is: a shared object whose one exported function describes backbones, heads,
 * maskers, tokenizers, losses, datasets, evaluations or objectives.
 *
 * A plugin contains no parsing: it lists its options in a table, and the core reads, checks and stores them
 * in the plugin's instance before `create` is called. The same table makes the error messages, `smalti
 * plugins show`, completion and the manual. Build with `pkg-config --cflags --libs smalti`, link with
 * libsmalti, export nothing but what SM_MODULE defines.
 *
 * Versions: a module carries the number of the plugin interface it was built for in an ELF note, and is
 * refused by it before anything of it runs. 0.x: the minor number must be equal, so build your plugins again
 * with each new smalti. Threads are named at each callback: [main] the thread that runs the program, [build]
 * the same while graphs are built, [worker] any loader thread, several at once.
 * Modules are never unloaded. */
#ifndef SMALTI_MODULE_H
#define SMALTI_MODULE_H

#include <smalti/base.h>
#include <smalti/schedule.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_ABI_MAJOR 0
#define SM_ABI_MINOR 5

typedef enum {
  SM_BACKBONE = 1, SM_HEAD, SM_MASKER, SM_TOKENIZER, SM_LOSS, SM_DATASET, SM_EVALUATION, SM_OBJECTIVE,
  SM_KIND_END
} sm_kind;
const char *sm_kind_name(sm_kind);   /* "backbone" … */

/* ---- options ----------------------------------------------------------------------------------------- */

typedef enum {
  SM_OPT_INT,      /* int64_t                                            */
  SM_OPT_FLOAT,    /* double                                             */
  SM_OPT_BOOL,     /* bool                                               */
  SM_OPT_STRING,   /* const char *, never NULL unless default is absent  */
  SM_OPT_PATH,     /* const char *, relative ones as seen from the recipe's folder */
  SM_OPT_CHOICE,   /* int: index into choices                            */
  SM_OPT_FLOATS,   /* sm_floats; one number is a list of one             */
  SM_OPT_INTS,     /* sm_ints                                            */
  SM_OPT_SCHEDULE  /* sm_schedule; one number is a constant; def gives shape, per and all left out */
} sm_option_type;

#define SM_LIST_MAX 32
typedef struct sm_floats { int n; double v[SM_LIST_MAX]; } sm_floats;
typedef struct sm_ints { int n; int64_t v[SM_LIST_MAX]; } sm_ints;

typedef struct sm_option {
  const char *name;            /* the recipe's key; never renamed */
  sm_option_type type;
  size_t offset;               /* into the instance               */
  const char *def; /* as YAML text; NULL: required; "~": may be left out (string NULL, list empty) */
  double min, max;             /* inclusive, of every number in it; both 0: any finite number */
  const char *const *choices;  /* CHOICE: NULL-terminated         */
  const char *unit;            /* "px", "epochs", … or NULL       */
  const char *doc;             /* one sentence without final stop */
} sm_option;

/* One row each: SM_INT(struct masker, grid, "grid", "14", 1, 64, "patches", "…"). */
#define SM_INT(T, field, name, def, min, max, unit, doc) \
  {name, SM_OPT_INT, offsetof(T, field), def, min, max, NULL, unit, doc}
#define SM_FLOAT(T, field, name, def, min, max, unit, doc) \
  {name, SM_OPT_FLOAT, offsetof(T, field), def, min, max, NULL, unit, doc}
#define SM_BOOL(T, field, name, def, doc) {name, SM_OPT_BOOL, offsetof(T, field), def, 0, 0, NULL, NULL, doc}
#define SM_STRING(T, field, name, def, doc) \
  {name, SM_OPT_STRING, offsetof(T, field), def, 0, 0, NULL, NULL, doc}
#define SM_PATH(T, field, name, def, doc) {name, SM_OPT_PATH, offsetof(T, field), def, 0, 0, NULL, NULL, doc}
#define SM_CHOICE(T, field, name, def, choices, doc) \
  {name, SM_OPT_CHOICE, offsetof(T, field), def, 0, 0, choices, NULL, doc}
#define SM_FLOATS(T, field, name, def, min, max, unit, doc) \
  {name, SM_OPT_FLOATS, offsetof(T, field), def, min, max, NULL, unit, doc}
#define SM_INTS(T, field, name, def, min, max, unit, doc) \
  {name, SM_OPT_INTS, offsetof(T, field), def, min, max, NULL, unit, doc}
#define SM_SCHEDULE(T, field, name, def, min, max, unit, doc) \
  {name, SM_OPT_SCHEDULE, offsetof(T, field), def, min, max, NULL, unit, doc}

/* ---- descriptor -------------------------------------------------------------------------------------- */

/* The program that runs the plugin, as its registry of plugins: what sm_network_open (network.h) needs to
 * find those of an earlier run. Opaque, and lives as long as the instance. */
typedef struct sm_registry sm_host;

typedef struct sm_plugin {
  uint32_t kind;                /* sm_kind */
  const char *name, *summary;   /* "blockwise", one sentence without final stop */
  const char *version, *license, *cite; /* cite: the paper, "Zhou et al., iBOT, ICLR 2022", or NULL */
  const sm_option *options;
  uint32_t n_options;
  size_t instance_size;         /* bytes; zeroed, options filled, then create */
  sm_status (*create)(void *self,
                      sm_error *); /* [main] optional: check options against each other, get resources */
  void (*destroy)(void *self);                 /* [main] optional */
  const void *ops;              /* the kind's table below */
  size_t host; /* offset of a `const sm_host *` in the instance, filled before any callback: .host =
                  offsetof(struct masker, host), not its first member; 0: not wanted */
} sm_plugin;

typedef struct sm_module {
  const void *core; /* &sm_core_identity as this module sees it: finds a second copy of libsmalti */
  uint32_t n_plugins;
  const sm_plugin *const *plugins;
} sm_module;

extern const char sm_core_identity; /* one byte inside libsmalti */

/* The version, in an ELF note: it is read before the module is bound, so that a module built against another
 * version is refused by its number and not by an undefined symbol. */
typedef struct sm_abi_note {
  uint32_t name_size, desc_size, type;
  char name[8];
  uint32_t major, minor;
} sm_abi_note;

#if defined(__GNUC__) && defined(__ELF__)
#define SM_ABI_NOTE                                                                                       \
  __attribute__((used, section(".note.smalti"), aligned(4))) static const sm_abi_note sm_abi_note_ = {    \
      8, 8, 1, "smalti", SM_ABI_MAJOR, SM_ABI_MINOR};
#else
#define SM_ABI_NOTE
#endif

#define SM_EXPORT __attribute__((visibility("default")))
/* SM_MODULE(&masker, &other); once in a module. */
#define SM_MODULE(...)                                                                                    \
  SM_ABI_NOTE                                                                                             \
  SM_EXPORT const sm_module *smalti_module(void);                                                         \
  const sm_module *smalti_module(void) {                                                                  \
    static const sm_plugin *const plugins[] = {__VA_ARGS__};                                              \
    static const sm_module module = {&sm_core_identity, sizeof plugins / sizeof *plugins, plugins};       \
    return &module;                                                                                       \
  }

#ifdef __cplusplus
}
#endif
#endif
