/* tabular.c — a table of texts and its five renderings.
 *
 * Cells are kept in one growing list, row by row; rendering pads a last row that is not full. What comes in
 * is made printable at once, so that no format carries a control character but the end of a line. The formats
 * differ in how a cell is escaped and what stands around it, so each is a small function over the same loops.
 * */
#include <ctype.h>
#include <string.h>

#include "framework/report/report.h"

#include "html.h"

typedef struct column {
  char *title;
  sm_align align;
} column;

typedef struct cell {
  char *text;
  bool bold, second, rule_before; /* the rule only counts on the first cell of a row */
} cell;

struct sm_tabular {
  sm_arena *arena;
  const char *caption, *note; /* note NULL: none */
  column *columns;
  cell *cells;
  size_t ncolumns, ncells, columns_room, cells_room;
  bool rule_next;
  sm_status failed;
};

/* `text` made printable, in the table's memory; NULL: none is left. */
static char *tabular_keep(sm_tabular *t, const char *text) {
  size_t n = sm_printable(text, "\n", NULL, 0);
  char *kept = sm_arena_alloc(t->arena, n + 1);
  if (kept) sm_printable(text, "\n", kept, n + 1);
  return kept;
}

sm_tabular *sm_tabular_new(const char *caption) {
  sm_tabular *t = sm_calloc(1, sizeof *t);
  if (!t) return NULL;
  if (!(t->arena = sm_arena_new("table")) || !(t->caption = tabular_keep(t, caption ? caption : ""))) {
    sm_tabular_free(t);
    return NULL;
  }
  return t;
}

void sm_tabular_free(sm_tabular *t) {
  if (!t) return;
  sm_arena_free(t->arena);
  sm_free(t->columns);
  sm_free(t->cells);
  sm_free(t);
}

static bool tabular_grow(sm_tabular *t, void **array, size_t *room, size_t count, size_t each) {
  if (count < *room) return true;
  size_t wanted = *room ? *room * 2 : 16;
  void *larger = sm_realloc(*array, wanted * each);
  if (!larger) return t->failed = SM_ENOMEM, false;
  *array = larger;
  *room = wanted;
  return true;
}

void sm_tabular_column(sm_tabular *t, const char *title, sm_align align) {
  if (!t || t->failed) return;
  if (t->ncells) {
    t->failed = SM_EINTERNAL;
    return;
  }
  column c = {.title = tabular_keep(t, title), .align = align};
  if (!c.title) t->failed = SM_ENOMEM;
  if (!t->failed && tabular_grow(t, (void **)&t->columns, &t->columns_room, t->ncolumns, sizeof c))
    t->columns[t->ncolumns++] = c;
}

void sm_tabular_cell(sm_tabular *t, const char *fmt, ...) {
  if (!t || t->failed) return;
  sm_text text = {0};
  va_list args;
  va_start(args, fmt);
  sm_text_addv(&text, fmt, args);
  va_end(args);
  cell c = {.text = text.failed ? NULL : tabular_keep(t, text.s ? text.s : ""), .rule_before = t->rule_next};
  sm_text_free(&text);
  if (!c.text) t->failed = SM_ENOMEM;
  if (!t->ncolumns) t->failed = SM_EINTERNAL;
  if (t->failed || !tabular_grow(t, (void **)&t->cells, &t->cells_room, t->ncells, sizeof c)) return;
  t->cells[t->ncells++] = c;
  t->rule_next = false;
}

void sm_tabular_bold(sm_tabular *t) {
  if (t && t->ncells) t->cells[t->ncells - 1].bold = true;
}

void sm_tabular_second(sm_tabular *t) {
  if (t && t->ncells) t->cells[t->ncells - 1].second = true;
}

void sm_tabular_rule(sm_tabular *t) {
  if (!t || t->failed || !t->ncells) return;
  while (t->ncells % t->ncolumns && !t->failed) sm_tabular_cell(t, "%s", "");
  t->rule_next = true;
}

void sm_tabular_note(sm_tabular *t, const char *text) {
  if (t && !t->failed && !(t->note = text ? tabular_keep(t, text) : NULL)) t->failed = SM_ENOMEM;
}

size_t sm_tabular_rows(const sm_tabular *t) {
  return t && t->ncolumns ? (t->ncells + t->ncolumns - 1) / t->ncolumns : 0;
}

static const cell *tabular_cell_at(const sm_tabular *t, size_t row, size_t col) {
  static const cell EMPTY = {.text = ""};
  size_t i = row * t->ncolumns + col;
  return i < t->ncells ? &t->cells[i] : &EMPTY;
}

/* ---- aligned by width: terminal and Markdown ---- */

static void tabular_spaces(sm_text *out, size_t n) {
  while (n--) sm_text_bytes(out, " ", 1);
}

static void tabular_repeat(sm_text *out, const char *what, size_t n) {
  while (n--) sm_text_bytes(out, what, strlen(what));
}

/* The end of a line is shown as a blank. */
static size_t tabular_width(const char *text) {
  size_t width = sm_text_width(text);
  for (; (text = strchr(text, '\n')); text++) width++;
  return width;
}

static void tabular_padded(sm_text *out, const char *text, size_t width, sm_align align, bool trailing) {
  size_t own = tabular_width(text), free_space = width > own ? width - own : 0;
  size_t left = align == SM_ALIGN_RIGHT ? free_space : align == SM_ALIGN_CENTRE ? free_space / 2 : 0;
  tabular_spaces(out, left);
  for (; *text; text++) sm_text_bytes(out, *text == '\n' ? " " : text, 1);
  if (trailing) tabular_spaces(out, free_space - left);
}

static size_t tabular_plain_width(const sm_tabular *t, size_t col) {
  size_t width = tabular_width(t->columns[col].title);
  for (size_t row = 0; row < sm_tabular_rows(t); row++) {
    size_t own = tabular_width(tabular_cell_at(t, row, col)->text);
    if (own > width) width = own;
  }
  return width;
}

static void tabular_text_rule(const sm_tabular *t, const size_t *widths, sm_text *out) {
  for (size_t c = 0; c < t->ncolumns; c++) {
    if (c) sm_text_add(out, "  ");
    tabular_repeat(out, "─", widths[c]);
  }
  sm_text_add(out, "\n");
}

static void tabular_render_text(const sm_tabular *t, size_t *widths, sm_text *out) {
  for (size_t c = 0; c < t->ncolumns; c++) widths[c] = tabular_plain_width(t, c);
  if (*t->caption) sm_text_add(out, "%s\n\n", t->caption);
  for (size_t c = 0; c < t->ncolumns; c++) {
    if (c) sm_text_add(out, "  ");
    tabular_padded(out, t->columns[c].title, widths[c], t->columns[c].align, c + 1 < t->ncolumns);
  }
  sm_text_add(out, "\n");
  tabular_text_rule(t, widths, out);
  for (size_t r = 0; r < sm_tabular_rows(t); r++) {
    if (tabular_cell_at(t, r, 0)->rule_before) tabular_text_rule(t, widths, out);
    for (size_t c = 0; c < t->ncolumns; c++) {
      if (c) sm_text_add(out, "  ");
      tabular_padded(out, tabular_cell_at(t, r, c)->text, widths[c], t->columns[c].align,
                     c + 1 < t->ncolumns);
    }
    while (out->len && out->s[out->len - 1] == ' ') out->len--;
    sm_text_add(out, "\n");
  }
}

static bool tabular_in_word(const char *start, const char *s) {
  return s > start && isalnum((unsigned char)s[-1]) && isalnum((unsigned char)s[1]);
}

/* Signs that Markdown would take for more than themselves. What needs a partner is left alone without one:
 * "[CLS]" is no link, "A & B" no entity. */
static bool tabular_markdown_special(const char *start, const char *s, bool bordered) {
  if (*s == ']') return s[1] && strchr("([:", s[1]);
  if (*s == '&') return s[1] && s[1] != ' ';
  if (*s == '~' || *s == '$') return strchr(s + 1, *s) != NULL;
  if (*s == '|') return bordered;
  return strchr("*`<\\", *s) || (*s == '_' && (bordered || !tabular_in_word(start, s)));
}

static void tabular_markdown_add(sm_text *out, const char *text, bool bordered) {
  const char *start = text;
  for (size_t n; *text; text += n ? n : 1) {
    n = sm_printable_bytes(text);
    if (n == 1 && tabular_markdown_special(start, text, bordered)) sm_text_add(out, "\\%c", *text);
    else if (n) sm_text_bytes(out, text, n);
    else if (*text == '\n') sm_text_add(out, " ");
    else sm_text_add(out, "\\\\x%02x", (unsigned char)*text);
  }
}

void sm_markdown_text(sm_text *out, const char *text) { tabular_markdown_add(out, text, false); }

static void tabular_markdown_cell(const cell *x, sm_text *out) {
  if (x->bold) sm_text_add(out, "**");
  if (x->second) sm_text_add(out, "<u>");
  tabular_markdown_add(out, x->text, true);
  if (x->second) sm_text_add(out, "</u>");
  if (x->bold) sm_text_add(out, "**");
}

/* The escaped cell in `scratch`; row 0 holds the titles. */
static const char *tabular_markdown_text(const sm_tabular *t, size_t row, size_t col, sm_text *scratch) {
  const cell title = {.text = t->columns[col].title};
  scratch->len = 0;
  sm_text_bytes(scratch, "", 0);
  tabular_markdown_cell(row ? tabular_cell_at(t, row - 1, col) : &title, scratch);
  return scratch->failed ? "" : scratch->s;
}

static void tabular_render_markdown(const sm_tabular *t, size_t *widths, sm_text *out) {
  sm_text scratch = {0};
  for (size_t c = 0; c < t->ncolumns; c++) {
    widths[c] = 3;
    for (size_t r = 0; r <= sm_tabular_rows(t); r++) {
      size_t own = sm_text_width(tabular_markdown_text(t, r, c, &scratch));
      if (own > widths[c]) widths[c] = own;
    }
  }
  if (*t->caption) {
    sm_markdown_text(out, t->caption);
    sm_text_add(out, "\n\n");
  }
  for (size_t r = 0; r <= sm_tabular_rows(t); r++) {
    for (size_t c = 0; c < t->ncolumns; c++) {
      sm_text_add(out, "| ");
      tabular_padded(out, tabular_markdown_text(t, r, c, &scratch), widths[c], t->columns[c].align, true);
      sm_text_add(out, " ");
    }
    sm_text_add(out, "|\n");
    for (size_t c = 0; c < t->ncolumns && !r; c++) {
      sm_align align = t->columns[c].align;
      sm_text_add(out, "| %s", align == SM_ALIGN_CENTRE ? ":" : "");
      tabular_repeat(out, "-", widths[c] - (align == SM_ALIGN_CENTRE) - (align != SM_ALIGN_LEFT));
      sm_text_add(out, "%s ", align == SM_ALIGN_LEFT ? "" : ":");
    }
    if (!r) sm_text_add(out, "|\n");
  }
  if (t->note) {
    sm_text_add(out, "\n");
    sm_markdown_text(out, t->note);
    sm_text_add(out, "\n");
  }
  out->failed |= scratch.failed;
  sm_text_free(&scratch);
}

/* ---- LaTeX ---- */

/* What LaTeX's fonts lack, and signs that tables of methods use. Needs amssymb. */
static const struct {
  const char *utf8, *latex;
} SIGNS[] = {{"±", "$\\pm$"},       {"✓", "$\\checkmark$"}, {"✗", "$\\times$"}, {"×", "$\\times$"},
             {"∘", "$\\circ$"},     {"△", "$\\triangle$"},  {"–", "--"},         {"−", "$-$"},
             {"†", "$\\dagger$"},   {"‡", "$\\ddagger$"},   {"→", "$\\to$"},    {"≥", "$\\ge$"},
             {"≤", "$\\le$"},       {"λ", "$\\lambda$"},    {"τ", "$\\tau$"},   {"′", "$'$"},
             {"\u202f", "\\,"}};

static const char *tabular_latex_sign(const char *text, size_t *bytes) {
  for (size_t i = 0; i < sizeof SIGNS / sizeof *SIGNS; i++) {
    *bytes = strlen(SIGNS[i].utf8);
    if (!strncmp(text, SIGNS[i].utf8, *bytes)) return SIGNS[i].latex;
  }
  return NULL;
}

/* A '[' or '*' that begins a cell would belong to the end of the row above. */
static void tabular_latex_text(const char *text, sm_text *out) {
  const char *start = text, *sign;
  size_t bytes;
  for (; *text; text++) {
    if (strchr("&%$#_{}", *text)) sm_text_add(out, "\\%c", *text);
    else if (*text == '\\') sm_text_add(out, "\\textbackslash{}");
    else if (*text == '~') sm_text_add(out, "\\textasciitilde{}");
    else if (*text == '^') sm_text_add(out, "\\textasciicircum{}");
    else if (*text == '|') sm_text_add(out, "\\textbar{}"); /* OT1 fonts have a dash in its place */
    else if (text == start && (*text == '[' || *text == '*')) sm_text_add(out, "{%c}", *text);
    else if (*text == '<' || *text == '>') sm_text_add(out, "$%c$", *text);
    else if (*text == '\n') sm_text_add(out, " "); /* an empty line would end the paragraph */
    else if (*text == '-' && (text == start || text[-1] == ' ') && text[1] >= '0' && text[1] <= '9')
      sm_text_add(out, "$-$");
    else if ((sign = tabular_latex_sign(text, &bytes))) sm_text_add(out, "%s", sign), text += bytes - 1;
    else sm_text_bytes(out, text, 1);
  }
}

static void tabular_render_latex(const sm_tabular *t, sm_text *out) {
  sm_text_add(out, "\\begin{table}\n  \\centering\n");
  if (*t->caption) {
    sm_text_add(out, "  \\caption{");
    tabular_latex_text(t->caption, out);
    sm_text_add(out, "}\n");
  }
  sm_text_add(out, "  \\begin{tabular}{");
  for (size_t c = 0; c < t->ncolumns; c++) sm_text_add(out, "%c", "lrc"[t->columns[c].align]);
  sm_text_add(out, "}\n    \\toprule\n    ");
  for (size_t c = 0; c < t->ncolumns; c++) {
    if (c) sm_text_add(out, " & ");
    tabular_latex_text(t->columns[c].title, out);
  }
  sm_text_add(out, " \\\\\n    \\midrule\n");
  for (size_t r = 0; r < sm_tabular_rows(t); r++) {
    if (tabular_cell_at(t, r, 0)->rule_before) sm_text_add(out, "    \\midrule\n");
    sm_text_add(out, "    ");
    for (size_t c = 0; c < t->ncolumns; c++) {
      const cell *x = tabular_cell_at(t, r, c);
      sm_text_add(out, "%s%s", c ? " & " : "", x->bold ? "\\textbf{" : x->second ? "\\underline{" : "");
      tabular_latex_text(x->text, out);
      if (x->bold || x->second) sm_text_add(out, "}");
    }
    sm_text_add(out, " \\\\\n");
  }
  sm_text_add(out, "    \\bottomrule\n  \\end{tabular}\n");
  if (t->note) {
    sm_text_add(out, "  \\par\\smallskip{\\footnotesize ");
    tabular_latex_text(t->note, out);
    sm_text_add(out, "\\par}\n");
  }
  sm_text_add(out, "\\end{table}\n");
}

/* ---- CSV and HTML ---- */

/* What a spreadsheet would take for a formula: not a number, and not a sign that stands alone. */
static bool tabular_csv_formula(const char *text) {
  double v;
  text += strspn(text, " \n");
  return *text && strchr("=+-@", *text) && text[1] && !sm_parse_double(text, &v);
}

static void tabular_csv_text(const char *text, sm_text *out) {
  bool quote = strpbrk(text, "\",\r\n") || *text == ' ' || (*text && text[strlen(text) - 1] == ' ');
  if (quote) sm_text_add(out, "\"");
  if (tabular_csv_formula(text)) sm_text_add(out, "'");
  for (; *text; text++) sm_text_bytes(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
  if (quote) sm_text_add(out, "\"");
}

static void tabular_render_csv(const sm_tabular *t, sm_text *out) {
  for (size_t r = 0; r <= sm_tabular_rows(t); r++) {
    for (size_t c = 0; c < t->ncolumns; c++) {
      if (c) sm_text_add(out, ",");
      tabular_csv_text(r ? tabular_cell_at(t, r - 1, c)->text : t->columns[c].title, out);
    }
    sm_text_add(out, "\r\n");
  }
}

static void tabular_render_html(const sm_tabular *t, sm_text *out) {
  static const char *const CLASS[] = {"", " class=\"right\"", " class=\"centre\""};
  sm_text_add(out, "<table>\n");
  if (*t->caption) {
    sm_text_add(out, "<caption>");
    sm_html_text(out, t->caption);
    sm_text_add(out, "</caption>\n");
  }
  sm_text_add(out, "<thead><tr>");
  for (size_t c = 0; c < t->ncolumns; c++) {
    const char *title = t->columns[c].title; /* one of one word is not broken at its hyphen: "k-NN" */
    sm_text_add(out, "<th scope=\"col\"%s%s>", CLASS[t->columns[c].align], strchr(title, ' ') ? "" : " style=\"white-space:nowrap\"");
    sm_html_text(out, title);
    sm_text_add(out, "</th>");
  }
  sm_text_add(out, "</tr></thead>\n<tbody>\n");
  for (size_t r = 0; r < sm_tabular_rows(t); r++) {
    sm_text_add(out, "<tr%s>", tabular_cell_at(t, r, 0)->rule_before ? " class=\"rule\"" : "");
    for (size_t c = 0; c < t->ncolumns; c++) {
      const cell *x = tabular_cell_at(t, r, c);
      sm_text_add(out, "<td%s>%s", CLASS[t->columns[c].align], x->bold ? "<b>" : x->second ? "<u>" : "");
      sm_html_text(out, x->text);
      sm_text_add(out, "%s</td>", x->bold ? "</b>" : x->second ? "</u>" : "");
    }
    sm_text_add(out, "</tr>\n");
  }
  sm_text_add(out, "</tbody>\n</table>\n");
}

sm_status sm_tabular_render(const sm_tabular *t, sm_tabular_format format, sm_text *out) {
  if (!t) return SM_ENOMEM;
  if (t->failed) return t->failed;
  size_t *widths = sm_calloc(t->ncolumns + 1, sizeof *widths);
  if (!widths) return SM_ENOMEM;
  switch (format) {
    case SM_TABULAR_TEXT:
      tabular_render_text(t, widths, out);
      break;
    case SM_TABULAR_MARKDOWN:
      tabular_render_markdown(t, widths, out);
      break;
    case SM_TABULAR_LATEX:
      tabular_render_latex(t, out);
      break;
    case SM_TABULAR_CSV:
      tabular_render_csv(t, out);
      break;
    case SM_TABULAR_HTML:
      tabular_render_html(t, out);
      break;
  }
  sm_free(widths);
  return out->failed ? SM_ENOMEM : SM_OK;
}
