/* fit_drops.c — a backbone that drops hidden patches, and heads that decode: each needs the other, and as
 * many hidden patches in every view. */
#include "fit.h"

static const sm_head_ops *fit_drops_head(const fit *f, int head) {
  return head < 0 ? NULL : f->r->head[head].plugin.plugin->ops;
}

/* A head that decodes looks at hidden patches of whole views; what else asks it for logits? */
static sm_status fit_drops_check_decoder(fit *f, int loss) {
  const fit_loss *join = &f->loss[loss];
  const sm_slot *l = &f->r->loss[loss];
  const sm_head_ops *head = fit_drops_head(f, join->head);
  if (!head || !head->decode) return SM_OK;
  const sm_slot *h = &f->r->head[join->head];
  if (join->spec.site != SM_SITE_PATCH) {
    sm_fit_fail(f, l, "`%s` looks at whole views, and head '%s' (`%s`) predicts hidden patches only",
                sm_fit_name(l), h->instance, sm_fit_name(h));
    return sm_hint(f->err, "give the loss a head of its own, as in 'heads: {view: {projection: {}}}'");
  }
  if (join->tokenizer >= 0 && f->tokenizer[join->tokenizer].needs_head) {
    sm_fit_fail(f, l, "tokenizer `%s` runs the head on whole views, which head '%s' (`%s`) cannot",
                sm_fit_name(&f->r->tokenizer[join->tokenizer]), h->instance, sm_fit_name(h));
    return sm_hint(f->err, "join another head, or a tokenizer that needs none, such as pixels");
  }
  if (f->backbone.drops) return SM_OK;
  sm_fit_fail(
      f, h,
      "head '%s' (`%s`) decodes what a backbone makes of visible patches, but `%s` drops no hidden ones",
      h->instance, sm_fit_name(h), sm_fit_name(&f->r->backbone));
  return sm_hint(f->err, "let it: backbone.hidden=drop; or choose another head");
}

/* Without hidden patches there is nothing that could be asked for. */
static sm_status fit_drops_check_reader(fit *f, int loss) {
  const fit_loss *join = &f->loss[loss];
  const sm_slot *l = &f->r->loss[loss], *b = &f->r->backbone;
  const sm_head_ops *head = fit_drops_head(f, join->head);
  if (join->spec.site != SM_SITE_PATCH || (head && head->decode)) return SM_OK;
  if (!head)
    sm_fit_fail(f, l, "`%s` reads the features of hidden patches, but backbone `%s` drops these",
                sm_fit_name(l), sm_fit_name(b));
  else
    sm_fit_fail(f, &f->r->head[join->head],
                "head '%s' (`%s`) reads the features of hidden patches, but backbone `%s` drops these",
                f->r->head[join->head].instance, sm_fit_name(&f->r->head[join->head]), sm_fit_name(b));
  return sm_hint(f->err, head ? "choose a head that decodes, such as decoder, or backbone.hidden=token"
                              : "set backbone.hidden=token");
}

/* Every view must have as many visible patches as the others: they are computed side by side. */
static sm_status fit_drops_check_masker(fit *f) {
  const sm_slot *m = &f->r->masker;
  const sm_masker_ops *ops = m->plugin.plugin->ops;
  const int cells = f->backbone.rows * f->backbone.cols,
            hidden = ops->count ? ops->count(m->plugin.self, f->backbone.rows, f->backbone.cols) : -1;
  if (hidden < 0) {
    sm_fit_fail(
        f, m,
        "backbone `%s` drops hidden patches, which must be as many in every view, but masker `%s` hides more in some",
        sm_fit_name(&f->r->backbone), sm_fit_name(m));
    return sm_hint(f->err,
                   "take 'masker: {random: {ratio: 0.75}}': one ratio, without ratio_var and start_epoch");
  }
  if (hidden < cells) return SM_OK;
  sm_fit_fail(f, m,
              "masker `%s` hides all %d patches of a view, and backbone `%s` drops these: nothing is left",
              sm_fit_name(m), cells, sm_fit_name(&f->r->backbone));
  return sm_hint(f->err, "lower masker.ratio");
}

static sm_status fit_drops_check_views(fit *f) {
  const sm_views_section *v = &f->r->views;
  const bool one = v->masked == SM_MASKED_ONE, all = v->masked == SM_MASKED_ALL && v->locals > 0;
  if (!one && !all) return SM_OK;
  sm_fail(
      f->err, SM_EINVAL,
      "data.views.masked is `%s`, but backbone `%s` drops hidden patches, which must be as many in every view",
      sm_masked_names[v->masked], sm_fit_name(&f->r->backbone));
  sm_fail_place(f->err, sm_recipe_place(f->r, "data.views", "masked"));
  return sm_hint(f->err, "set data.views.masked: global");
}

sm_status sm_fit_drops(fit *f) {
  sm_status status = SM_OK;
  for (int i = 0; i < f->r->losses && !status; i++) status = fit_drops_check_decoder(f, i);
  if (status || !f->backbone.drops || sm_recipe_most_hidden(f->r) <= 0) return status;
  for (int i = 0; i < f->r->losses && !status; i++) status = fit_drops_check_reader(f, i);
  if (!status) status = fit_drops_check_masker(f);
  return status ? status : fit_drops_check_views(f);
}
