/* descriptor.c — checks what a module says about a plugin: its texts, its option table, its ops table.
 *
 * It calls nothing of the plugin. Every refusal names the plugin, the field, the value found and the value
 * wanted. */
#include <math.h>
#include <string.h>

#include "kind.h"
#include "loader.h"
#include "option.h"

#define OPTIONS_MAX 256
#define INSTANCE_MAX ((size_t)64 << 20)

/* ---- sizes of option types ------------------------------------------------------------------------- */

static const struct {
  const char *name;
  size_t size, align;
  bool optional; /* may be left out: "~" */
} types[] = {
    [SM_OPT_INT] = {"int", sizeof(int64_t), _Alignof(int64_t), false},
    [SM_OPT_FLOAT] = {"float", sizeof(double), _Alignof(double), false},
    [SM_OPT_BOOL] = {"bool", sizeof(bool), _Alignof(bool), false},
    [SM_OPT_STRING] = {"string", sizeof(char *), _Alignof(char *), true},
    [SM_OPT_PATH] = {"path", sizeof(char *), _Alignof(char *), true},
    [SM_OPT_CHOICE] = {"choice", sizeof(int), _Alignof(int), false},
    [SM_OPT_FLOATS] = {"floats", sizeof(sm_floats), _Alignof(sm_floats), true},
    [SM_OPT_INTS] = {"ints", sizeof(sm_ints), _Alignof(sm_ints), true},
    [SM_OPT_SCHEDULE] = {"schedule", sizeof(sm_schedule), _Alignof(sm_schedule), false},
};
#define TYPES (sizeof types / sizeof *types)

static bool descriptor_good_name(const char *name) {
  return name[0] && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(name);
}

/* ---- options --------------------------------------------------------------------------------------- */

/* One option by itself: what is wrong with it, or "". */
static const char *descriptor_option_problem(const sm_plugin *p, const sm_option *o, char *buf, size_t size) {
  buf[0] = 0;
  size_t type = (size_t)o->type;
  if (!descriptor_good_name(o->name)) return "the name may hold only a-z, 0-9 and _";
  if (type >= TYPES) {
    snprintf(buf, size, "type %d is not one of the %zu option types", (int)o->type, TYPES);
  } else if (o->offset > p->instance_size || p->instance_size - o->offset < types[type].size) {
    snprintf(buf, size, "offset %zu and %zu bytes lie beyond the instance's %zu bytes (instance_size)",
             o->offset, types[type].size, p->instance_size);
  } else if (o->offset % types[type].align != 0) {
    snprintf(buf, size, "offset %zu is not a multiple of %zu, as %s needs", o->offset, types[type].align,
             types[type].name);
  } else if (isnan(o->min) || isnan(o->max) || o->min > o->max) {
    snprintf(buf, size, "min %g is not below max %g", o->min, o->max);
  } else if (!o->doc || !o->doc[0]) {
    snprintf(buf, size, "doc is %s", o->doc ? "empty" : "NULL");
  } else if (o->type == SM_OPT_CHOICE && (!o->choices || !o->choices[0])) {
    snprintf(buf, size, "a choice needs a list of choices");
  } else if (o->def && !strcmp(o->def, "~") && !types[type].optional) {
    snprintf(buf, size, "default '~' (left out) is for strings, paths and lists only");
  }
  return buf;
}

/* The default must read as a recipe's value would. */
static sm_status descriptor_check_default(const char *who, const sm_option *o, sm_arena *arena,
                                          sm_error *err) {
  union { /* whatever the type may be */
    sm_floats floats;
    sm_ints ints;
    sm_schedule schedule;
  } value;
  sm_option alone = *o;
  alone.offset = 0;
  sm_error why = {0};
  sm_status status = sm_option_default(&alone, "", arena, &value, &why);
  if (!status) return SM_OK;
  return sm_fail(err, status == SM_ENOMEM ? status : SM_EINVAL, "%s: %s", who, why.message);
}

static sm_status descriptor_check_pair(const char *who, const sm_option *a, const sm_option *b,
                                       sm_error *err) {
  if (!strcmp(a->name, b->name))
    return sm_fail(err, SM_EINVAL, "%s: two options are called '%s'", who, a->name);
  if (a->offset < b->offset + types[b->type].size && b->offset < a->offset + types[a->type].size)
    return sm_fail(err, SM_EINVAL, "%s: options '%s' and '%s' lie on the same bytes of the instance", who,
                   a->name, b->name);
  return SM_OK;
}

static sm_status descriptor_check_rows(const sm_plugin *p, const char *who, sm_arena *arena, sm_error *err) {
  char problem[256];
  if (p->n_options > OPTIONS_MAX)
    return sm_fail(err, SM_EINVAL, "%s: n_options is %u, above %d", who, p->n_options, OPTIONS_MAX);
  if (p->n_options && !p->options)
    return sm_fail(err, SM_EINVAL, "%s: n_options is %u but options is NULL", who, p->n_options);
  for (uint32_t k = 0; k < p->n_options; k++) {
    const sm_option *o = &p->options[k];
    if (!o->name) return sm_fail(err, SM_EINVAL, "%s: option %u has no name", who, k);
    const char *wrong = descriptor_option_problem(p, o, problem, sizeof problem);
    if (wrong[0]) return sm_fail(err, SM_EINVAL, "%s: option '%s': %s", who, o->name, wrong);
    sm_status status = descriptor_check_default(who, o, arena, err);
    for (uint32_t j = 0; j < k && !status; j++) status = descriptor_check_pair(who, &p->options[j], o, err);
    if (status) return status;
  }
  return SM_OK;
}

static sm_status descriptor_check_options(const sm_plugin *p, const char *who, sm_error *err) {
  sm_arena *arena = sm_arena_new("defaults"); /* of what reading them takes */
  if (!arena) return sm_fail(err, SM_ENOMEM, "out of memory while listing plugins");
  sm_status status = descriptor_check_rows(p, who, arena, err);
  sm_arena_free(arena);
  return status;
}

/* The place of the host, if the plugin wants it. */
static sm_status descriptor_check_host(const sm_plugin *p, const char *who, sm_error *err) {
  if (p->host % _Alignof(void *) || (p->host && p->host + sizeof(void *) > p->instance_size))
    return sm_fail(err, SM_EINVAL,
                   "%s: host %zu is no place of a pointer in the instance's %zu bytes (instance_size)", who,
                   p->host, p->instance_size);
  for (uint32_t k = 0; p->host && k < p->n_options; k++) {
    const sm_option *o = &p->options[k];
    if (o->offset < p->host + sizeof(void *) && p->host < o->offset + types[o->type].size)
      return sm_fail(err, SM_EINVAL, "%s: option '%s' and the host lie on the same bytes of the instance",
                     who, o->name);
  }
  return SM_OK;
}

/* ---- ops table ------------------------------------------------------------------------------------- */

static sm_status descriptor_check_ops(const sm_plugin *p, const sm_kind_row *kind, const char *who,
                                      sm_error *err) {
  if (!p->ops) return sm_fail(err, SM_EINVAL, "%s: ops is NULL", who);
  for (const sm_callback *call = kind->required; call->name; call++) {
    void (*function)(void);
    memcpy(&function, (const char *)p->ops + call->offset, sizeof function);
    if (!function) {
      sm_fail(err, SM_EINVAL, "%s: the callback '%s' is NULL", who, call->name);
      return sm_hint(err, "every %s needs it; see sm_%s_ops in smalti/%s.h", kind->name, kind->name,
                     kind->name);
    }
  }
  return SM_OK;
}

/* ---- descriptor ------------------------------------------------------------------------------------ */

static sm_status descriptor_check_texts(const sm_plugin *p, const char *who, sm_error *err) {
  const struct {
    const char *field, *text;
  } needed[] = {{"summary", p->summary}, {"version", p->version}, {"license", p->license}};
  for (size_t k = 0; k < sizeof needed / sizeof *needed; k++)
    if (!needed[k].text || !needed[k].text[0])
      return sm_fail(err, SM_EINVAL, "%s: %s is %s", who, needed[k].field, needed[k].text ? "empty" : "NULL");
  return SM_OK;
}

sm_status sm_descriptor_check(const sm_plugin *p, sm_error *err) {
  char who[160];
  if (!p->name) return sm_fail(err, SM_EINVAL, "a descriptor's name is NULL");
  const sm_kind_row *kind = sm_kind_row_of(p->kind);
  if (!kind)
    return sm_fail(err, SM_EUNSUPPORTED, "plugin '%.64s': kind is %u, not 1 to %d", p->name, p->kind,
                   SM_KIND_END - 1);
  snprintf(who, sizeof who, "%s '%.64s'", kind->name, p->name);
  if (!descriptor_good_name(p->name) || strlen(p->name) > 63)
    return sm_fail(err, SM_EINVAL, "%s: the name must be 1 to 63 of a-z, 0-9 and _", who);
  if (p->instance_size > INSTANCE_MAX)
    return sm_fail(err, SM_EINVAL, "%s: instance_size is %zu bytes, above %zu", who, p->instance_size,
                   INSTANCE_MAX);
  sm_status status = descriptor_check_texts(p, who, err);
  if (!status) status = descriptor_check_options(p, who, err);
  if (!status) status = descriptor_check_host(p, who, err);
  if (!status) status = descriptor_check_ops(p, kind, who, err);
  return status;
}
