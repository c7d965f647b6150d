/* check.c — what holds for a plugin of any kind: its texts, its life cycle, memory, and one driver call an
 * instance. */
#define _GNU_SOURCE
#include <config.h>

#include <malloc.h>
#include <string.h>

#include "framework/recipe/recipe.h"

#include "framework/base/heap.h"
#include "driver.h"

#define CYCLES 1000
#define GROWTH_ALLOWED (16 << 10) /* bytes over all cycles: the C library keeps some for itself */

static const sm_check_driver drivers[SM_KIND_END] = {
    [SM_BACKBONE] = sm_check_backbone,     [SM_HEAD] = sm_check_head, [SM_MASKER] = sm_check_masker,
    [SM_TOKENIZER] = sm_check_tokenizer,   [SM_LOSS] = sm_check_loss, [SM_DATASET] = sm_check_dataset,
    [SM_EVALUATION] = sm_check_evaluation, [SM_OBJECTIVE] = sm_check_objective,
};

/* ---- lines --------------------------------------------------------------------------------------------- */

static void check_line(sm_checker *c, sm_check_mark mark, const char *text) {
  sm_text whole = {0};
  c->failed += mark == SM_CHECK_FAIL;
  sm_watch_sign();
  sm_text_add(&whole, "%s: %s", c->variant, text);
  c->config->line(c->config->ctx, mark, whole.failed ? text : whole.s);
  sm_text_free(&whole);
}

/* Said once a variant, though it may hold for several roles or sites. */
void sm_check_good(sm_checker *c, const char *fmt, ...) {
  char text[256];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (c->passed.s && strstr(c->passed.s, text)) return;
  sm_text_add(&c->passed, "%s%s", c->passed.len ? ", " : "", text);
}

bool sm_check_that(sm_checker *c, bool ok, const char *good, const char *bad, ...) {
  if (ok) {
    if (good) sm_check_good(c, "%s", good);
    return true;
  }
  char text[1200];
  va_list args;
  va_start(args, bad);
  vsnprintf(text, sizeof text, bad, args);
  va_end(args);
  check_line(c, SM_CHECK_FAIL, text);
  return false;
}

void sm_check_note(sm_checker *c, const char *fmt, ...) {
  char text[1200];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  check_line(c, SM_CHECK_NOTE, text);
}

bool sm_check_error(sm_checker *c, const char *what, const sm_error *err) {
  char text[sizeof(sm_error) + 16];
  return sm_check_that(c, false, NULL, "%s: %s", what, sm_error_text(err, text, sizeof text));
}

/* What runs from here on, also for who reads it after a crash. */
static void check_begin(sm_checker *c, const char *variant) {
  c->variant = variant;
  snprintf(c->config->watch->variant, sizeof c->config->watch->variant, "%s", variant);
}

/* The line of what passed since the last one. */
static void check_close_variant(sm_checker *c, int failed_before) {
  if (c->directions && c->gradient > 0)
    sm_check_good(c, "gradients to %.0e in %d %s", c->gradient, c->directions,
                  sm_plural(c->directions, "direction", "directions"));
  else if (c->directions)
    sm_check_good(c, "gradients exact in %d %s", c->directions,
                  sm_plural(c->directions, "direction", "directions"));
  c->gradient = c->directions = 0;
  if (c->failed == failed_before && !c->untried && c->passed.len && !c->passed.failed)
    check_line(c, SM_CHECK_PASS, c->passed.s);
  sm_text_free(&c->passed);
  c->untried = false;
}

/* ---- texts --------------------------------------------------------------------------------------------- */

static void check_sentence(sm_checker *c, const char *what, const char *text) {
  size_t n = strlen(text);
  sm_check_that(c, n > 0 && text[n - 1] != '.', NULL, "%s ends with a full stop; the listings add none",
                what);
  sm_check_that(c, n < 200, NULL, "%s is longer than one sentence (%zu characters)", what, n);
}

static void check_texts(sm_checker *c) {
  const sm_plugin *p = c->plugin;
  int before = c->failed;
  char what[128];
  check_begin(c, "description");
  check_sentence(c, "summary", p->summary);
  for (uint32_t k = 0; k < p->n_options; k++) {
    snprintf(what, sizeof what, "doc of option '%s'", p->options[k].name);
    check_sentence(c, what, p->options[k].doc);
  }
  sm_check_good(c, "%u %s, version %s, %s", p->n_options, sm_plural(p->n_options, "option", "options"),
                p->version, p->license);
  check_close_variant(c, before);
}

/* ---- instances ----------------------------------------------------------------------------------------- */

/* A filled instance, not yet created. */
static sm_status check_fill(const sm_checker *c, const char *yaml, sm_arena *arena, sm_instance *instance,
                            sm_error *err) {
  sm_status status = sm_instance_new(c->config->host, c->plugin, instance, err);
  if (!status) status = sm_options_fill(c->plugin, yaml, instance->self, arena, err);
  return status;
}

static size_t check_heap_in_use(void) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
  return mallinfo2().uordblks;
#else
  return 0;
#endif
}

static sm_status check_cycle(const sm_checker *c, const char *yaml, sm_error *err) {
  sm_instance instance = {0};
  sm_arena *arena = sm_arena_new("check");
  sm_status status =
      arena ? check_fill(c, yaml, arena, &instance, err) : sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status) status = sm_instance_create(&instance, err);
  if (instance.plugin) sm_instance_free(&instance);
  sm_arena_free(arena);
  return status;
}

/* create and destroy: leave nothing behind; failing allocations are told and leave nothing behind either. */
static bool check_life(sm_checker *c, const char *yaml) {
  sm_error err = {0};
  int before = c->failed, failures = 0;
  check_begin(c, "create and destroy");
  if (check_cycle(c, yaml, &err) != SM_OK) {
    if (yaml) sm_check_error(c, "the given options are refused", &err);
    else
      sm_check_that(c, false, NULL, "nothing was tried: the defaults are refused (%s); give --options",
                    err.message);
    return false;
  }
  for (int k = 0; k < 10; k++) check_cycle(c, yaml, &err);
  size_t start = check_heap_in_use();
  for (int k = 0; k < CYCLES; k++) check_cycle(c, yaml, &err);
  size_t end = check_heap_in_use();
  sm_check_that(c, end < start + GROWTH_ALLOWED, NULL, "%d times left %zu bytes behind", CYCLES, end - start);
  sm_check_good(c, "%d times", CYCLES);

  sm_instance instance = {0};
  sm_arena *arena = sm_arena_new("check");
  for (int k = 1; arena && k < 1000; k++) {
    if (check_fill(c, yaml, arena, &instance, &err) != SM_OK) break;
    sm_error own = {0};
    sm_heap_fail_at(k);
    sm_status status = sm_instance_create(&instance, &own);
    bool reached = sm_heap_calls() >= k;
    sm_heap_fail_at(0);
    sm_instance_free(&instance);
    if (!reached) break;
    failures++;
    if (status)
      sm_check_that(c, status == SM_ENOMEM, NULL, "allocation %d failed, but create says: %s", k,
                    own.message);
  }
  sm_arena_free(arena);
  if (failures) sm_check_good(c, "%d failing allocations", failures);
  check_close_variant(c, before);
  return true;
}

/* One piece of YAML: an instance the plugin may refuse (with words), else driven. */
static void check_variant(sm_checker *c, const char *yaml) {
  sm_error err = {0};
  sm_instance instance = {0};
  int before = c->failed;
  c->yaml = yaml;
  sm_arena *arena = sm_arena_new("check");
  sm_status status =
      arena ? check_fill(c, yaml, arena, &instance, &err) : sm_fail(&err, SM_ENOMEM, "out of memory");
  if (status) {
    sm_check_error(c, "the option table", &err);
  } else if ((status = sm_instance_create(&instance, &err)) != SM_OK) {
    if (sm_check_that(c, err.message[0] != 0, NULL, "refused without a reason"))
      sm_check_note(c, "refused: %s", err.message);
  } else {
    drivers[c->plugin->kind](c, &instance);
  }
  if (instance.plugin) sm_instance_free(&instance);
  sm_arena_free(arena);
  if (c->failed > before || c->passed.len || c->directions) c->config->watch->tried = true;
  check_close_variant(c, before);
}

/* ---- everything ---------------------------------------------------------------------------------------- */

/* All variants from one on. */
static void check_variants(sm_checker *c, sm_arena *arena, int first) {
  const char *yaml, *name;
  for (int k = first; sm_check_variant(c->plugin, c->config->options, k, arena, &yaml, &name); k++) {
    c->config->watch->part = 1 + k;
    check_begin(c, name);
    c->thorough = k == 0;
    check_variant(c, yaml);
  }
  check_begin(c, "all of them");
  sm_check_that(c, c->config->watch->tried, NULL,
                "nothing was tried: each instance was refused, or too large to run here; give --options");
}

sm_status sm_check_plugin(const sm_plugin *p, const sm_check_config *config, sm_error *err) {
  sm_checker c = {.plugin = sm_watch_plugin(config->watch, p), .config = config};
  const int first = config->watch->part;
  sm_status status = SM_OK;
  sm_arena *arena = sm_arena_new("variants");
  c.one = sm_pool_new(1, err);
  c.two = c.one ? sm_pool_new(2, err) : NULL;
  if (!arena || !c.two) status = sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status && !first) check_texts(&c), config->watch->tried = false;
  if (!status && (first || check_life(&c, config->options))) check_variants(&c, arena, first ? first - 1 : 0);
  sm_pool_free(c.two);
  sm_pool_free(c.one);
  sm_arena_free(arena);
  return status;
}
