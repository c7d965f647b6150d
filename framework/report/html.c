/* html.c — escaping, base64, and what every page begins with: its style and heading.
 *
 * A page carries everything: the style is in it, pictures are data URIs, and a content policy forbids it to
 * load or run anything, so that a name from a recipe or a data set can do no harm even if an escape were
 * forgotten. */
#include "html.h"

#include <string.h>

void sm_html_text(sm_text *out, const char *s) {
  for (; *s; s++) {
    const char *entity = *s == '&'   ? "&amp;"
                         : *s == '<' ? "&lt;"
                         : *s == '>' ? "&gt;"
                         : *s == '"' ? "&quot;"
                                     : NULL;
    if (*s == '\'') entity = "&#39;";
    if (entity) sm_text_bytes(out, entity, strlen(entity));
    else if ((unsigned char)*s >= 0x20 || *s == '\n' || *s == '\t') sm_text_bytes(out, s, 1);
  }
}

void sm_html_base64(sm_text *out, const void *data, size_t n) {
  static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *s = data;
  for (size_t i = 0; i < n; i += 3) {
    uint32_t v =
        (uint32_t)s[i] << 16 | (uint32_t)(i + 1 < n ? s[i + 1] : 0) << 8 | (i + 2 < n ? s[i + 2] : 0);
    char four[4] = {LETTERS[v >> 18], LETTERS[v >> 12 & 63], LETTERS[v >> 6 & 63], LETTERS[v & 63]};
    if (i + 1 >= n) four[2] = '=';
    if (i + 2 >= n) four[3] = '=';
    sm_text_bytes(out, four, 4);
  }
}

/* ---- style ---- */

/* clang-format off */
#define LIGHT \
  "--paper:#fbfaf7;--card:#fff;--ink:#1d2129;--muted:#626b78;--line:#e4e1d9;--grid:#eceae4;--axis:#9aa1ac;" \
  "--s0:#2563a8;--s1:#cf5b36;--s2:#2a8a6a;--s3:#8656b3;--s4:#b1820a;--s5:#c03c78;--s6:#2f8aa6;--s7:#6b7280;"
#define DARK \
  "--paper:#14161a;--card:#1c1f25;--ink:#e8e6e1;--muted:#9aa2af;--line:#2d323b;--grid:#272b33;--axis:" \
  "#5d6572;" \
  "--s0:#6ea8f0;--s1:#f08a64;--s2:#58c39c;--s3:#b792e8;--s4:#dfb04a;--s5:#ec7db0;--s6:#6fc2dc;--s7:#9aa3b2;"
#define COLOUR(n) ".sm-" #n "{--c:var(--s" #n ")}"

const char sm_chart_style[] =
    ":root{color-scheme:light dark;" LIGHT "}"
    "@media(prefers-color-scheme:dark){:root{" DARK "}}"
    ".sm-chart{display:block;max-width:100%;font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;"
    "font-variant-numeric:tabular-nums}"
    ".sm-chart text{fill:var(--ink)}.sm-paper{fill:var(--card)}"
    ".sm-chart .sm-title{font-size:15px;font-weight:600}"
    ".sm-chart .sm-muted,.sm-chart .sm-tick{fill:var(--muted)}"
    ".sm-halo{paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}"
    ".sm-grid{stroke:var(--grid);fill:none}.sm-axis{stroke:var(--axis);fill:none}"
    ".sm-level{stroke:var(--muted);stroke-dasharray:1 4;stroke-linecap:round;fill:none;stroke-width:1.5}"
    COLOUR(0) COLOUR(1) COLOUR(2) COLOUR(3) COLOUR(4) COLOUR(5) COLOUR(6) COLOUR(7)
    ".sm-line{fill:none;stroke:var(--c);stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}"
    ".sm-dash{stroke-dasharray:5 4}.sm-band{fill:var(--c);fill-opacity:.16}.sm-faint{fill-opacity:.08}"
    ".sm-mark{fill:var(--card);stroke:var(--c);stroke-width:1.75}";

static const char PAGE_STYLE[] =
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--paper);color:var(--ink);"
    "font:15px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;-webkit-text-size-adjust:100%}"
    "main,header,footer{max-width:1160px;margin:0 auto;padding:0 24px}"
    "header{padding-top:40px;padding-bottom:8px;display:flex;gap:18px;align-items:flex-start}"
    "header svg{flex:none;width:52px;height:52px;margin-top:6px}"
    ".kicker{margin:0;color:var(--muted);font-size:13px;letter-spacing:.02em}"
    "h1{margin:0;font-size:30px;line-height:1.2;font-weight:650;letter-spacing:-.015em;"
    "overflow-wrap:anywhere}.subtitle{margin:4px 0 0;color:var(--muted)}"
    "h2{margin:44px 0 14px;font-size:19px;font-weight:620;letter-spacing:-.01em}"
    "h3{margin:0 0 6px;font-size:14px;font-weight:600}"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(158px,1fr));gap:12px;margin:26px 0 0;"
    "padding:0}"
    ".tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 16px 13px}"
    ".tile dt{color:var(--muted);font-size:13px}"
    ".tile dd{margin:2px 0 0;font-size:23px;line-height:1.3;font-weight:600;letter-spacing:-.02em;"
    "white-space:nowrap;font-variant-numeric:tabular-nums}"
    ".tile dd.note{white-space:normal;font-size:12.5px;line-height:1.4;font-weight:400;color:var(--muted);"
    "letter-spacing:0;margin-top:3px}"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:14px}"
    "figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;"
    "padding:14px 16px 10px;min-width:0}figcaption{color:var(--muted);font-size:13px;margin-top:6px}"
    "figure .sm-chart{font-size:10.75px}"
    ".columns{columns:420px;column-gap:14px}.columns>figure{break-inside:avoid;margin-bottom:14px}"
    "figure .about{margin:-4px 0 6px;color:var(--muted);font-size:13px}"
    "figure table{font-size:13.5px}figure th,figure td{padding:4px 8px}"
    "figure th:first-child,figure td:first-child{padding-left:0}"
    "figure th:last-child,figure td:last-child{padding-right:0}figure details{margin-top:8px}"
    "figure details table{margin:0;padding:0 8px;border-top:1px solid var(--line)}"
    "figure img{display:block;max-width:100%;height:auto;image-rendering:auto;border-radius:4px}"
    ".pictures{display:grid;gap:14px}"
    ".scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px}"
    "table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}"
    "caption{text-align:left;color:var(--muted);padding:10px 16px 0;font-size:13px}"
    "th,td{text-align:left;padding:7px 11px;vertical-align:top}"
    "th:first-child,td:first-child{padding-left:16px}"
    "th{font-weight:600;font-size:13px;color:var(--muted);border-bottom:1px solid var(--line);"
    "vertical-align:bottom}tbody tr+tr td{border-top:1px solid var(--grid)}"
    "tr.rule td{border-top:1px solid var(--axis)!important}td:first-child{overflow-wrap:anywhere}"
    ".right{text-align:right}td.right{white-space:nowrap}.centre{text-align:center}"
    "dl.pairs{margin:0;display:grid;grid-template-columns:minmax(110px,max-content) 1fr;gap:0;"
    "background:var(--card);border:1px solid var(--line);border-radius:8px;font-size:14px;overflow:hidden}"
    ".pairs dt,.pairs dd{margin:0;padding:7px 16px}"
    ".pairs dt{color:var(--muted);padding-right:8px;overflow-wrap:anywhere}"
    ".pairs dd{overflow-wrap:anywhere}.pairs>:nth-child(n+3){border-top:1px solid var(--grid)}"
    ".pairs b{font-weight:600}.pairs .p{display:inline-block;max-width:100%;margin-right:12px}"
    ".pairs i{font-style:normal;color:var(--muted);margin-right:5px}"
    "details{background:var(--card);border:1px solid var(--line);border-radius:8px;margin-top:14px}"
    "summary{cursor:pointer;padding:11px 16px;font-weight:600;font-size:14px}"
    "details>:not(summary){margin:0;border-width:1px 0 0;border-radius:0}"
    "details>.charts{padding:14px;border-top:1px solid var(--line)}"
    "pre{margin:0;padding:14px 16px;overflow-x:auto;"
    "font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;border-top:1px solid var(--line)}"
    ".warning{border-left:3px solid var(--s1);background:var(--card);padding:10px 16px;"
    "border-radius:0 8px 8px 0;margin:18px 0 0}"
    "footer{color:var(--muted);font-size:13px;padding-top:36px;padding-bottom:40px}"
    ".side{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:14px;align-items:start;"
    "margin-top:14px}"
    "dl.gallery{margin:0;padding:14px 16px;display:grid;grid-template-columns:max-content max-content;gap:8px 16px;"
    "align-items:center;width:max-content}"
    ".gallery dt{color:var(--muted);font-size:13px;max-width:150px}.gallery dd{margin:0}"
    ".gallery img{display:block;height:auto;image-rendering:pixelated;border-radius:2px}"
    "h2+.subtitle{margin:-8px 0 14px}.rows+.subtitle{margin-top:10px}.rows td:first-child,.rows td:nth-child(2){white-space:nowrap;overflow-wrap:normal}"
    "@media(max-width:560px){main,header,footer{padding-left:14px;padding-right:14px}"
    "header{padding-top:24px;gap:12px}header svg{width:40px;height:40px;margin-top:4px}"
    "h1{font-size:24px}h2{margin-top:34px}.tiles{grid-template-columns:1fr 1fr;gap:8px}"
    ".tile{padding:10px 12px}.tile dd{font-size:21px}figure{padding:12px 10px 8px}"
    "th,td,.pairs dt,.pairs dd{padding-left:12px;padding-right:12px}figure .sm-chart{font-size:12.5px}"
    "dl.pairs{grid-template-columns:1fr}.pairs dt{padding-bottom:0}.pairs>:nth-child(n+3){border-top:0}"
    ".pairs dt:nth-child(n+3){border-top:1px solid var(--grid)}.pairs dd{padding-top:1px}}"
    "@media print{body{background:#fff}figure,.tile{break-inside:avoid}}";

/* A few tesserae. */
static const char MARK[] =
    "<svg viewBox=\"0 0 34 34\" aria-hidden=\"true\">"
    "<g fill=\"var(--s0)\"><path d=\"M1 2l9-1 1 9-10 1z\"/><path d=\"M24 23l9 1-1 9-9-1z\" opacity=\".75\"/></g>"
    "<path fill=\"var(--s4)\" d=\"M12 1l10 1-1 9-9-1z\"/><path fill=\"var(--s1)\" d=\"M24 1l9 1v9l-10-1z\"/>"
    "<path fill=\"var(--s2)\" d=\"M1 13l10-1v10l-9 0z\"/><path fill=\"var(--s3)\" d=\"M23 12l10 1-1 9-9-1z\"/>"
    "<path fill=\"none\" stroke=\"var(--axis)\" stroke-dasharray=\"2 2\" d=\"M13 12l8 1 0 8-9 0z\"/>"
    "<path fill=\"var(--s6)\" d=\"M2 24l9-1-1 10-9-1z\"/><path fill=\"var(--s5)\" d=\"M12 23l10 0-1 9-8 1z\"/></svg>\n";
/* clang-format on */

void sm_html_begin(sm_text *out, const char *title, const char *kicker, const char *subtitle) {
  sm_text_add(
      out,
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
      "'unsafe-inline'\">\n<title>");
  sm_html_text(out, title);
  sm_text_add(out, " · smalti</title>\n<style>\n%s\n%s\n</style>\n</head>\n<body>\n<header>\n%s<div>\n",
              sm_chart_style, PAGE_STYLE, MARK);
  sm_text_add(out, "<p class=\"kicker\">");
  sm_html_text(out, kicker);
  sm_text_add(out, "</p>\n<h1>");
  sm_html_text(out, title);
  sm_text_add(out, "</h1>\n");
  if (*subtitle) {
    sm_text_add(out, "<p class=\"subtitle\">");
    sm_html_text(out, subtitle);
    sm_text_add(out, "</p>\n");
  }
  sm_text_add(out, "</div>\n</header>\n<main>\n");
}

void sm_html_end(sm_text *out) {
  sm_text_add(out,
              "</main>\n<footer>Written by smalti %s. This page needs nothing beside "
              "it.</footer>\n</body>\n</html>\n",
              sm_version());
}
