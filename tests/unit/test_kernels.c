/* test_kernels.c — the fast kernels of layers, for every instruction set of this processor and both real
 * types, against the plain ones; that two ranges give the bits of one; the sweeps; the choice of a table.
 * Losses are in test_kernels_losses.c, others in the files beside it.
 *
 * Outputs start as NaN unless they accumulate, so a kernel that trusts old memory shows. */
#include "framework/tensor/backend.h"
#include "kernel_check.h"

/* ---- linear --------------------------------------------------------------------------------- */

static void linear_kernels(void **state) {
  static const int64_t shape[][3] = {{1, 1, 1},    {7, 5, 19},   {3, 33, 64},
                                     {2, 384, 97}, {5, 64, 300}, {1, 790, 520}}; /* T, C, N */
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 6; s++) {
    int64_t t = shape[s][0], c = shape[s][1], m = shape[s][2];
    sm_grid grid = sm_product_grid(m, c);
    int64_t tiles = grid.row_tiles * grid.column_tiles;
    begin(real);
    sm_tensor *x = items(DIMS(*b, t, c)), *w = whole(DIMS(m, c)), *bias = whole(DIMS(m)),
              *dy = items(DIMS(*b, t, m));
    NODE(forward, IN(x, w, bias), OUT(items(DIMS(*b, t, m))));
    check(SM_OP_linear, &forward, *b, 5e-6);
    forward.in[2] = NULL;
    check(SM_OP_linear, &forward, *b, 5e-6);
    NODE(dx, IN(dy, w), OUT(items(DIMS(*b, t, c))));
    check_both(SM_OP_linear_dx, &dx, *b, 5e-6);
    NODE(dw, IN(dy, x), OUT(whole(DIMS(m, c)), whole(DIMS(m))));
    check_both(SM_OP_linear_dw, &dw, tiles, 5e-6);
    dw.out[1] = NULL;
    check(SM_OP_linear_dw, &dw, tiles, 5e-6);
    end();
  }
}

/* ---- element by element --------------------------------------------------------------------- */

/* A row of a product has the same bits whatever rows are multiplied with it: threads and groups may cut them
 * anywhere. Depths beyond one part of k, columns that end inside a panel and inside a vector. */
static void rows_do_not_depend_on_their_company(void **state) {
  static const int64_t shapes[][2] = {{64, 9}, {81, 33}, {17, 1100}, {150, 640}}; /* n, k */
  const int64_t most = 27;
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
      const sm_kernel_table *table = table_for(SM_F32, isas[i]);
      if (!table || !strcmp(isas[i], "baseline")) continue; /* OpenBLAS promises it for equal shapes only */
      begin(SM_F32);
      int64_t n = shapes[s][0], k = shapes[s][1];
      sm_tensor *x = items(DIMS(most, k)), *w = whole(DIMS(n, k)), *b = whole(DIMS(n));
      sm_tensor *together = items(DIMS(most, n)), *apart = items(DIMS(most, n));
      NODE(all, IN(x, w, b), OUT(together));
      NODE(some, IN(x, w, b), OUT(apart));
      run(table, SM_OP_linear, &all, 0, most);
      for (int64_t rows = 1; rows <= most; rows++) {
        for (int64_t r = 0; r < most; r += rows)
          run(table, SM_OP_linear, &some, r, r + rows < most ? r + rows : most);
        for (int64_t e = 0; e < most * n; e++)
          if (get(apart, e) != get(together, e))
            fail_msg("%s: element %d of %d rows differs", isas[i], (int)e, (int)rows);
      }
      end();
    }
}

static void pointwise_kernels(void **state) {
  EACH_REAL EACH_SIZE(b) {
    begin(real);
    int64_t d = 67;
    sm_tensor *x = items(DIMS(*b, 5, d)), *dy = items(DIMS(*b, 5, d)), *y = items(DIMS(*b, 5, d));
    for (int64_t k = 0; k < *b * 5 * d; k += 3) set(x, k, 4 * get(x, k)); /* into the tails */
    NODE(gelu, IN(x), OUT(y));
    check(SM_OP_gelu, &gelu, *b, 5e-7);
    NODE(gelu_dx, IN(x, dy), OUT(y));
    check_both(SM_OP_gelu_dx, &gelu_dx, *b, 1e-6);
    NODE(gelu_both, IN(x, dy), OUT(y, items(DIMS(*b, 5, d))));
    check_both(SM_OP_gelu_dx, &gelu_both, *b, 1e-6);
    NODE(two, IN(x, dy), OUT(y));
    check(SM_OP_add, &two, *b, 1e-7);
    check_both(SM_OP_mul, &two, *b, 3e-7);
    two.f[0] = 0.3;
    check_both(SM_OP_scale, &two, *b, 3e-7);
    check_both(SM_OP_copy, &two, *b, 3e-7);
    NODE(fill, IN(NULL), OUT(y));
    fill.f[0] = 0.3;
    check(SM_OP_fill, &fill, *b, 0);
    sm_tensor *gamma = whole(DIMS(d)), *factors = items(DIMS(*b, 4)), *dgamma = whole(DIMS(d));
    for (int with = 0; with < 4; with++) {
      sm_tensor *g = with & 1 ? gamma : NULL, *f = with & 2 ? factors : NULL;
      NODE(residual, IN(x, dy, g, f), OUT(y));
      residual.i[0] = 2;
      check(SM_OP_residual, &residual, *b, 3e-7);
      NODE(df, IN(dy, g, f), OUT(y));
      df.i[0] = 2;
      check_both(SM_OP_residual_df, &df, *b, 3e-7);
      NODE(dg, IN(dy, x, f), OUT(dgamma));
      dg.i[0] = 2;
      check_both(SM_OP_residual_dgamma, &dg, sm_column_tiles(d), 1e-6);
    }
    end();
  }
}

/* ---- norms ---------------------------------------------------------------------------------- */

static void norm_kernels(void **state) {
  static const int64_t widths[] = {1, 5, 64, 131, 384};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    begin(real);
    int64_t d = widths[s], t = 7;
    sm_tensor *x = items(DIMS(*b, t, d)), *dy = items(DIMS(*b, t, d)), *y = items(DIMS(*b, t, d)),
              *w = whole(DIMS(d));
    sm_tensor *stats = items(DIMS(*b, t, 2)), *norm = items(DIMS(*b, t, 1));
    NODE(ln, IN(x, w, whole(DIMS(d))), OUT(y, stats));
    ln.f[0] = 1e-6;
    double tolerance = d == 1 ? 1e-3 : 5e-6; /* one column: x - mean is pure rounding over sqrt(eps) */
    check(SM_OP_layer_norm, &ln, *b, tolerance);
    run(sm_kernels_find(SM_PLAIN, real, NULL), SM_OP_layer_norm, &ln, 0, *b);
    NODE(bare_dx, IN(dy, x, NULL, stats, NULL), OUT(y));
    check(SM_OP_layer_norm_dx, &bare_dx, *b, tolerance);
    NODE(bare, IN(x, NULL, NULL), OUT(y, stats));
    bare.f[0] = 1e-6;
    check(SM_OP_layer_norm, &bare, *b, tolerance);
    run(sm_kernels_find(SM_PLAIN, real, NULL), SM_OP_layer_norm, &ln, 0, *b);
    NODE(ln_dx, IN(dy, x, w, stats, NULL), OUT(y));
    check(SM_OP_layer_norm_dx, &ln_dx, *b, tolerance);
    ln_dx.in[4] = items(DIMS(*b, t, d));
    check(SM_OP_layer_norm_dx, &ln_dx, *b, tolerance);
    NODE(ln_dw, IN(dy, x, stats), OUT(whole(DIMS(d)), whole(DIMS(d))));
    check_both(SM_OP_layer_norm_dw, &ln_dw, sm_column_tiles(d), 5e-6);
    if (*b > 1) /* one row of zeros, shorter than eps */
      for (int64_t k = 0; k < d; k++) set(x, (t + 1) * d + k, 0);
    NODE(l2, IN(x), OUT(y, norm));
    l2.f[0] = 1e-12;
    check(SM_OP_l2_normalize, &l2, *b, 1e-6);
    run(sm_kernels_find(SM_PLAIN, real, NULL), SM_OP_l2_normalize, &l2, 0, *b);
    for (int64_t k = 0; *b > 1 && k < d; k++) set(dy, (t + 1) * d + k, 1e-12 * get(dy, (t + 1) * d + k));
    NODE(l2_dx, IN(dy, y, norm), OUT(items(DIMS(*b, t, d))));
    l2_dx.f[0] = 1e-12;
    check_both(SM_OP_l2_normalize_dx, &l2_dx, *b, 2e-6);
    end();
  }
}

static void weight_norm_kernels(void **state) {
  static const int64_t rows[] = {1, 255, 256, 521};
  EACH_REAL for (int s = 0; s < 4; s++) {
    begin(real);
    int64_t k = rows[s], f = 37, tiles = (k + SM_ROW_TILE - 1) / SM_ROW_TILE;
    sm_tensor *v = whole(DIMS(k, f)), *gain = whole(DIMS(k, 1)), *dw = whole(DIMS(k, f));
    for (int64_t c = 0; k > 1 && c < f; c++) set(v, f + c, 0); /* a row without a direction */
    NODE(wn, IN(v, gain), OUT(whole(DIMS(k, f))));
    check(SM_OP_weight_norm, &wn, tiles, 1e-6);
    NODE(dv, IN(dw, v, gain), OUT(whole(DIMS(k, f)), whole(DIMS(k, 1))));
    check_both(SM_OP_weight_norm_dv, &dv, tiles, 2e-6);
    dv.out[0] = NULL;
    check(SM_OP_weight_norm_dv, &dv, tiles, 2e-6);
    NODE(only_dv, IN(dw, v, gain), OUT(whole(DIMS(k, f)), NULL));
    check(SM_OP_weight_norm_dv, &only_dv, tiles, 2e-6);
    end();
  }
}

/* ---- attention ------------------------------------------------------------------------------ */

static void attention_kernels(void **state) {
  static const int64_t shape[][3] = {
      {1, 1, 1}, {5, 2, 3}, {17, 3, 8}, {65, 2, 32}, {263, 1, 5}}; /* T, heads, D/heads */
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    int64_t t = shape[s][0], h = shape[s][1], d = h * shape[s][2];
    if (t > 100 && *b > 1) continue; /* one long sequence is enough: the queries in two blocks */
    begin(real);
    sm_tensor *qkv = items(DIMS(*b, t, 3 * d)), *o = items(DIMS(*b, t, d)), *lse = items(DIMS(*b, h, t));
    NODE(forward, IN(qkv), OUT(o, lse));
    forward.i[0] = h;
    forward.f[0] = 1.5 / sqrt((double)shape[s][2]);
    check(SM_OP_attention, &forward, *b, 3e-6);
    run(sm_kernels_find(SM_PLAIN, real, NULL), SM_OP_attention, &forward, 0, *b);
    NODE(back, IN(qkv, o, lse, items(DIMS(*b, t, d))), OUT(items(DIMS(*b, t, 3 * d))));
    back.i[0] = h;
    back.f[0] = forward.f[0];
    check_both(SM_OP_attention_dx, &back, *b, 5e-6);
    NODE(map, IN(qkv), OUT(items(DIMS(*b, h, t - t / 2))));
    map.i[0] = h;
    map.i[1] = t / 2;
    map.f[0] = forward.f[0];
    check(SM_OP_attention_map, &map, *b, 2e-6);
    forward.out[1] = NULL;
    check(SM_OP_attention, &forward, *b, 3e-6);
    end();
  }
}

/* ---- tokens and rows ------------------------------------------------------------------------ */

static void token_kernels(void **state) {
  EACH_REAL EACH_SIZE(b) {
    begin(real);
    int64_t d = 71, count = 6;
    NODE(patchify, IN(items(DIMS(*b, 3, 8, 12))), OUT(items(DIMS(*b, 6, 48))));
    patchify.i[0] = 4;
    check(SM_OP_patchify, &patchify, *b, 0);
    NODE(patchify_dx, IN(items(DIMS(*b, 6, 48))), OUT(items(DIMS(*b, 3, 8, 12))));
    patchify_dx.i[0] = 4;
    check_both(SM_OP_patchify_dx, &patchify_dx, *b, 1e-7);
    sm_tensor *patches = items(DIMS(*b, count, d)), *cls = whole(DIMS(1, 1, d)),
              *pos = whole(DIMS(1, 1 + count, d));
    sm_tensor *mask_token = whole(DIMS(1, d)), *mask = bytes(DIMS(*b, count)),
              *dy = items(DIMS(*b, 1 + count, d));
    NODE(tokens, IN(patches, cls, pos, mask_token, mask), OUT(items(DIMS(*b, 1 + count, d))));
    check(SM_OP_tokens, &tokens, *b, 1e-7);
    tokens.in[3] = tokens.in[4] = NULL;
    check(SM_OP_tokens, &tokens, *b, 1e-7);
    NODE(dpatch, IN(dy, mask), OUT(items(DIMS(*b, count, d))));
    check_both(SM_OP_tokens_dpatch, &dpatch, *b, 1e-7);
    NODE(dparam, IN(dy, mask), OUT(whole(DIMS(1, 1, d)), whole(DIMS(1, 1 + count, d)), whole(DIMS(1, d))));
    check_both(SM_OP_tokens_dparam, &dparam, sm_column_tiles(d), 1e-6);
    dparam.in[1] = NULL;
    check(SM_OP_tokens_dparam, &dparam, sm_column_tiles(d), 1e-6);
    for (int k = 0; k < 3; k++) { /* each alone */
      sm_node one = dparam;
      for (int j = 0; j < 3; j++)
        if (j != k) one.out[j] = NULL;
      check(SM_OP_tokens_dparam, &one, sm_column_tiles(d), 1e-6);
    }
    /* without a class token, with and without positions */
    sm_tensor *bare_dy = items(DIMS(*b, count, d));
    NODE(bare, IN(patches, NULL, whole(DIMS(1, count, d)), mask_token, mask), OUT(items(DIMS(*b, count, d))));
    bare.i[0] = 1;
    check(SM_OP_tokens, &bare, *b, 1e-7);
    bare.in[2] = NULL;
    check(SM_OP_tokens, &bare, *b, 1e-7);
    NODE(bare_dpatch, IN(bare_dy, mask), OUT(items(DIMS(*b, count, d))));
    bare_dpatch.i[0] = 1;
    check_both(SM_OP_tokens_dpatch, &bare_dpatch, *b, 1e-7);
    NODE(bare_dparam, IN(bare_dy, mask), OUT(NULL, whole(DIMS(1, count, d)), whole(DIMS(1, d))));
    bare_dparam.i[0] = 1;
    check_both(SM_OP_tokens_dparam, &bare_dparam, sm_column_tiles(d), 1e-6);
    NODE(prefix, IN(dy), OUT(items(DIMS(*b, count - 1, d))));
    prefix.i[0] = 2;
    check(SM_OP_drop_prefix, &prefix, *b, 0);
    NODE(prefix_dx, IN(items(DIMS(*b, count - 1, d))), OUT(items(DIMS(*b, 1 + count, d))));
    prefix_dx.i[0] = 2;
    check_both(SM_OP_drop_prefix_dx, &prefix_dx, *b, 1e-7);
    NODE(mean, IN(dy), OUT(items(DIMS(*b, d))));
    mean.i[0] = 2;
    check(SM_OP_mean_tokens, &mean, *b, 1e-6);
    NODE(mean_dx, IN(items(DIMS(*b, d))), OUT(items(DIMS(*b, 1 + count, d))));
    mean_dx.i[0] = 2;
    check_both(SM_OP_mean_tokens_dx, &mean_dx, *b, 1e-6);
    end();
  }
}

static void gathered_kernels(void **state) {
  EACH_REAL EACH_SIZE(r) {
    begin(real);
    int64_t b = 2, t = 5, d = 19;
    sm_tensor *token = integers(DIMS(*r), 1), *slot = integers(DIMS(b, t), 1);
    for (int64_t k = 0; k < b * t; k++) set(slot, k, -1);
    for (int64_t k = 0; k < *r; k++) {
      set(token, k, (double)((3 * k + 1) % (b * t)));
      set(slot, (3 * k + 1) % (b * t), (double)k);
    }
    NODE(gather, IN(items(DIMS(b, t, d)), token), OUT(items(DIMS(*r, d))));
    check(SM_OP_gather, &gather, *r, 0);
    NODE(scatter, IN(items(DIMS(*r, d)), slot), OUT(items(DIMS(b, t, d))));
    check_both(SM_OP_scatter, &scatter, b, 1e-7);
    end();
  }
}

static void position_kernels(void **state) {
  static const int64_t grid[][4] = {{14, 14, 6, 6}, {4, 3, 4, 3}, {3, 2, 7, 5}, {1, 1, 2, 2}};
  EACH_REAL for (int s = 0; s < 4; s++) {
    begin(real);
    const int64_t *g = grid[s], d = 100, from = 1 + g[0] * g[1], to = 1 + g[2] * g[3];
    NODE(resize, IN(whole(DIMS(1, from, d))), OUT(whole(DIMS(1, to, d))));
    NODE(dx, IN(whole(DIMS(1, to, d))), OUT(whole(DIMS(1, from, d))));
    memcpy(resize.i, g, 4 * sizeof *g);
    memcpy(dx.i, g, 4 * sizeof *g);
    resize.i[5] = dx.i[5] = 1;
    for (int rule = SM_RESIZE_DINO; rule <= SM_RESIZE_ANTIALIAS; rule++) {
      resize.i[4] = dx.i[4] = rule;
      check(SM_OP_position_resize, &resize, sm_column_tiles(d), 2e-6);
      check_both(SM_OP_position_resize_dx, &dx, sm_column_tiles(d), 2e-6);
    }
    NODE(two, IN(whole(DIMS(1, from + 1, d))), OUT(whole(DIMS(1, to + 1, d)))); /* two rows before them */
    memcpy(two.i, resize.i, sizeof two.i);
    two.i[5] = 2;
    check(SM_OP_position_resize, &two, sm_column_tiles(d), 2e-6);
    end();
  }
}

/* Tokens taken by an index that leaves some out, takes one twice and fills some; tokens put in at both ends
 * and between. */
static void sequence_kernels(void **state) {
  static const int64_t widths[] = {1, 63, 71, 200};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 4; s++) {
    begin(real);
    int64_t d = widths[s], t = 7, many = 5;
    sm_tensor *x = items(DIMS(*b, t, d)), *index = blank(SM_I32, DIMS(*b, many)), *fill = whole(DIMS(d));
    for (int64_t k = 0; k < *b * many; k++) set(index, k, (double)((3 * k + *b) % 6) - 1);
    index->count = x->count;
    for (int keep = 0; keep < 3; keep++) {
      NODE(take, IN(x, index, fill), OUT(items(DIMS(*b, keep + many, d))));
      NODE(dx, IN(items(DIMS(*b, keep + many, d)), index), OUT(items(DIMS(*b, t, d))));
      NODE(dfill, IN(dx.in[0], index), OUT(whole(DIMS(d))));
      take.i[0] = dx.i[0] = dfill.i[0] = keep;
      take.i[1] = dx.i[1] = 2;
      check(SM_OP_take, &take, *b, 0);
      check_both(SM_OP_take_dx, &dx, *b, 1e-6);
      check_both(SM_OP_take_dfill, &dfill, sm_column_tiles(d), 1e-6);
      take.in[2] = NULL;
      check(SM_OP_take, &take, *b, 0);
    }
    for (int at = 0; at <= 7; at += at == 3 ? 4 : 3) {
      NODE(insert, IN(x, whole(DIMS(1, 3, d))), OUT(items(DIMS(*b, t + 3, d))));
      NODE(dx, IN(items(DIMS(*b, t + 3, d))), OUT(items(DIMS(*b, t, d))));
      NODE(dtokens, IN(dx.in[0]), OUT(whole(DIMS(1, 3, d))));
      insert.i[0] = dx.i[0] = dtokens.i[0] = at;
      check(SM_OP_insert, &insert, *b, 0);
      check_both(SM_OP_insert_dx, &dx, *b, 1e-7);
      check_both(SM_OP_insert_dtokens, &dtokens, sm_column_tiles(d), 1e-6);
    }
    end();
  }
}

static void block_part_kernels(void **state) {
  static const int64_t widths[] = {1, 5, 64, 131};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 4; s++) {
    begin(real);
    int64_t d = widths[s], t = 3, all = 3 * d + 4;
    sm_tensor *x = items(DIMS(*b, t, 2 * d));
    for (int64_t k = 0; k < *b * t * 2 * d; k += 3) set(x, k, 20 * get(x, k)); /* where exp would overflow */
    NODE(swiglu, IN(x), OUT(items(DIMS(*b, t, d))));
    check(SM_OP_swiglu, &swiglu, *b, 2e-6);
    NODE(swiglu_dx, IN(x, items(DIMS(*b, t, d))), OUT(items(DIMS(*b, t, 2 * d))));
    check_both(SM_OP_swiglu_dx, &swiglu_dx, *b, 5e-6);
    sm_tensor *y = items(DIMS(*b, t, all)), *w = whole(DIMS(d)), *stats = items(DIMS(*b, t, 4));
    NODE(norm, IN(y, w, whole(DIMS(d))), OUT(items(DIMS(*b, t, all)), stats));
    norm.i[0] = 3, norm.i[1] = 2, norm.f[0] = d == 1 ? 0.1 : 1e-6;
    check(SM_OP_head_norm, &norm, *b, 5e-6);
    run(sm_kernels_find(SM_PLAIN, real, NULL), SM_OP_head_norm, &norm, 0, *b);
    NODE(dx, IN(items(DIMS(*b, t, all)), y, w, stats), OUT(items(DIMS(*b, t, all))));
    NODE(dw, IN(dx.in[0], y, stats, w), OUT(whole(DIMS(d)), whole(DIMS(d))));
    dx.i[0] = dw.i[0] = 3, dx.i[1] = dw.i[1] = 2;
    check_both(SM_OP_head_norm_dx, &dx, *b, 1e-5);
    check_both(SM_OP_head_norm_dw, &dw, sm_column_tiles(d), 1e-5);
    end();
  }
}

/* ---- sweeps --------------------------------------------------------------------------------- */

static void close_to(const sm_tensor *a, const sm_tensor *b, double tolerance) {
  for (int64_t k = 0; k < sm_elements(a); k++) {
    double scale = fmax(1, fabs(get(b, k)));
    if (!(fabs(get(a, k) - get(b, k)) <= tolerance * scale))
      fail_msg("element %lld is %.9g, expected %.9g", (long long)k, get(a, k), get(b, k));
  }
}

static void sweeps_match_plain(void **state) {
  static const int64_t lengths[] = {0, 1, 77, 1000};
  const sm_adamw_args args = {.lr = 1e-2,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .eps = 1e-8,
                              .weight_decay = 0.04,
                              .correction1 = 0.271,
                              .correction2 = 0.002997001,
                              .grad_scale = 0.5};
  EACH_REAL for (int s = 0; s < 4; s++) for (size_t i = 0; i < 3; i++) {
    const sm_kernel_table *table = table_for(real, isas[i]);
    if (!table) continue;
    begin(real);
    int64_t n = lengths[s];
    double tolerance = real == SM_F32 ? 1e-6 : 1e-14;
    const sm_sweeps *fast = table->sweeps, *plain = sm_kernels_find(SM_PLAIN, real, NULL)->sweeps;
    sm_tensor *p = whole(DIMS(n)), *g = whole(DIMS(n)), *m = whole(DIMS(n)), *v = whole(DIMS(n));
    for (int64_t k = 0; k < n; k++) set(v, k, fabs(get(v, k)));
    sm_tensor *p2 = copy_of(p), *m2 = copy_of(m), *v2 = copy_of(v);
    fast->adamw(p->plan->data, g->plan->data, m->plan->data, v->plan->data, n, &args);
    plain->adamw(p2->plan->data, g->plan->data, m2->plan->data, v2->plan->data, n, &args);
    close_to(p, p2, tolerance), close_to(m, m2, tolerance), close_to(v, v2, tolerance);
    for (int first = 1; first >= 0; first--) {
      fast->sgd(p->plan->data, g->plan->data, m->plan->data, n, 0.1, 0.9, 1e-3, 0.7, first);
      plain->sgd(p2->plan->data, g->plan->data, m2->plan->data, n, 0.1, 0.9, 1e-3, 0.7, first);
      close_to(p, p2, tolerance), close_to(m, m2, tolerance);
    }
    fast->ema(p->plan->data, g->plan->data, n, 0.996);
    plain->ema(p2->plan->data, g->plan->data, n, 0.996);
    close_to(p, p2, tolerance);
    fast->add(p->plan->data, g->plan->data, n);
    plain->add(p2->plan->data, g->plan->data, n);
    close_to(p, p2, tolerance);
    double square = plain->sum_squares(g->plan->data, n);
    assert_true(fabs(fast->sum_squares(g->plan->data, n) - square) <= 1e-12 * (1 + square));
    end();
  }
}

/* ---- digits ----------------------------------------------------------------------------------- */

static void gelu_keeps_its_digits_in_the_tails(void **state) {
  begin(SM_F32);
  int64_t size = 24001;
  sm_tensor *x = items(DIMS(1, size)), *y = items(DIMS(1, size));
  for (int64_t k = 0; k < size; k++) set(x, k, -12 + 1e-3 * (double)k);
  NODE(n, IN(x), OUT(y));
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    const sm_kernel_table *table = table_for(SM_F32, isas[i]);
    if (!table) continue;
    run(table, SM_OP_gelu, &n, 0, 1);
    for (int64_t k = 0; k < size; k++) {
      double v = get(x, k), expected = 0.5 * v * erfc(-v * sqrt(0.5));
      /* one rounding of the result, and 1e-5 of the tail where the result is that tail */
      double allowed = v < -1 ? 1e-5 * fabs(expected) + 1e-37 : 1.2e-7 * fmax(1, fabs(expected));
      if (!(fabs(get(y, k) - expected) <= allowed))
        fail_msg("%s: gelu(%g) is %.9g, expected %.9g", isas[i], v, get(y, k), expected);
    }
  }
  end();
}

/* ---- the choice of a table ------------------------------------------------------------------ */

static void tables_are_found_by_name(void **state) {
  const sm_kernel_table *best = sm_kernels_find(SM_CPU, SM_F32, NULL),
                        *base = sm_kernels_find(SM_CPU, SM_F64, "baseline");
  assert_non_null(best);
  assert_non_null(base);
  assert_string_equal(base->isa, "baseline");
  assert_int_equal(base->real, SM_F64);
  assert_ptr_equal(sm_kernels_find(SM_CPU, SM_F32, best->isa), best);
  assert_null(sm_kernels_find(SM_CPU, SM_F32, "avx1024"));
  assert_null(sm_kernels_find(SM_CPU, SM_I32, NULL));
  assert_string_equal(sm_kernels_find(SM_PLAIN, SM_F32, NULL)->isa, "plain");
  assert_null(sm_kernels_find(SM_PLAIN, SM_F32, "avx2"));
  for (int op = 0; op < SM_OP_COUNT; op++) assert_non_null(best->run[op]);
}

static void paths_are_found_by_name(void **state) {
  char list[128], few[6];
  const char *native = sm_isa_find("native");
  assert_non_null(native);
  assert_memory_equal(sm_isa_list(list, sizeof list), native, strlen(native));
  assert_string_equal(sm_isa_find("baseline"), "baseline");
  assert_non_null(strstr(list, "baseline"));
  assert_null(sm_isa_find("avx1024"));
  assert_true(!sm_isa_find("avx2") || !sm_isa_find("neon"));
  assert_int_equal(strlen(sm_isa_list(few, sizeof few)), sizeof few - 1);
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    assert_int_equal(sm_isa_find(isas[i]) != NULL, sm_kernels_find(SM_CPU, SM_F32, isas[i]) != NULL);
    assert_int_equal(sm_isa_find(isas[i]) != NULL, strstr(list, isas[i]) != NULL);
  }
  /* a path of products alone has the next path's kernels for all else */
  if (sm_isa_find("avx512_bf16"))
    assert_string_equal(sm_kernels_find(SM_CPU, SM_F32, "avx512_bf16")->isa, "avx512");
}

/* Graphs and sweeps take the path of their pool, a graph that names one its own. */
static void pools_choose_a_path(void **state) {
  sm_pool *pool = sm_pool_new(1, NULL);
  const char *best = sm_kernels_find(SM_CPU, SM_F32, NULL)->isa;
  assert_null(sm_pool_isa(pool));
  for (int taken = 0; taken < 2; taken++) {
    sm_graph_config c = {.device = SM_CPU, .real = SM_F32, .pool = pool};
    if (taken) sm_pool_take(pool, sm_isa_find("baseline"));
    sm_graph *of_pool = sm_graph_new(&c, NULL);
    c.isa = best;
    sm_graph *own = sm_graph_new(&c, NULL);
    assert_string_equal(sm_graph_isa(of_pool), taken ? "baseline" : best);
    assert_string_equal(sm_graph_isa(own), best);
    assert_ptr_equal(sm_host_sweeps(SM_F32, pool),
                     sm_kernels_find(SM_CPU, SM_F32, taken ? "baseline" : NULL)->sweeps);
    c.device = SM_PLAIN;
    c.isa = NULL;
    sm_graph *plain = sm_graph_new(&c, NULL);
    assert_string_equal(sm_graph_isa(plain), "plain");
    sm_graph_free(plain);
    sm_graph_free(own);
    sm_graph_free(of_pool);
  }
  sm_pool_free(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(paths_are_found_by_name),
      cmocka_unit_test(pools_choose_a_path),
      cmocka_unit_test(linear_kernels),
      cmocka_unit_test(rows_do_not_depend_on_their_company),
      cmocka_unit_test(pointwise_kernels),
      cmocka_unit_test(norm_kernels),
      cmocka_unit_test(weight_norm_kernels),
      cmocka_unit_test(attention_kernels),
      cmocka_unit_test(token_kernels),
      cmocka_unit_test(gathered_kernels),
      cmocka_unit_test(position_kernels),
      cmocka_unit_test(sequence_kernels),
      cmocka_unit_test(block_part_kernels),
      cmocka_unit_test(sweeps_match_plain),
      cmocka_unit_test(gelu_keeps_its_digits_in_the_tails),
      cmocka_unit_test(tables_are_found_by_name),
  };
  sm_products_prepare();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
