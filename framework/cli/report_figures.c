/* report_figures.c — figures of `smalti show` for a run's report, drawn into memory: small ones, of few
 * pictures, since a report is asked for often. Owns the PNGs and the reasons for those that are missing. */
#include <string.h>

#include "report_figures.h"
#include "show.h"

enum { LEAST_ROWS = 12, TILE_SIDE = 120 };

typedef struct figure_kind {
  const char *title, *about;
  sm_status (*draw)(sm_viewer *, sm_sheet *, sm_error *);
  int64_t pictures;
  bool patch_head; /* it asks the head about patches */
} figure_kind;

static sm_status report_figures_attention(sm_viewer *v, sm_sheet *sheet, sm_error *err) {
  return sm_show_attention(v, SM_SHOW_COLOURS, SM_SHOWN_MASS, sheet, err);
}

static sm_status report_figures_components(sm_viewer *v, sm_sheet *sheet, sm_error *err) {
  return sm_show_components(v, true, NULL, false, sheet, err);
}

static sm_status report_figures_patterns(sm_viewer *v, sm_sheet *sheet, sm_error *err) {
  return sm_show_layout(v, &(sm_pattern_options){.outputs = 8, .k = 9}, sheet, err);
}

static const figure_kind kinds[] = {
    {"Attention of [CLS]",
     "Last block. Each patch has the colour of the head that looks at it most, of those heads that have it "
     "within 60 % of their attention; beside it the mean of the heads, from dark, the least, to yellow, the most.",
     report_figures_attention, 4, false},
    {"Principal components of patches",
     "The first component tells the foreground; three components of the foreground are red, green and blue.",
     report_figures_components, 8, false},
    {"Patterns",
     "Outputs of the head that most patches choose, and the patches, tinted, that choose them most clearly.",
     report_figures_patterns, 64, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

struct sm_run_figures {
  sm_report_figure figure[KINDS];
  sm_report_figures all;
  sm_text about;
  bool seen; /* the network is there, and so are pictures */
  void *png[KINDS];
  char reason[KINDS][512];
};

void sm_run_figures_free(sm_run_figures *f) {
  if (!f) return;
  for (int i = 0; i < KINDS; i++) sm_free(f->png[i]);
  sm_text_free(&f->about);
  sm_free(f);
}

const sm_report_figures *sm_run_figures_all(const sm_run_figures *f) { return &f->all; }

/* Grids of a few patches show little: then the network sees a multiple of its training size. */
static void report_figures_size(sm_viewer *v, const figure_kind *kind) {
  const int rows = sm_network_describe(v->network)->backbone.rows;
  const int times = rows > 0 && rows < LEAST_ROWS ? (LEAST_ROWS + rows - 1) / rows : 1;
  v->height *= times, v->width *= times;
  if (kind->patch_head || rows < 1) return;
  v->cell = TILE_SIDE / (rows * times);
  if (v->cell < 4) v->cell = 4;
}

/* The same words whatever the run folder was called on the command line. */
static sm_status report_figures_about(const sm_viewer *v, sm_text *about, sm_error *err) {
  if (about->len) return SM_OK;
  sm_text_add(about, "Some of the run's test pictures, at %d pixels, in the eyes of %s.", v->height,
              sm_path_base(sm_network_describe(v->network)->file));
  return about->failed ? sm_fail(err, SM_ENOMEM, "no memory for a figure") : SM_OK;
}

static sm_status report_figures_one(sm_cli *cli, const char *run, sm_run_figures *f, int i, sm_error *err) {
  const figure_kind *kind = &kinds[i];
  sm_viewer v = {0};
  sm_image image = {0};
  sm_sheet *sheet = sm_sheet_new();
  const sm_network_options network = {.net = SM_NET_AUTO, .patch_head = kind->patch_head};
  sm_status status = sm_show_open(&v, cli, &network, run, "0", 0, err);
  if (!status) report_figures_size(&v, kind), status = report_figures_about(&v, &f->about, err);
  if (!status) status = sm_show_add(&v, NULL, 0, kind->pictures, err);
  f->seen |= !status;
  if (!status) status = kind->draw(&v, sheet, err);
  if (!status) status = sm_sheet_draw(sheet, &image, err);
  if (!status) status = sm_image_encode_png(&image, &f->png[i], &f->figure[i].bytes, err);
  sm_image_free(&image);
  sm_sheet_free(sheet);
  sm_show_close(&v);
  return status;
}

/* What the run is like is a reason to leave a figure out; what cannot be read just now is none. */
static bool report_figures_is_reason(sm_status status, sm_error *err) {
  if (status == SM_EIO) sm_hint(err, "--plain writes the report without figures of what the network sees");
  return status != SM_ENOMEM && status != SM_EIO && status != SM_EINTERNAL;
}

sm_run_figures *sm_run_figures_draw(sm_cli *cli, const char *run, sm_error *err) {
  sm_registry *registry;
  sm_run_figures *f = sm_calloc(1, sizeof *f);
  sm_status status = f ? sm_cli_registry(cli, &registry, err)
                       : sm_fail(err, SM_ENOMEM, "no memory for figures");
  sm_cli silent = *cli; /* what was taken from a run's own checkpoint is nothing to tell */
  silent.quiet = true;
  for (int i = 0; i < KINDS && !status && (f->seen || !i); i++) {
    status = report_figures_one(&silent, run, f, i, err);
    f->figure[i].title = kinds[i].title, f->figure[i].about = kinds[i].about;
    f->figure[i].png = f->png[i], f->figure[i].reason = f->reason[i];
    if (!status || !report_figures_is_reason(status, err)) continue;
    snprintf(f->reason[i], sizeof f->reason[i], "%.*s", (int)sizeof f->reason[i] - 1, err->message);
    sm_error_clear(err);
    status = SM_OK;
  }
  if (!status) {
    if (!f->seen) f->figure[0].title = "Every figure";
    f->all = (sm_report_figures){.figure = f->figure, .n = f->seen ? KINDS : 1};
    f->all.about = f->about.s ? f->about.s : "";
    return f;
  }
  sm_run_figures_free(f);
  return NULL;
}
