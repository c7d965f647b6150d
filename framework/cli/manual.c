/* manual.c — the manual page smalti(1) from the same tables as --help, in man(7) macros. */
#include "cli.h"

#include <ctype.h>
#include <string.h>

typedef struct item {
  const char *name, *text;
} item;

static const item exit_codes[] = {
    {"0", "It worked."},
    {"1", "It worked, and the answer is no: two recipes differ, a check failed."},
    {"2", "The command line is wrong."},
    {"65", "A recipe, a plugin or a file is wrong; the message says where."},
    {"66", "A file or folder that was named does not exist."},
    {"70", "An invariant is broken: a bug in smalti or in a plugin."},
    {"71", "Memory or another resource of the system ran out."},
    {"74", "Reading or writing failed."},
    {"75",
     "A signal (TERM, INT, USR1, HUP, XCPU) stopped the run in order, after a checkpoint. The same command resumes it."},
    {"76", "One of several processes that trained the run was lost. The same command goes on from the last checkpoint."},
};

static const item variables[] = {
    {"SMALTI_PLUGIN_PATH", "Folders to look for plugins in, separated by colons, before the installed ones."},
    {"SMALTI_RECIPE_PATH", "Folders to look for recipes in, separated by colons, before the installed ones."},
    {"SMALTI_MPI_PATH", "The folder of the modules for MPI, instead of the installed one."},
    {"NO_COLOR", "If set, nothing is coloured."},
};

static const item sections[] = {
    {"RECIPES",
     "A recipe is a YAML file that says what to train: data, backbone, head, masker, tokenizer, losses, optimizer. "
     "It is looked for as named, then in the recipe folders, with or without .yaml. "
     "Every value can be changed on the command line: "
     "KEY=VALUE arguments name it by its path, as in train.epochs=10, masker.random.ratio=0.5, losses.mim.weight=2 or tokenizer='!delete'. "
     "The recipe reference lists every key."},
};

/* Text for roff: backslashes and leading dots mean something there. */
static void manual_add_escaped(sm_text *text, const char *s) {
  bool start = true;
  for (; *s; s++) {
    if (start && (*s == '.' || *s == '\'')) sm_text_add(text, "\\&");
    if (*s == '\\') sm_text_add(text, "\\e");
    else if (*s == '-') sm_text_add(text, "\\-");
    else sm_text_bytes(text, s, 1);
    start = *s == '\n';
  }
}

/* Paragraphs are separated by an empty line. */
static void manual_add_paragraphs(sm_text *text, const char *s) {
  while (*s) {
    const char *end = strstr(s, "\n\n");
    size_t n = end ? (size_t)(end - s) : strlen(s);
    char paragraph[4096];
    snprintf(paragraph, sizeof paragraph, "%.*s", (int)n, s);
    manual_add_escaped(text, paragraph);
    sm_text_add(text, "\n");
    s += n;
    while (*s == '\n') s++;
    if (*s) sm_text_add(text, ".PP\n");
  }
}

static void manual_add_options(sm_text *text, const sm_option *options, int n) {
  for (int i = 0; i < n; i++) {
    const sm_option *o = &options[i];
    sm_text flag = {0}, metavar = {0};
    sm_command_flag(o, &flag);
    sm_usage_metavar(o, &metavar);
    sm_text_add(text, ".TP\n.B ");
    if (flag.s) manual_add_escaped(text, flag.s);
    if (metavar.s && *metavar.s) {
      sm_text_add(text, " \\fI");
      manual_add_escaped(text, metavar.s);
      sm_text_add(text, "\\fR");
    }
    sm_text_add(text, "\n");
    sm_text doc = {0};
    sm_text_add(&doc, "%c%s", toupper((unsigned char)o->doc[0]), o->doc + 1);
    if (o->def && strcmp(o->def, "~") != 0 && o->type != SM_OPT_BOOL)
      sm_text_add(&doc, " (default: %s)", o->def);
    sm_text_add(&doc, ".");
    if (doc.s) manual_add_escaped(text, doc.s);
    sm_text_add(text, "\n");
    sm_text_free(&doc);
    sm_text_free(&flag);
    sm_text_free(&metavar);
  }
}

static void manual_add_command(sm_text *text, const sm_command *c) {
  sm_text_add(text, ".SS \"smalti %s %s\"\n", c->name, c->usage);
  char sentence[400];
  snprintf(sentence, sizeof sentence, "%c%s.", toupper((unsigned char)c->summary[0]), c->summary + 1);
  manual_add_escaped(text, sentence);
  sm_text_add(text, "\n");
  if (c->about) {
    sm_text about = {0};
    sm_command_about(c, &about);
    sm_text_add(text, ".PP\n");
    if (about.s) manual_add_paragraphs(text, about.s);
    sm_text_free(&about);
  }
  manual_add_options(text, c->options, c->n_options);
}

static void manual_add_items(sm_text *text, const char *title, const item *items, size_t n) {
  sm_text_add(text, ".SH %s\n", title);
  for (size_t i = 0; i < n; i++) {
    sm_text_add(text, ".TP\n.B %s\n", items[i].name);
    manual_add_escaped(text, items[i].text);
    sm_text_add(text, "\n");
  }
}

void sm_manual(sm_text *text) {
  int n, n_globals;
  const sm_command *const *commands = sm_commands(&n);
  const sm_option *globals = sm_cli_globals(&n_globals);
  sm_text_add(
      text,
      ".\\\" Made by 'smalti help --man' from the program's own tables; do not edit.\n"
      ".TH SMALTI 1 \"\" \"smalti %s\" \"User Commands\"\n"
      ".SH NAME\nsmalti \\- pre-train vision transformers without labels\n"
      ".SH SYNOPSIS\n.B smalti\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n"
      ".SH DESCRIPTION\n"
      "smalti trains vision transformers by self\\-distillation and masked image modelling (iBOT, DINO and what lies between them) and measures what they learned. "
      "Backbone, head, masker, tokenizer and losses are plugins that a recipe puts together.\n",
      sm_version());
  sm_text_add(text, ".SH COMMANDS\n");
  for (int i = 0; i < n; i++)
    if (!commands[i]->hidden) manual_add_command(text, commands[i]);
  sm_text_add(text, ".SH \"GLOBAL OPTIONS\"\n");
  manual_add_options(text, globals, n_globals);
  for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
    sm_text_add(text, ".SH %s\n", sections[i].name);
    manual_add_paragraphs(text, sections[i].text);
  }
  manual_add_items(text, "\"EXIT STATUS\"", exit_codes, sizeof exit_codes / sizeof *exit_codes);
  manual_add_items(text, "ENVIRONMENT", variables, sizeof variables / sizeof *variables);
}
