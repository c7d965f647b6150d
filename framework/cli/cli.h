/* cli.h — what the program's subcommands share.
 *
 * A subcommand is one file cmd_NAME.c that defines one or more `const sm_command sm_command_NAME`, a line
 * SM_COMMAND(NAME) in commands.def, and a line in local.mk. Its options are a table of sm_option rows, the
 * same kind that plugins have: parsing, checking, --help, completion and the manual all come from it, and
 * `run` finds the values filled in.
 *
 * Nothing but the files in this folder prints. Results go to stdout, everything else to stderr. */
#ifndef SMALTI_CLI_H
#define SMALTI_CLI_H

#include "framework/formats/formats.h"
#include "framework/recipe/ask.h"

/* Exit codes: part of the interface (sysexits.h where it has one). The manual's table is in manual.c. */
enum {
  SM_EXIT_OK = 0,
  SM_EXIT_NO = 1,          /* it ran, and the answer is no: recipes differ, a check failed */
  SM_EXIT_USAGE = 2,       /* the command line is wrong */
  SM_EXIT_DATA = 65,       /* a recipe, plugin or file is wrong */
  SM_EXIT_NOINPUT = 66,    /* a file or folder that was named does not exist */
  SM_EXIT_SOFTWARE = 70,   /* a bug in smalti or a plugin */
  SM_EXIT_MEMORY = 71,     /* memory or another resource of the system ran out */
  SM_EXIT_IO = 74,         /* reading or writing failed */
  SM_EXIT_INTERRUPTED = 75, /* a signal stopped the run in order: the same command resumes */
  SM_EXIT_LOST = 76         /* a rank was lost: the same command goes on from the last checkpoint */
};

struct sm_command;
typedef struct sm_cli {
  const struct sm_command *command;
  void *options;                         /* the command's own, a struct of command->options_size */
  bool quiet, json, help, version;       /* global options */
  int64_t threads;                       /* 0: not given */
  int isa;                               /* 0: not given; see sm_cli_isa */
  const char *plugin_path, *recipe_path; /* NULL: not given */
  sm_arena *arena;                       /* lives as long as the program */
  sm_registry *registry;                 /* made by sm_cli_registry, freed by main */
} sm_cli;

typedef struct sm_command {
  const char *name;         /* "train"; a command of a group has two words: "recipe show" */
  const char *usage;        /* its arguments: "RECIPE [KEY=VALUE ...]", or "" */
  const char *summary;      /* one sentence without final stop */
  const char *about;        /* paragraphs for --help and the manual, or NULL; @KINDS@: all kinds of plugins */
  int min_args, max_args;   /* max -1: any number */
  const sm_option *options; /* names with '_' are typed with '-'; lists are typed a,b,c */
  int n_options;
  size_t options_size;
  /* argv[0] is the command's name, argv[1 … argc-1] its arguments without options. Returns an exit code. */
  int (*run)(sm_cli *, int argc, char **argv);
  bool hidden; /* not in help, manual or completion */
} sm_command;

/* const sm_command sm_command_NAME, one for each line of the table */
#define SM_COMMAND(name) extern const sm_command sm_command_##name;
#include "commands.def"
#undef SM_COMMAND

/* ---- for commands -------------------------------------------------------------------------------------- */

/* Print "smalti: PLACE: MESSAGE; HINT" and give the exit code that fits. */
int sm_cli_fail(const sm_error *);
int sm_cli_no_memory(void); /* says so, without memory */
/* The same for a wrong command line; adds where to find help. Returns SM_EXIT_USAGE. */
int sm_cli_usage(const sm_cli *, const char *fmt, ...) SM_PRINTF(2, 3);
/* sm_cli_fail, but what would be wrong data is a wrong command line. */
int sm_cli_usage_error(const sm_error *);
/* Text for people on stderr, nothing in it that a terminal would obey. All that goes to stderr goes through
 * here. */
void sm_cli_say(const char *fmt, ...) SM_PRINTF(1, 2);
/* A line for people on stderr, dropped by --quiet. */
void sm_cli_note(const sm_cli *, const char *fmt, ...) SM_PRINTF(2, 3);
int sm_cli_exit_code(sm_status);
/* A JSON value as one line on stdout; frees it. */
int sm_cli_json(sm_json *);
/* "size": a number where it is square, else "96x160". */
void sm_cli_json_size(sm_json *, int height, int width);
/* A file that a user named with --out is replaced only with --force (output.c). */
sm_status sm_cli_may_write(const char *path, bool force, sm_error *);
/* The same for files of a folder; `names` ends with NULL. */
sm_status sm_cli_may_write_into(sm_cli *, const char *folder, const char *const *names, bool force,
                                sm_error *);
/* A table's pages replace older ones of a table, and nothing else. */
sm_status sm_cli_may_write_table(sm_cli *, const char *folder, sm_error *);
#define SM_FORCE_OPTION(T) SM_BOOL(T, force, "force", "false", "replace a file that is there")
/* The registry for --plugin-path, made on first use. */
sm_status sm_cli_registry(sm_cli *, sm_registry **, sm_error *);
/* "a,b" as a NULL-terminated list of texts that are not empty; NULL or "": an empty one. `n` may be NULL. */
sm_status sm_cli_list(const sm_cli *, const char *text, const char *const **list, int *n, sm_error *);
extern const char *const sm_cli_isas[]; /* choices of --isa; NULL at the end */
const char *sm_cli_isa(const sm_cli *); /* NULL: not given                   */
/* argv[1] is a recipe, the rest are overrides; --threads becomes train.threads, --isa train.isa. */
sm_status sm_cli_recipe(sm_cli *, int argc, char **argv, sm_recipe **, sm_error *);

/* ---- the table and the parser (command.c) -------------------------------------------------------------- */

const sm_command *const *sm_commands(int *n); /* in the order of help */
const sm_option *sm_cli_globals(int *n);      /* into sm_cli */
/* The command that argv begins with, and how many words its name takes. NULL with an error. */
const sm_command *sm_command_find(int argc, char **argv, int *words, sm_error *);
void sm_command_flag(const sm_option *, sm_text *); /* "--keep-all" */
void sm_command_about(const sm_command *, sm_text *);  /* its paragraphs */
/* Take the options out of argv (moving arguments to the front, argc updated) into cli and cli->options. */
sm_status sm_command_parse(sm_cli *, const sm_command *, int *argc, char **argv, sm_error *);

/* ---- texts from the tables (usage.c, manual.c, reference.c) -------------------------------------------- */

void sm_usage_overview(sm_text *);                            /* `smalti help` */
void sm_usage_command(const sm_command *, sm_text *);         /* `smalti CMD --help` */
void sm_usage_group(const char *group, sm_text *);            /* `smalti help recipe` */
void sm_usage_metavar(const sm_option *, sm_text *);          /* "N", "PATH", "a|b"; nothing for a switch */
void sm_manual(sm_text *);                                    /* roff, man(7) */
sm_status sm_reference(sm_registry *, sm_text *, sm_error *); /* Markdown */

#endif
