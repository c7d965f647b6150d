/* read.c — a table recipe: from YAML to runs that know what they need.
 *
 * Keys are read through option tables like those of recipes; fragments of recipes (`shared`, `change`,
 * `evaluate`) are brought to one form here and laid over their recipes by jobs.c. Nothing but the one file is
 * opened. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "table.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* ---- keys ---------------------------------------------------------------------------------------------- */

typedef struct top_values {
  const char *title, *name, *base, *source;
  sm_ints seeds;
} top_values;

static const sm_option top_options[] = {
    SM_STRING(top_values, title, "table", NULL,
              "what the table shows, one line; the key that makes a file a table recipe"),
    SM_STRING(top_values, name, "name", "~", "name of the table and its folder; left out: the file's name"),
    SM_STRING(
        top_values, base, "base", "~",
        "recipe that all rows are changes of, as seen from the table recipe or from the recipe folders"),
    SM_STRING(top_values, source, "source", "~", "where the published figures were printed"),
    SM_INTS(top_values, seeds, "seeds", "~", 0, 9e15, NULL,
            "every row is trained once with each; left out: once, with its recipe's seed"),
};
static const sm_table_part top_parts[] = {
    {"smalti", "`1`, the version of the format; required"},
    {"shared", "a piece of a recipe, laid over the base of all rows"},
    {"marks", "titles of columns for signs such as ✓, a list"},
    {"figures",
     "columns of figures: a mapping from a title to EVALUATION.FIGURE, as `smalti eval` prints it"},
    {"evaluate", "evaluations after training, as in a recipe; left out: those of the rows' recipes"},
    {"rows", "a mapping from names to rows; required"},
    {"dependencies", "a mapping from names to runs that rows need and that are no rows"},
    {"other_data", "a mapping from names to pictures that evaluations look at in place of the rows' own"},
};

typedef struct run_values {
  const char *label, *recipe;
  bool every_seed;
  int net;
} run_values;

static const sm_option row_options[] = {
    SM_STRING(run_values, label, "label", "~", "what the table calls the row; left out: its key"),
    SM_STRING(run_values, recipe, "recipe", "~", "recipe in place of the base"),
    SM_CHOICE(run_values, net, "net", "auto", sm_net_names,
              "which weights are evaluated, as `smalti eval --net`; init, pixels: baselines, which share the run of a "
              "row with the same recipe"),
};
static const sm_table_part row_parts[] = {
    {"marks", "a list of signs, one for each of the table's `marks`"},
    {"published",
     "a list of printed figures, one for each of the table's `figures`; `~` where there is none"},
    {"change",
     "a piece of a recipe, laid over base and `shared`; a text `\"@NAME\"` is the run folder of a row or dependency"},
    {"evaluate", "laid over the table's `evaluate`"},
    {"shared", "a list of the parts of `shared` that the row takes, such as `data.train`; left out: all"},
};

static const sm_option dependency_options[] = {
    SM_STRING(run_values, label, "label", "~", "what messages call it; left out: its key"),
    SM_STRING(run_values, recipe, "recipe", "~", "recipe in place of the base"),
    SM_BOOL(run_values, every_seed, "every_seed", "false", "one run for each seed in place of one for all"),
};
static const sm_table_part dependency_parts[] = {
    {"change", "as in a row"},
    {"shared", "as in a row"},
};

static const sm_table_part other_parts[] = {
    {"evaluations", "a list of names of evaluations; required"},
    {"train", "a data set, as `data.train` of a recipe; left out: the row's"},
    {"test", "a data set, as `data.test` of a recipe; left out: the row's"},
};

enum { TOP, ROW, DEPENDENCY, OTHER, SECTIONS };
static const sm_table_section sections[SECTIONS] = {
    [TOP] = {"", "A table recipe.", top_options, COUNT(top_options), top_parts, COUNT(top_parts)},
    [ROW] = {"rows.NAME", "A row.", row_options, COUNT(row_options), row_parts, COUNT(row_parts)},
    [DEPENDENCY] = {"dependencies.NAME", "A run that rows need.", dependency_options,
                    COUNT(dependency_options), dependency_parts, COUNT(dependency_parts)},
    [OTHER] = {"other_data.NAME", "Pictures of evaluations that look at others than those of the rows.", NULL, 0,
               other_parts, COUNT(other_parts)},
};

const sm_table_section *sm_table_sections(int *n) {
  *n = SECTIONS;
  return sections;
}

enum { PARTS_MAX = 16 };

/* Options into `base`; the section's other keys are left to the caller. */
static sm_status read_section(const sm_table_section *s, const sm_yaml *map, const char *path, sm_place at,
                              sm_arena *arena, void *base, sm_error *err) {
  const char *also[PARTS_MAX];
  for (int i = 0; i < s->parts; i++) also[i] = s->part[i].key;
  also[s->parts] = NULL;
  return sm_options_read(s->options, s->n, map, path, also, at, arena, base, err);
}

/* ---- errors -------------------------------------------------------------------------------------------- */

static sm_status read_no_memory(sm_error *err) { return sm_fail(err, SM_ENOMEM, "out of memory"); }

static sm_status read_must_be(const sm_yaml *node, const char *what, const char *wanted, sm_error *err) {
  char found[80];
  sm_fail(err, SM_EINVAL, "%s must be %s, not %s", what, wanted, sm_yaml_what(node, found, sizeof found));
  return sm_fail_place(err, node->at);
}

/* ---- marks, figures, published ------------------------------------------------------------------------- */

/* A list of at most `max` texts. */
static sm_status read_texts(const sm_yaml *node, const char *what, const char **to, int max, int *n,
                            sm_error *err) {
  if (node->kind != SM_YAML_LIST) return read_must_be(node, what, "a list", err);
  if (node->n > max) {
    sm_fail(err, SM_EINVAL, "%s has %d entries, more than %d", what, node->n, max);
    return sm_fail_place(err, node->at);
  }
  for (int i = 0; i < node->n; i++) {
    const sm_yaml *v = node->entry[i].value;
    if (v->kind != SM_YAML_TEXT && v->kind != SM_YAML_NULL)
      return read_must_be(v, what, "a list of texts", err);
    to[i] = v->kind == SM_YAML_TEXT ? v->text : "";
  }
  *n = node->n;
  return SM_OK;
}

static sm_status read_figures(sm_table_recipe *t, const sm_yaml *node, sm_error *err) {
  if (node->kind != SM_YAML_MAP) {
    read_must_be(node, "figures", "a mapping from a column's title to a figure", err);
    return sm_hint(err, "for instance {k-NN: knn.top1}");
  }
  for (int i = 0; i < node->n; i++) {
    const sm_entry *e = &node->entry[i];
    if (i == SM_TABLE_FIGURES) {
      sm_fail(err, SM_EINVAL, "more than %d figures", SM_TABLE_FIGURES);
      return sm_fail_place(err, e->at);
    }
    if (e->value->kind != SM_YAML_TEXT || !strchr(e->value->text, '.')) {
      read_must_be(e->value, "a figure", "EVALUATION.FIGURE", err);
      return sm_hint(err, "for instance 'knn.top1'");
    }
    t->figure[t->figures++] = (sm_table_column){e->key, e->value->text, e->value->at};
  }
  return SM_OK;
}

static sm_status read_published(const sm_table_recipe *t, const sm_yaml *node, double *to, sm_error *err) {
  if (node->kind != SM_YAML_LIST) {
    read_must_be(node, "published", "a list of numbers", err);
    return sm_hint(err, "one for each of the table's figures, in their order; ~ where nothing was printed");
  }
  if (node->n != t->figures) {
    sm_fail(err, SM_EINVAL, "%d published %s, but the table has %d %s", node->n,
            sm_plural(node->n, "figure", "figures"), t->figures, sm_plural(t->figures, "figure", "figures"));
    sm_fail_place(err, node->at);
    return sm_hint(err, "write ~ where nothing was printed");
  }
  for (int i = 0; i < node->n; i++) {
    const sm_yaml *v = node->entry[i].value;
    if (v->kind == SM_YAML_NULL) continue;
    if (v->kind != SM_YAML_TEXT || !sm_parse_double(v->text, &to[i]))
      return read_must_be(v, "a published figure", "a number or ~", err);
  }
  return SM_OK;
}

static sm_status read_marks(const sm_table_recipe *t, const sm_yaml *node, sm_table_run *run, sm_error *err) {
  int n = 0;
  sm_status status = read_texts(node, "marks", run->mark, SM_TABLE_MARKS, &n, err);
  if (status || n == t->marks) return status;
  sm_fail(err, SM_EINVAL, "%d %s, but the table has %d %s of marks", n, sm_plural(n, "mark", "marks"),
          t->marks, sm_plural(t->marks, "column", "columns"));
  sm_fail_place(err, node->at);
  return sm_hint(err,
                 t->marks ? "write '' where there is none" : "name the columns at the top: 'marks: [A, B]'");
}

/* ---- fragments of recipes ------------------------------------------------------------------------------ */

/* In one form. A run's name is the table's affair. */
static sm_status read_fragment(sm_table_recipe *t, const sm_yaml *node, const char *what, const sm_yaml **to,
                          sm_error *err) {
  static const char *const not_here[] = {"smalti", "extends", "name", NULL};
  if (node->kind == SM_YAML_NULL) return SM_OK;
  if (node->kind != SM_YAML_MAP) return read_must_be(node, what, "a part of a recipe", err);
  for (int i = 0; not_here[i]; i++) {
    const sm_entry *e = sm_yaml_find(node, not_here[i]);
    if (!e) continue;
    sm_fail(err, SM_EINVAL, "%s cannot have '%s'", what, e->key);
    sm_fail_place(err, e->at);
    return sm_hint(err, i == 1 ? "a row's own recipe is named by 'recipe:'" : "runs are named by the table");
  }
  *to = sm_recipe_normalise(t->arena, node, err);
  return *to ? SM_OK : err->code;
}

/* {evaluate: …} of a row over that of the table. */
static sm_status read_evaluations(sm_table_recipe *t, const sm_yaml *node, const sm_yaml *parent,
                             const sm_yaml **to, sm_error *err) {
  sm_yaml *map = sm_yaml_new(t->arena, SM_YAML_MAP, node->at);
  if (!map || !sm_yaml_add(t->arena, map, "evaluate", node->at, (sm_yaml *)node)) return read_no_memory(err);
  sm_yaml *own = sm_recipe_normalise(t->arena, map, err);
  *to = own ? sm_recipe_merge(t->arena, parent, own, err) : NULL;
  return *to ? SM_OK : err->code;
}

/* `shared: [data.train]`: which parts of the table's `shared` a run takes. */
static sm_status read_takes(sm_table_run *run, const sm_yaml *node, sm_error *err) {
  run->takes_all = false;
  if (node->kind != SM_YAML_LIST) {
    read_must_be(node, "shared", "a list of keys", err);
    return sm_hint(
        err, "it says what the run takes of the table's 'shared', for instance [data.train]; [] is nothing");
  }
  return read_texts(node, "shared", run->take, SM_TABLE_TAKES, &run->takes, err);
}

static bool read_valid_key(const char *key) {
  size_t n = 0;
  for (; key[n]; n++)
    if (!isalnum((unsigned char)key[n]) && key[n] != '_' && key[n] != '-') return false;
  return n > 0 && n <= 64;
}

/* ---- other pictures ------------------------------------------------------------------------------------ */

static sm_status read_other_evaluations(const sm_table_recipe *t, const sm_yaml *node, sm_table_other *other,
                                        sm_error *err) {
  sm_status status = read_texts(node, "evaluations", other->evaluation, SM_SLOTS_MAX, &other->evaluations, err);
  for (int i = 0; i < other->evaluations && !status; i++) {
    const sm_table_other *before = sm_table_other_of(t, other->evaluation[i]);
    if (!before) continue;
    sm_fail(err, SM_EINVAL, "evaluation '%s' looks at other_data.%s already", other->evaluation[i], before->key);
    sm_fail_place(err, node->entry[i].value->at);
    status = sm_hint(err, "give the second one a name of its own under 'evaluate'");
  }
  return status;
}

/* {data: {train: …, test: …}} in one form. */
static sm_status read_other_data(sm_table_recipe *t, const sm_yaml *map, sm_table_other *other, sm_error *err) {
  static const char *const splits[] = {"train", "test"};
  sm_yaml *top = sm_yaml_new(t->arena, SM_YAML_MAP, map->at), *data = sm_yaml_new(t->arena, SM_YAML_MAP, map->at);
  bool good = top && data && sm_yaml_add(t->arena, top, "data", map->at, data);
  for (int i = 0; i < 2 && good; i++) {
    const sm_entry *e = sm_yaml_find(map, splits[i]);
    good = !e || sm_yaml_add(t->arena, data, e->key, e->at, e->value);
  }
  if (!good) return read_no_memory(err);
  const sm_yaml *normal = sm_recipe_normalise(t->arena, top, err);
  other->data = normal ? sm_yaml_get(normal, "data") : NULL;
  return other->data ? SM_OK : err->code;
}

static sm_status read_other(sm_table_recipe *t, const sm_entry *e, sm_error *err) {
  char path[128];
  sm_table_other *other = &t->other[t->others];
  snprintf(path, sizeof path, "other_data.%.80s", e->key);
  if (t->others == SM_TABLE_OTHERS) {
    sm_fail(err, SM_EINVAL, "more than %d entries in other_data", SM_TABLE_OTHERS);
    return sm_fail_place(err, e->at);
  }
  if (!read_valid_key(e->key)) {
    sm_fail(err, SM_EINVAL, "'%.80s' cannot be the name of pictures", e->key);
    sm_fail_place(err, e->at);
    return sm_hint(err, "use letters, digits, _ and -");
  }
  if (e->value->kind != SM_YAML_MAP) return read_must_be(e->value, path, "a mapping", err);
  *other = (sm_table_other){.key = e->key, .at = e->at};
  const sm_yaml *names = sm_yaml_get(e->value, "evaluations");
  sm_status status = read_section(&sections[OTHER], e->value, path, e->at, t->arena, NULL, err);
  if (!status && names) status = read_other_evaluations(t, names, other, err);
  if (!status && !other->evaluations) {
    sm_fail(err, SM_EINVAL, "%s says no evaluation that looks at it", path);
    sm_fail_place(err, e->at);
    return sm_hint(err, "list some: 'evaluations: [NAME]'");
  }
  if (!status && !sm_yaml_find(e->value, "train") && !sm_yaml_find(e->value, "test")) {
    sm_fail(err, SM_EINVAL, "%s has no pictures", path);
    sm_fail_place(err, e->at);
    return sm_hint(err, "give 'train', 'test' or both, as in 'data' of a recipe");
  }
  if (!status) status = read_other_data(t, e->value, other, err);
  if (!status) t->others++;
  return status;
}

static sm_status read_others(sm_table_recipe *t, const sm_yaml *node, sm_error *err) {
  if (node->kind != SM_YAML_MAP) return read_must_be(node, "other_data", "a mapping from names to pictures", err);
  sm_status status = SM_OK;
  for (int i = 0; i < node->n && !status; i++) status = read_other(t, &node->entry[i], err);
  return status;
}

/* ---- runs ---------------------------------------------------------------------------------------------- */

static sm_status read_check_key(const sm_table_recipe *t, const sm_entry *e, sm_error *err) {
  int other = sm_table_find(t, e->key);
  if (!read_valid_key(e->key)) {
    sm_fail(err, SM_EINVAL, "'%.80s' cannot be the name of a run", e->key);
    sm_fail_place(err, e->at);
    return sm_hint(err, "use letters, digits, _ and -; what the table shows is the row's 'label'");
  }
  if (other < 0) return SM_OK;
  sm_fail(err, SM_EINVAL, "'%s' is already a dependency, at line %d", e->key, t->run[other].at.line);
  sm_fail_place(err, e->at);
  return sm_hint(err, "rows and dependencies share their names; rename one");
}

static sm_status read_run(sm_table_recipe *t, const sm_entry *e, bool row, const sm_yaml *evaluate,
                          sm_error *err) {
  char path[128];
  run_values v = {0};
  sm_status status = read_check_key(t, e, err);
  if (status) return status;
  snprintf(path, sizeof path, "%s.%.80s", row ? "rows" : "dependencies", e->key);
  static const sm_yaml none = {.kind = SM_YAML_MAP};
  const sm_yaml *map = e->value->kind == SM_YAML_NULL ? &none : e->value;
  if (map->kind != SM_YAML_MAP) return read_must_be(map, path, "a mapping", err);
  status = read_section(&sections[row ? ROW : DEPENDENCY], map, path, e->at, t->arena, &v, err);
  sm_table_run *run = &t->run[t->runs];
  *run = (sm_table_run){.key = e->key,
                        .label = v.label ? v.label : e->key,
                        .row = row,
                        .at = e->at,
                        .recipe = v.recipe,
                        .net = (sm_net)v.net,
                        .every_seed = row || v.every_seed,
                        .takes_all = true,
                        .evaluate = row ? evaluate : NULL};
  for (int i = 0; i < SM_TABLE_MARKS; i++) run->mark[i] = "";
  for (int i = 0; i < SM_TABLE_FIGURES; i++) run->published[i] = NAN;
  const sm_yaml *marks = sm_yaml_get(map, "marks"), *published = sm_yaml_get(map, "published"),
                *change = sm_yaml_get(map, "change"), *own = sm_yaml_get(map, "evaluate"),
                *shared = sm_yaml_get(map, "shared");
  if (!status && marks) status = read_marks(t, marks, run, err);
  if (!status && published) status = read_published(t, published, run->published, err);
  if (!status && change) status = read_fragment(t, change, "change", &run->change, err);
  if (!status && own) status = read_evaluations(t, own, evaluate, &run->evaluate, err);
  if (!status && shared) status = read_takes(run, shared, err);
  if (!status && !run->recipe && !t->base) {
    sm_fail(err, SM_EINVAL, "%s has no recipe, and the table has no base", path);
    sm_fail_place(err, e->at);
    status = sm_hint(err, "name one at the top, 'base: RECIPE', or here, 'recipe: RECIPE'");
  }
  if (!status) t->runs++;
  return status;
}

static sm_status read_runs(sm_table_recipe *t, const sm_yaml *dependencies, const sm_yaml *rows,
                           const sm_yaml *evaluate, sm_error *err) {
  const sm_yaml *part[] = {dependencies, rows};
  sm_status status = SM_OK;
  int n = 0;
  for (int i = 0; i < 2; i++) {
    if (part[i] && part[i]->kind != SM_YAML_MAP)
      return read_must_be(part[i], i ? "rows" : "dependencies", "a mapping from names to runs", err);
    n += part[i] ? part[i]->n : 0;
  }
  if (!rows || !rows->n) {
    sm_fail(err, SM_EINVAL, "the table has no rows");
    return sm_fail_at(err, t->file, 0, 0);
  }
  t->run = sm_arena_alloc(t->arena, (size_t)n * sizeof *t->run);
  t->order = sm_arena_alloc(t->arena, (size_t)n * sizeof *t->order);
  if (!t->run || !t->order) return read_no_memory(err);
  for (int i = 0; i < 2; i++)
    for (int k = 0; part[i] && k < part[i]->n && !status; k++)
      status = read_run(t, &part[i]->entry[k], i, evaluate, err);
  return status;
}

/* ---- who needs whom ------------------------------------------------------------------------------------ */

int sm_table_find(const sm_table_recipe *t, const char *key) {
  for (int i = 0; i < t->runs; i++)
    if (!strcmp(t->run[i].key, key)) return i;
  return -1;
}

static sm_status read_unknown_run(const sm_table_recipe *t, const sm_yaml *node, const char *name,
                                  sm_error *err) {
  const char **names = sm_arena_alloc(t->arena, (size_t)(t->runs + 1) * sizeof *names);
  if (!names) return read_no_memory(err);
  for (int i = 0; i < t->runs; i++) names[i] = t->run[i].key;
  sm_fail(err, SM_EINVAL, "no row or dependency is called '%.80s'", name);
  sm_hint_names(err, name, names, "there are");
  return sm_fail_place(err, node->at);
}

static sm_status read_find_needs(const sm_table_recipe *t, sm_table_run *run, const sm_yaml *node,
                                 sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < node->n && !status; i++) status = read_find_needs(t, run, node->entry[i].value, err);
  if (status || node->kind != SM_YAML_TEXT || node->text[0] != '@') return status;
  char *name = sm_arena_strndup(t->arena, node->text + 1, strcspn(node->text + 1, "/"));
  if (!name) return read_no_memory(err);
  int found = sm_table_find(t, name);
  if (found < 0) return read_unknown_run(t, node, name, err);
  for (int i = 0; i < run->needs; i++)
    if (run->need[i] == found) return SM_OK;
  const sm_table_run *other = &t->run[found];
  if (run->needs == SM_TABLE_NEEDS) {
    sm_fail(err, SM_EINVAL, "'%s' needs more than %d other runs", run->key, SM_TABLE_NEEDS);
    return sm_fail_place(err, node->at);
  }
  if (!run->every_seed && other->every_seed) {
    sm_fail(err, SM_EINVAL, "'%s' is one run for all seeds and cannot need '%s', which is one for each",
            run->key, other->key);
    sm_fail_place(err, node->at);
    return sm_hint(err, "say 'every_seed: true'");
  }
  run->need[run->needs++] = found;
  return SM_OK;
}

typedef struct walk {
  sm_table_recipe *t;
  char *state; /* 0: not seen, 1: on the way, 2: done */
  int *way, depth, done;
  sm_error *err;
} walk;

static sm_status read_circle(walk *w, int run) {
  sm_text text = {0};
  int from = 0;
  while (w->way[from] != run) from++;
  for (int i = from; i < w->depth; i++) sm_text_add(&text, "%s -> ", w->t->run[w->way[i]].key);
  sm_fail(w->err, SM_EINVAL, "runs need each other: %s%s", text.s ? text.s : "", w->t->run[run].key);
  sm_text_free(&text);
  return sm_fail_place(w->err, w->t->run[run].at);
}

static sm_status read_visit(walk *w, int run) {
  if (w->state[run] == 2) return SM_OK;
  if (w->state[run] == 1) return read_circle(w, run);
  w->state[run] = 1;
  w->way[w->depth++] = run;
  sm_status status = SM_OK;
  for (int i = 0; i < w->t->run[run].needs && !status; i++) status = read_visit(w, w->t->run[run].need[i]);
  w->depth--;
  w->state[run] = 2;
  w->t->order[w->done++] = run;
  return status;
}

static sm_status read_order_runs(sm_table_recipe *t, sm_error *err) {
  walk w = {.t = t,
            .err = err,
            .state = sm_arena_alloc(t->arena, (size_t)t->runs),
            .way = sm_arena_alloc(t->arena, (size_t)(t->runs + 1) * sizeof(int))};
  if (!w.state || !w.way) return read_no_memory(err);
  sm_status status = SM_OK;
  for (int i = 0; i < t->runs && !status; i++)
    if (t->run[i].change) status = read_find_needs(t, &t->run[i], t->run[i].change, err);
  for (int i = 0; i < t->runs && !status; i++) status = read_visit(&w, i);
  return status;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static const char *read_default_name(sm_arena *arena, const char *file) {
  const char *base = sm_path_base(file), *dot = strrchr(base, '.');
  return sm_arena_strndup(arena, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

static sm_status read_check_name(const sm_table_recipe *t, const sm_yaml *tree, sm_error *err) {
  const sm_yaml *written = sm_yaml_get(tree, "name");
  const char *fault = sm_recipe_name_fault(t->name);
  if (!fault) return SM_OK;
  sm_fail(err, SM_EINVAL, "the name '%.80s' cannot be a folder's: %s", t->name, fault);
  sm_fail_place(err, written ? written->at : (sm_place){t->file, 0, 0});
  return sm_hint(err, written ? "give another name" : "say another one in the recipe: 'name: NAME'");
}

static sm_status read_check_seeds(const sm_table_recipe *t, const sm_yaml *tree, sm_error *err) {
  for (int i = 0; i < t->seeds.n; i++)
    for (int k = 0; k < i; k++) {
      if (t->seeds.v[i] != t->seeds.v[k]) continue;
      sm_fail(err, SM_EINVAL, "seed %lld stands twice", (long long)t->seeds.v[i]);
      return sm_fail_place(err, sm_yaml_get(tree, "seeds")->at);
    }
  return SM_OK;
}

static sm_status read_no_table(const sm_yaml *tree, sm_error *err) {
  sm_fail(err, SM_EINVAL, "this is no table recipe: it has no key 'table'");
  sm_fail_place(err, tree->at);
  return sm_hint(err, sm_yaml_find(tree, "rows") ? "say what the table shows: 'table: TEXT'"
                                                 : "a recipe of one run is for `smalti train`");
}

static sm_status read_load(sm_table_recipe *t, const char *path, sm_error *err) {
  top_values v = {0};
  if (!(t->file = sm_recipe_find(t->arena, "", path, err))) return err->code;
  sm_yaml *tree = sm_recipe_file(t->arena, t->file, true, err);
  if (!tree) return err->code;
  if (!sm_yaml_find(tree, "table")) return read_no_table(tree, err);
  sm_status status = read_section(&sections[TOP], tree, "", tree->at, t->arena, &v, err);
  if (status) return status;
  const char *slash = strrchr(t->file, '/');
  t->folder =
      slash ? sm_arena_strndup(t->arena, t->file, slash == t->file ? 1 : (size_t)(slash - t->file)) : "";
  t->title = v.title, t->base = v.base, t->source = v.source, t->seeds = v.seeds;
  t->name = v.name ? v.name : read_default_name(t->arena, t->file);
  if (!t->folder || !t->name) return read_no_memory(err);
  const sm_yaml *marks = sm_yaml_get(tree, "marks"), *figures = sm_yaml_get(tree, "figures"),
                *shared = sm_yaml_get(tree, "shared"), *evaluate = sm_yaml_get(tree, "evaluate"),
                *others = sm_yaml_get(tree, "other_data"), *own = NULL;
  status = read_check_name(t, tree, err);
  if (!status) status = read_check_seeds(t, tree, err);
  if (!status && marks) status = read_texts(marks, "marks", t->mark, SM_TABLE_MARKS, &t->marks, err);
  if (!status && figures) status = read_figures(t, figures, err);
  if (!status && shared) status = read_fragment(t, shared, "shared", &t->shared, err);
  if (!status && evaluate) status = read_evaluations(t, evaluate, NULL, &own, err);
  if (!status && others) status = read_others(t, others, err);
  if (!status) status = read_runs(t, sm_yaml_get(tree, "dependencies"), sm_yaml_get(tree, "rows"), own, err);
  return status ? status : read_order_runs(t, err);
}

sm_status sm_table_recipe_load(sm_table_recipe **out, const char *path, sm_error *err) {
  sm_error own;
  if (!err) err = &own;
  sm_error_clear(err);
  *out = NULL;
  sm_arena *arena = sm_arena_new("table recipe");
  sm_table_recipe *t = arena ? sm_arena_alloc(arena, sizeof *t) : NULL;
  if (!t) {
    sm_arena_free(arena);
    return read_no_memory(err);
  }
  t->arena = arena;
  sm_status status = read_load(t, path, err);
  if (status) sm_table_recipe_free(t);
  else *out = t;
  return status;
}

void sm_table_recipe_free(sm_table_recipe *t) {
  if (t) sm_arena_free(t->arena);
}

sm_status sm_table_recipe_is(const char *path, bool *is, sm_error *err) {
  sm_error own = {0};
  sm_arena *arena = sm_arena_new("recipe");
  *is = false;
  if (!arena) return read_no_memory(err);
  const char *file = sm_recipe_find(arena, "", path, &own);
  *is = file && sm_yaml_find(sm_recipe_file(arena, file, false, &own), "table");
  sm_arena_free(arena);
  if (own.code != SM_EIO && own.code != SM_ENOMEM) return SM_OK; /* who reads it says what is wrong with it */
  if (err) *err = own;
  return own.code;
}
