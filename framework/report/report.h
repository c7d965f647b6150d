/* framework/report/report.h — tables, line charts, and the report of a run.
 *
 * Tables come as text for a terminal, Markdown, LaTeX, CSV and HTML; charts as SVG without scripts; a report
 * is one HTML file that needs nothing beside it: no network, no scripts. Equal input gives equal bytes. All
 * text is UTF-8; whatever comes from files is escaped. Nothing here knows how a run is trained: it reads the
 * files of the run's folder. */
#ifndef SM_REPORT_H
#define SM_REPORT_H

#include <smalti/base.h>

/* ---- tables ------------------------------------------------------------------------------------------- */

/* Columns are declared first, then cells are given row by row:
 *
 *   sm_tabular *t = sm_tabular_new("k-NN on CIFAR-10");
 *   sm_tabular_column(t, "recipe", SM_ALIGN_LEFT);
 *   sm_tabular_column(t, "top-1", SM_ALIGN_RIGHT);
 *   sm_tabular_cell(t, "ibot");  sm_tabular_cell(t, "%.1f", 45.23);
 *   sm_tabular_render(t, SM_TABULAR_TEXT, &text);
 *   sm_tabular_free(t);
 *
 * Errors (no memory, a column after the first cell) are sticky and reported by sm_tabular_render; `t` may be
 * NULL. */
typedef struct sm_tabular sm_tabular;
typedef enum { SM_ALIGN_LEFT, SM_ALIGN_RIGHT, SM_ALIGN_CENTRE } sm_align;
typedef enum {
  SM_TABULAR_TEXT,     /* aligned by display width, box-drawing rules                           */
  SM_TABULAR_MARKDOWN, /* GitHub's tables, columns aligned in the source too                    */
  SM_TABULAR_LATEX,    /* a table environment with booktabs rules                               */
  SM_TABULAR_CSV,      /* RFC 4180, header line first; caption and rules are left out; a text that a
                          spreadsheet would compute begins with an apostrophe */
  SM_TABULAR_HTML      /* a <table> with <caption>, <thead>, <tbody>; alignment as a class name */
} sm_tabular_format;

sm_tabular *sm_tabular_new(const char *caption); /* caption may be NULL or empty */
void sm_tabular_column(sm_tabular *, const char *title, sm_align);
void sm_tabular_cell(sm_tabular *, const char *fmt, ...)
    SM_PRINTF(2, 3);            /* the next cell, left to right, top to bottom */
void sm_tabular_bold(sm_tabular *);   /* the last cell is the best of its kind      */
void sm_tabular_second(sm_tabular *); /* or the second: underlined                  */
void sm_tabular_rule(
    sm_tabular *); /* a line before the next row; a row not full is filled with empty cells */
/* Sentences below the table, in Markdown and LaTeX. */
void sm_tabular_note(sm_tabular *, const char *text);
size_t sm_tabular_rows(const sm_tabular *);
/* Appends to `out`. A last row that is not full counts as filled with empty
 * cells. SM_ENOMEM or SM_EINTERNAL. */
sm_status sm_tabular_render(const sm_tabular *, sm_tabular_format, sm_text *out);
void sm_tabular_free(sm_tabular *);

/* Appends `text` to a line of Markdown outside tables, so that it shows as it is. */
void sm_markdown_text(sm_text *out, const char *text);

/* Columns a terminal gives to a UTF-8 text: 2 for East Asian wide characters and pictographs, 0 for combining
 * marks. */
size_t sm_text_width(const char *utf8);

/* ---- charts ------------------------------------------------------------------------------------------- */

typedef struct sm_chart_series {
  const char *name;
  const double *x, *y; /* x ascending; y NaN leaves a gap */
  size_t n;
  bool dashed;
  int colour; /* 1 … 8; 0: by its place in the list */
} sm_chart_series;

/* A level to compare with: a horizontal dotted line with its name at the right. */
typedef struct sm_chart_level {
  const char *name;
  double y;
} sm_chart_level;

typedef struct sm_chart {
  const char *title; /* never NULL */
  const char
      *description; /* for those who cannot see the picture; NULL: made from the series' names and ends */
  const char *x_label, *y_label; /* with unit; NULL: none */
  bool log_y;                    /* falls back to linear where values are not positive */
  double least_span; /* what a linear y axis shows at least, so that noise looks small; 0: anything */
  bool embedded;     /* part of a page: no title text and no style of its own (the page's classes apply) */
  int width, height; /* in CSS pixels; 0: 560 x 320 */
  const sm_chart_series *series;
  size_t nseries;
  const sm_chart_level *levels;
  size_t nlevels;
} sm_chart;

/* Appends one <svg>. A series of more points than the picture can show is drawn as the mean of each bin of x
 * over a band from the bin's smallest to its largest value, so that no peak disappears. Colours follow the
 * reader's light or dark setting. A chart without any finite value says "no data". SM_ENOMEM only. */
sm_status sm_chart_svg(const sm_chart *, sm_text *out);

/* Round steps for an axis from `low` to `high` (low < high) with about `wanted` marks: 1, 2 or 5 times a
 * power of ten. Gives the first mark and the step, and returns how many marks, first + i * step, lie up to
 * high: at most twice as many as wanted and one, whatever the numbers are. */
int sm_chart_ticks(double low, double high, int wanted, double *first, double *step);

/* ---- reports ------------------------------------------------------------------------------------------ */

/* A figure of what the run's network sees, drawn by a floor that can open it: a PNG in memory, or the reason
 * why there is none. */
typedef struct sm_report_figure {
  const char *title, *about;
  const void *png; /* NULL: none */
  size_t bytes;
  const char *reason; /* without png */
} sm_report_figure;
typedef struct sm_report_figures {
  const sm_report_figure *figure;
  size_t n;
  const char *about; /* of all of them: "Step 1200, test pictures." */
} sm_report_figures;

/* Writes RUN_FOLDER/report.html from what is there and from the figures, which may be NULL; missing files are
 * left out, damaged lines are counted and named:
 *
 *   metrics.jsonl     {"step":…,"epoch":…,NAME:number…} a logged step, {"step":…,"eval":NAME,…} an evaluation
 *   timing.jsonl      {"step":…,"images_per_s":…,"seconds":…,"rss":bytes,"loader_wait":seconds}
 *   recipe.yaml       the resolved recipe          environment.json   versions, plugins, processor
 *   *.png             preview and masks            bad-pictures.txt   one per line, TAB between fields
 *
 * A folder without metrics.jsonl is SM_ENOTFOUND. */
sm_status sm_report_run(const char *run_folder, const sm_report_figures *, sm_error *);

/* One page with the curves of several runs over each other and a table of their
 * final figures, to `out_path`. */
sm_status sm_report_compare(const char *const *run_folders, size_t n, const char *out_path, sm_error *);

#endif
