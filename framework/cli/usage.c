/* usage.c — --help from the tables of commands and options. */
#include "cli.h"

#include <ctype.h>
#include <string.h>

#include "framework/plugin/option.h"

enum { WIDTH = 78, INDENT = 2, COLUMN = 24 };

void sm_usage_metavar(const sm_option *o, sm_text *text) {
  static const char *const metavars[] = {
      [SM_OPT_INT] = "N",       [SM_OPT_FLOAT] = "X",          [SM_OPT_BOOL] = "",
      [SM_OPT_STRING] = "TEXT", [SM_OPT_PATH] = "PATH",        [SM_OPT_FLOATS] = "X,...",
      [SM_OPT_INTS] = "N,...",  [SM_OPT_SCHEDULE] = "SCHEDULE"};
  if (o->type != SM_OPT_CHOICE) {
    sm_text_add(text, "%s", metavars[o->type]);
    return;
  }
  for (int i = 0; o->choices[i]; i++) sm_text_add(text, "%s%s", i ? "|" : "", o->choices[i]);
}

/* `words` wrapped to WIDTH, every line after the first indented by `indent`; the first begins at `column`. */
static void usage_wrap(sm_text *text, const char *words, int indent, int column) {
  while (*words) {
    int n = (int)strcspn(words, " \n");
    if (column > indent && column + n > WIDTH) {
      sm_text_add(text, "\n%*s", indent, "");
      column = indent;
    }
    sm_text_add(text, "%.*s", n, words);
    column += n;
    words += n;
    while (*words == ' ') words++;
    if (*words == '\n') {
      while (*words == '\n') {
        sm_text_add(text, "\n");
        words++;
      }
      sm_text_add(text, "%*s", *words ? indent : 0, "");
      column = indent;
    } else if (*words && column + 1 + (int)strcspn(words, " \n") <= WIDTH) {
      sm_text_add(text, " ");
      column++;
    } else if (*words) {
      column = WIDTH + 1;
    }
  }
  sm_text_add(text, "\n");
}

/* A term that is too long for a line goes on behind one of its bars: --isa one|two|\n      three. Returns the
 * columns that its last line takes. */
static int usage_add_term(sm_text *text, const char *term) {
  int column = INDENT;
  sm_text_add(text, "%*s", INDENT, "");
  while (*term) {
    int n = (int)strcspn(term, "|");
    if (term[n]) n++;
    if (column > 3 * INDENT && column + n > WIDTH) {
      sm_text_add(text, "\n%*s", 3 * INDENT, "");
      column = 3 * INDENT;
    }
    sm_text_add(text, "%.*s", n, term);
    column += n;
    term += n;
  }
  return column;
}

/* "  TERM    words", the words in their column. */
static void usage_add_row(sm_text *text, const char *term, const char *words) {
  int used = usage_add_term(text, term);
  if (used + 2 > COLUMN) sm_text_add(text, "\n%*s", COLUMN, "");
  else sm_text_add(text, "%*s", COLUMN - used, "");
  usage_wrap(text, words, COLUMN, COLUMN);
}

static void usage_add_options(sm_text *text, const sm_option *options, int n) {
  for (int i = 0; i < n; i++) {
    const sm_option *o = &options[i];
    sm_text term = {0}, words = {0}, metavar = {0};
    sm_command_flag(o, &term);
    sm_usage_metavar(o, &metavar);
    if (metavar.s && *metavar.s) sm_text_add(&term, " %s", metavar.s);
    sm_text_add(&words, "%s", o->doc);
    if (o->def && strcmp(o->def, "~") != 0 && o->type != SM_OPT_BOOL)
      sm_text_add(&words, " (default: %s)", o->def);
    if (o->type == SM_OPT_BOOL && !strcmp(o->def, "true"))
      sm_text_add(&words, " (default; --no-%s)", term.s + 2);
    if (term.s && words.s) usage_add_row(text, term.s, words.s);
    sm_text_free(&term);
    sm_text_free(&words);
    sm_text_free(&metavar);
  }
}

/* A summary as a sentence. */
static void usage_add_sentence(sm_text *text, const char *summary) {
  sm_text sentence = {0};
  sm_text_add(&sentence, "%c%s.", toupper((unsigned char)summary[0]), summary + 1);
  if (sentence.s) usage_wrap(text, sentence.s, 0, 0);
  sm_text_free(&sentence);
}

void sm_usage_command(const sm_command *c, sm_text *text) {
  int n;
  const sm_option *globals = sm_cli_globals(&n);
  sm_text_add(text, "usage: smalti %s%s%s%s%s\n\n", c->name, c->n_options ? " [OPTIONS]" : "",
              *c->usage ? " " : "", c->usage, "");
  usage_add_sentence(text, c->summary);
  if (c->about) {
    sm_text about = {0};
    sm_command_about(c, &about);
    sm_text_add(text, "\n");
    if (about.s) usage_wrap(text, about.s, 0, 0);
    sm_text_free(&about);
  }
  if (c->n_options) sm_text_add(text, "\nOptions:\n");
  usage_add_options(text, c->options, c->n_options);
  sm_text_add(text, "\nGlobal options:\n");
  usage_add_options(text, globals, n);
}

void sm_usage_group(const char *group, sm_text *text) {
  int n;
  size_t length = strlen(group);
  const sm_command *const *commands = sm_commands(&n);
  for (int i = 0; i < n; i++) {
    const sm_command *c = commands[i];
    if (c->hidden || strncmp(c->name, group, length) != 0 || c->name[length] != ' ') continue;
    if (!text->s) sm_text_add(text, "usage: smalti %s SUBCOMMAND ...\n\n", group);
    usage_add_row(text, c->name, c->summary);
  }
  if (text->s) sm_text_add(text, "\n'smalti %s SUBCOMMAND --help' says more.\n", group);
}

void sm_usage_overview(sm_text *text) {
  int n, n_globals;
  const sm_command *const *commands = sm_commands(&n);
  const sm_option *globals = sm_cli_globals(&n_globals);
  sm_text_add(text,
              "usage: smalti [OPTIONS] COMMAND ...\n\n"
              "Pre-trains vision transformers without labels, from a YAML recipe.\n\n"
              "Commands:\n");
  for (int i = 0; i < n; i++)
    if (!commands[i]->hidden) usage_add_row(text, commands[i]->name, commands[i]->summary);
  sm_text_add(text, "\nGlobal options:\n");
  usage_add_options(text, globals, n_globals);
  sm_text_add(text, "\n'smalti COMMAND --help' says more about a command; the manual is smalti(1).\n");
}
