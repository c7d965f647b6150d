/* test_report_parts.c — what reports are made of: tables in all formats, numbers and axis marks, charts. */
#include <float.h>
#include <math.h>

#include "framework/report/report.h"
#include "framework/report/chart.h"
#include "framework/report/html.h"

#include "markup.h"

/* ---- tables ------------------------------------------------------------------------------------------- */

static sm_tabular *sample_table(void) {
  sm_tabular *t = sm_tabular_new("k-NN, 5 % of data_set");
  sm_tabular_column(t, "recipe", SM_ALIGN_LEFT);
  sm_tabular_column(t, "top-1", SM_ALIGN_RIGHT);
  sm_tabular_column(t, "a|b", SM_ALIGN_CENTRE);
  sm_tabular_cell(t, "ibot_ü");
  sm_tabular_cell(t, "%.1f", 45.25);
  sm_tabular_bold(t);
  sm_tabular_cell(t, "x, \"y\"");
  sm_tabular_cell(t, "日本 <i>");
  sm_tabular_cell(t, "%d", -7);
  sm_tabular_cell(t, "#{~}");
  sm_tabular_rule(t);
  sm_tabular_cell(t, "last");
  return t;
}

static void assert_table(sm_tabular_format format, const char *wanted) {
  sm_tabular *t = sample_table();
  sm_text text = {0};
  assert_int_equal(sm_tabular_rows(t), 3);
  assert_int_equal(sm_tabular_render(t, format, &text), SM_OK);
  assert_string_equal(text.s, wanted);
  sm_text_free(&text);
  sm_tabular_free(t);
}

static void table_formats(void **state) {
  assert_table(SM_TABULAR_TEXT,
               "k-NN, 5 % of data_set\n\n"
               "recipe    top-1   a|b\n"
               "────────  ─────  ──────\n"
               "ibot_ü     45.2  x, \"y\"\n"
               "日本 <i>     -7   #{~}\n"
               "────────  ─────  ──────\n"
               "last\n");
  assert_table(SM_TABULAR_MARKDOWN,
               "k-NN, 5 % of data_set\n\n"
               "| recipe    |    top-1 |  a\\|b  |\n"
               "| --------- | -------: | :----: |\n"
               "| ibot\\_ü   | **45.2** | x, \"y\" |\n"
               "| 日本 \\<i> |       -7 |  #{~}  |\n"
               "| last      |          |        |\n");
  assert_table(
      SM_TABULAR_LATEX,
      "\\begin{table}\n  \\centering\n  \\caption{k-NN, 5 \\% of data\\_set}\n  \\begin{tabular}{lrc}\n"
      "    \\toprule\n    recipe & top-1 & a\\textbar{}b \\\\\n    \\midrule\n"
      "    ibot\\_ü & \\textbf{45.2} & x, \"y\" \\\\\n"
      "    日本 $<$i$>$ & $-$7 & \\#\\{\\textasciitilde{}\\} \\\\\n    \\midrule\n"
      "    last &  &  \\\\\n    \\bottomrule\n  \\end{tabular}\n\\end{table}\n");
  assert_table(SM_TABULAR_CSV,
               "recipe,top-1,a|b\r\nibot_ü,45.2,\"x, \"\"y\"\"\"\r\n日本 <i>,-7,#{~}\r\nlast,,\r\n");
  assert_table(
      SM_TABULAR_HTML,
      "<table>\n<caption>k-NN, 5 % of data_set</caption>\n<thead><tr><th scope=\"col\" style=\"white-space:nowrap\">recipe</th>"
      "<th scope=\"col\" class=\"right\" style=\"white-space:nowrap\">top-1</th><th scope=\"col\" class=\"centre\" style=\"white-space:nowrap\">a|b</th></tr></thead>\n"
      "<tbody>\n<tr><td>ibot_ü</td><td class=\"right\"><b>45.2</b></td><td class=\"centre\">x, &quot;y&quot;"
      "</td></tr>\n<tr><td>日本 &lt;i&gt;</td><td class=\"right\">-7</td><td "
      "class=\"centre\">#{~}</td></tr>\n"
      "<tr class=\"rule\"><td>last</td><td class=\"right\"></td><td class=\"centre\"></td></tr>\n</tbody>\n"
      "</table>\n");
}

/* One column "T" and one cell, in a format, without what stands around them. */
static void assert_cell(sm_tabular_format format, const char *cell, const char *wanted) {
  sm_tabular *t = sm_tabular_new(NULL);
  sm_text text = {0};
  sm_tabular_column(t, "T", SM_ALIGN_LEFT);
  sm_tabular_cell(t, "%s", cell);
  assert_int_equal(sm_tabular_render(t, format, &text), SM_OK);
  if (!strstr(text.s, wanted)) fail_msg("no '%s' in: %s", wanted, text.s);
  for (const char *c = text.s; *c; c++) assert_true((unsigned char)*c >= 0x20 || *c == '\n' || *c == '\r');
  sm_text_free(&text);
  sm_tabular_free(t);
}

static void table_cells_are_only_text(void **state) {
  assert_cell(SM_TABULAR_MARKDOWN, "[l](javascript:x)", "| [l\\](javascript:x) |");
  assert_cell(SM_TABULAR_MARKDOWN, "[l][r] [r]: x", "| [l\\][r] [r\\]: x |");
  assert_cell(SM_TABULAR_MARKDOWN, "[CLS] & MIM", "| [CLS] & MIM |");
  assert_cell(SM_TABULAR_MARKDOWN, "&lt; $x$ ~~y~~", "| \\&lt; \\$x$ \\~\\~y\\~~ |");
  assert_cell(SM_TABULAR_MARKDOWN, "two\nlines", "| two lines |");
  assert_cell(SM_TABULAR_LATEX, "[2pt] x", "    {[}2pt] x \\\\");
  assert_cell(SM_TABULAR_LATEX, "*", "    {*} \\\\");
  assert_cell(SM_TABULAR_LATEX, "a|b", "a\\textbar{}b");
  assert_cell(SM_TABULAR_LATEX, "two\n\nlines", "two  lines");
  assert_cell(SM_TABULAR_CSV, "=1+1", "\r\n'=1+1\r\n");
  assert_cell(SM_TABULAR_CSV, "+ MIM", "\r\n'+ MIM\r\n");
  assert_cell(SM_TABULAR_CSV, "@x", "\r\n'@x\r\n");
  assert_cell(SM_TABULAR_CSV, "-2,3", "\r\n\"'-2,3\"\r\n");
  assert_cell(SM_TABULAR_CSV, "-2.5", "\r\n-2.5\r\n"); /* a number stays one */
  assert_cell(SM_TABULAR_CSV, "-", "\r\n-\r\n");
  static const sm_tabular_format all[] = {SM_TABULAR_TEXT, SM_TABULAR_MARKDOWN, SM_TABULAR_LATEX,
                                          SM_TABULAR_CSV, SM_TABULAR_HTML};
  for (int i = 0; i < 5; i++) assert_cell(all[i], "\x1b[31mred\x9b", "x1b[31mred");
  sm_text text = {0};
  sm_markdown_text(&text, "a | <b>\x1b*c*");
  assert_string_equal(text.s, "a | \\<b>\\\\x1b\\*c\\*");
  sm_text_free(&text);
}

static void table_mistakes(void **state) {
  sm_text text = {0};
  sm_tabular *t = sm_tabular_new(NULL);
  sm_tabular_cell(t, "x"); /* no column yet */
  assert_int_equal(sm_tabular_render(t, SM_TABULAR_TEXT, &text), SM_EINTERNAL);
  sm_tabular_free(t);
  t = sm_tabular_new(NULL);
  sm_tabular_column(t, "a", SM_ALIGN_LEFT);
  sm_tabular_cell(t, "x");
  sm_tabular_column(t, "late", SM_ALIGN_LEFT);
  assert_int_equal(sm_tabular_render(t, SM_TABULAR_TEXT, &text), SM_EINTERNAL);
  sm_tabular_free(t);
  assert_int_equal(sm_tabular_render(NULL, SM_TABULAR_TEXT, &text), SM_ENOMEM);
  sm_text_free(&text);
}

static void widths(void **state) {
  assert_int_equal(sm_text_width(""), 0);
  assert_int_equal(sm_text_width("abc"), 3);
  assert_int_equal(sm_text_width("é"), 1);
  assert_int_equal(sm_text_width("e\u0301"), 1); /* combining acute */
  assert_int_equal(sm_text_width("日本"), 4);
  assert_int_equal(sm_text_width("🙂"), 2);
  assert_int_equal(sm_text_width("\xFF\xC3"), 2); /* damaged: a column each */
}

/* ---- numbers ------------------------------------------------------------------------------------------ */

static void numbers(void **state) {
  static const struct {
    double v;
    const char *text;
  } CASES[] = {{0, "0"},
               {1, "1"},
               {-2.5, "−2.5"},
               {3.14159, "3.142"},
               {0.001, "0.001"},
               {9999, "9999"},
               {12345.6, "12\u202F346"},
               {1234567, "1\u202F234\u202F567"},
               {3.2e-5, "3.2×10⁻⁵"},
               {1e-10, "10⁻¹⁰"},
               {-1.5e12, "−1.5×10¹²"},
               {NAN, "–"},
               {INFINITY, "–"}};
  char buf[64];
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
    assert_string_equal(sm_number_text(CASES[i].v, buf, sizeof buf), CASES[i].text);
}

static void ticks(void **state) {
  static const struct {
    double low, high;
    int wanted;
    double first, step;
  } CASES[] = {{0, 10, 5, 0, 2},      {0, 1, 5, 0, 0.2},      {-3, 7, 5, -2, 2}, {1234, 5678, 4, 2000, 1000},
               {0, 3e-4, 3, 0, 1e-4}, {0.2, 0.9, 1, 0.5, 0.5}};
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    double first, step;
    int n = sm_chart_ticks(CASES[i].low, CASES[i].high, CASES[i].wanted, &first, &step);
    assert_true(n >= 1 && first + (n - 1) * step <= CASES[i].high * (1 + 1e-12));
    assert_true(first + n * step > CASES[i].high);
    assert_true(fabs(first - CASES[i].first) <= 1e-12 * fabs(CASES[i].first));
    assert_true(fabs(step - CASES[i].step) <= 1e-12 * CASES[i].step);
  }
}

/* However near its ends are, an axis has a bounded number of marks. */
static void ticks_end(void **state) {
  static const double CASES[][2] = {{6.931471805599453, 6.931471805599454},
                                    {1e17, 1e17 + 16},
                                    {1 - 0x1p-53, 1},
                                    {0, 5e-324},
                                    {-DBL_MAX, DBL_MAX},
                                    {1, INFINITY},
                                    {NAN, 1},
                                    {1, 1}};
  for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
    double first, step;
    int n = sm_chart_ticks(CASES[i][0], CASES[i][1], 8, &first, &step);
    assert_true(n >= 0 && n <= 17);
  }
}

/* ---- charts ------------------------------------------------------------------------------------------- */

static void chart_of_few_points(void **state) {
  const double x[] = {0, 10, 20, 30}, y[] = {1, 2, NAN, 4};
  const sm_chart_series series[] = {{.name = "a<b>", .x = x, .y = y, .n = 4},
                                    {.name = "dashed", .x = x, .y = x, .n = 4, .dashed = true, .colour = 5}};
  const sm_chart_level level = {.name = "ln K", .y = 9.01};
  sm_chart chart = {.title = "T & U",
                    .x_label = "step",
                    .y_label = "nats",
                    .series = series,
                    .nseries = 2,
                    .levels = &level,
                    .nlevels = 1};
  sm_text svg = {0}, again = {0};
  assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
  assert_well_formed(svg.s);
  assert_non_null(strstr(svg.s, ">T &amp; U</title>"));
  assert_non_null(strstr(svg.s, "a&lt;b&gt; from 1 to 4; dashed from 0 to 30</desc>"));
  assert_non_null(strstr(svg.s, "prefers-color-scheme:dark"));
  assert_non_null(strstr(svg.s, ">ln K</text>"));
  assert_non_null(strstr(svg.s, "sm-line sm-4 sm-dash"));
  assert_int_equal(count(svg.s, "<circle"), 3 + 4); /* one mark per finite point */
  assert_null(strstr(svg.s, "sm-band sm-"));
  assert_null(strstr(svg.s, "nan"));
  assert_null(strstr(svg.s, "<script"));
  assert_int_equal(sm_chart_svg(&chart, &again), SM_OK);
  assert_string_equal(svg.s, again.s);
  again.len = 0;
  chart.embedded = true;
  assert_int_equal(sm_chart_svg(&chart, &again), SM_OK);
  assert_null(strstr(again.s, "<style>"));
  sm_text_free(&svg);
  sm_text_free(&again);
}

static void charts_of_nothing_and_of_one(void **state) {
  const double x[] = {5}, y[] = {7}, nan[] = {NAN}, negative[] = {-1};
  sm_chart_series one = {.name = "s", .x = x, .y = y, .n = 1};
  sm_chart chart = {.title = "t", .series = &one, .nseries = 1};
  sm_text svg = {0};
  assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
  assert_well_formed(svg.s);
  assert_null(strstr(svg.s, "nan"));
  assert_null(strstr(svg.s, "inf"));
  svg.len = 0;
  one.y = nan;
  assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
  assert_non_null(strstr(svg.s, "no data"));
  assert_well_formed(svg.s);
  svg.len = 0;
  one.y = negative;
  chart.log_y = true; /* falls back to a linear axis */
  assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
  assert_null(strstr(svg.s, "nan"));
  svg.len = 0;
  chart.nseries = 0;
  assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
  assert_non_null(strstr(svg.s, "no data"));
  sm_text_free(&svg);
}

/* Values that differ by their last digits: what a mean of equal values over windows of other lengths gives.
 * */
static void charts_of_almost_equal_values(void **state) {
  static const double PAIRS[][2] = {{6.931471805599453, 6.931471805599454},
                                    {0.39583333333333337, 0.3958333333333333},
                                    {1e17, 100000000000000016},
                                    {1 - 0x1p-53, 1},
                                    {0, 5e-324},
                                    {-1, -1 + 0x1p-53},
                                    {DBL_MAX, -DBL_MAX},
                                    {DBL_MAX, 1},
                                    {1e-320, 2e-320}};
  for (size_t i = 0; i < sizeof PAIRS / sizeof *PAIRS; i++)
    for (int turn = 0; turn < 4; turn++) {
      static const double plain[] = {1, 2};
      sm_chart_series s = {.name = "s", .x = plain, .y = plain, .n = 2};
      *(turn & 1 ? &s.x : &s.y) = PAIRS[i];
      sm_chart chart = {.title = "t", .series = &s, .nseries = 1, .log_y = turn & 2};
      sm_text svg = {0};
      assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
      assert_well_formed(svg.s);
      assert_true(svg.len < 20000);
      assert_null(strstr(svg.s, "nan"));
      assert_null(strstr(svg.s, "inf"));
      assert_int_equal(count(svg.s, "<circle"), 2);
      sm_text_free(&svg);
    }
}

/* The texts of the y axis' marks are all different. */
static void marks_of_a_narrow_axis_differ(void **state) {
  static const double LOW[] = {9.0109, 1e6, 123456700, 2e9, 0.9999};
  for (size_t i = 0; i < sizeof LOW / sizeof *LOW; i++) {
    const double x[] = {1, 2}, y[] = {LOW[i], LOW[i] * (1 + 2e-7)};
    const sm_chart_series s = {.name = "s", .x = x, .y = y, .n = 2};
    sm_chart chart = {.title = "t", .series = &s, .nseries = 1};
    sm_text svg = {0};
    assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
    char last[64] = "", text[64];
    int marks = 0;
    for (const char *at = svg.s; (at = strstr(at, "text-anchor=\"end\">")); marks++) {
      at += strlen("text-anchor=\"end\">");
      snprintf(text, sizeof text, "%.*s", (int)strcspn(at, "<"), at);
      if (!strcmp(text, last)) fail_msg("two marks of %g are both '%s'", LOW[i], text);
      strcpy(last, text);
    }
    assert_true(marks >= 3);
    sm_text_free(&svg);
  }
}

static void marks_at_one_place_are_rings(void **state) {
  const double x[] = {5}, y[] = {48}, z[] = {47.97};
  const sm_chart_series s[] = {{.name = "a", .x = x, .y = y, .n = 1},
                               {.name = "b", .x = x, .y = y, .n = 1},
                               {.name = "c", .x = x, .y = z, .n = 1}};
  sm_chart chart = {.title = "t", .series = s, .nseries = 2};
  sm_text svg = {0};
  assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
  const char *wide = strstr(svg.s, "r=\"6\""), *narrow = strstr(svg.s, "r=\"3\"");
  assert_true(wide && narrow && wide < narrow); /* the wide one lies below */
  svg.len = 0;
  chart.nseries = 3;
  assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
  assert_null(strstr(svg.s, "r=\"9\"")); /* a little fills the axis */
  svg.len = 0;
  chart.least_span = 5; /* … and is next to nothing in five */
  assert_int_equal(sm_chart_svg(&chart, &svg), SM_OK);
  assert_non_null(strstr(svg.s, "r=\"9\""));
  sm_text_free(&svg);
}

static void a_spike_survives_binning(void **state) {
  enum { N = 100000 };
  double *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), total = 0;
  assert_non_null(x);
  assert_non_null(y);
  for (int i = 0; i < N; i++) x[i] = i, y[i] = i == 54321 ? 1000 : i % 2;
  sm_chart_series s = {.name = "s", .x = x, .y = y, .n = N};
  sm_bins b;
  assert_int_equal(sm_bins_make(&b, &s, 0, N - 1, 100), SM_OK);
  assert_true(b.binned);
  assert_int_equal(b.n, 100);
  for (size_t i = 0; i < b.n; i++) {
    assert_true(b.low[i] == 0);
    assert_true(b.high[i] == (i == 54 ? 1000 : 1));
    assert_true(i == 54 || fabs(b.mean[i] - 0.5) < 1e-3);
    total += b.mean[i];
  }
  assert_true(fabs(total - 50.999) < 0.01); /* the spike's share is in its bin's mean too */
  sm_bins_free(&b);
  for (int i = 0; i < N; i++) x[i] = N - i; /* x that does not ascend must not run past the bins */
  assert_int_equal(sm_bins_make(&b, &s, 0, N, 100), SM_OK);
  assert_true(b.n <= 100);
  sm_bins_free(&b);
  free(x);
  free(y);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(table_formats),
      cmocka_unit_test(table_cells_are_only_text),
      cmocka_unit_test(table_mistakes),
      cmocka_unit_test(widths),
      cmocka_unit_test(numbers),
      cmocka_unit_test(ticks),
      cmocka_unit_test(ticks_end),
      cmocka_unit_test(chart_of_few_points),
      cmocka_unit_test(charts_of_nothing_and_of_one),
      cmocka_unit_test(charts_of_almost_equal_values),
      cmocka_unit_test(marks_of_a_narrow_axis_differ),
      cmocka_unit_test(marks_at_one_place_are_rings),
      cmocka_unit_test(a_spike_survives_binning),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
