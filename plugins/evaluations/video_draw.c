/* video_draw.c — what evaluation `video` found, as files: masks as DAVIS's tools read them, and a strip of frames
 * for each clip, the masks that were found above the true ones. Files of an earlier evaluation are replaced. */
#include "video.h"

#include <string.h>

enum { TILE = 160, GAP = 4 }; /* pixels: height of a tile, and between two */

/* Of object 1, 2 …, begun again after the last. */
static const uint32_t colours[] = {0xe6194b, 0x4363d8, 0xffe119, 0x3cb44b,
                                   0xf58231, 0x46f0f0, 0xf032e6, 0xfabebe};

/* FOLDER/CLIP/STEM.png, and its folder. */
static sm_status video_write_mask(const video_walk *w, int64_t index, const sm_label_map *mask,
                                  sm_error *err) {
  const char *base = sm_path_base(w->set.ops->name(w->set.self, index)), *dot = strrchr(base, '.');
  sm_text folder = {0}, file = {0};
  sm_text_add(&folder, "%s/%s", w->o->masks, w->clip[w->at].name);
  sm_text_add(&file, "%s/%.*s.png", folder.s ? folder.s : "", dot ? (int)(dot - base) : (int)strlen(base),
              base);
  sm_status status = folder.failed || file.failed
                         ? sm_fail(err, SM_ENOMEM, "no memory for the name of a mask")
                         : sm_mkdirs(folder.s, err);
  if (!status) status = sm_label_map_write(file.s, mask, err);
  sm_text_free(&folder);
  sm_text_free(&file);
  return status;
}

static void video_tint(sm_image *picture, const sm_label_map *mask) {
  const size_t pixels = (size_t)picture->width * (size_t)picture->height;
  for (size_t i = 0; i < pixels; i++) {
    if (!mask->value[i]) continue;
    const uint32_t colour = colours[(mask->value[i] - 1) % (int)(sizeof colours / sizeof *colours)];
    for (int c = 0; c < 3; c++)
      picture->rgb[3 * i + (size_t)c] =
          (uint8_t)((picture->rgb[3 * i + (size_t)c] + (colour >> (16 - 8 * c) & 255)) / 2);
  }
}

static int video_tile_width(const video_walk *w) {
  const int width = (int)((int64_t)TILE * w->own_width / w->own_height);
  return width < 1 ? 1 : width > 8 * TILE ? 8 * TILE : width;
}

static int video_tiles(const video_walk *w) {
  return w->clip[w->at].frames < VIDEO_TILES ? (int)w->clip[w->at].frames : VIDEO_TILES;
}

static sm_status video_begin_strip(video_walk *w, sm_error *err) {
  const int n = video_tiles(w), width = n * video_tile_width(w) + (n - 1) * GAP;
  sm_status status = sm_image_reshape(&w->strip, width, 2 * TILE + GAP, err);
  if (!status) sm_draw_fill(&w->strip, 0, 0, width, 2 * TILE + GAP, 0xffffff, 1);
  w->tiles = 0;
  return status;
}

/* The frame twice, one below the other. */
static sm_status video_add_tile(video_walk *w, int64_t index, const sm_label_map *found,
                                const sm_label_map *truth, sm_error *err) {
  const sm_label_map *const masks[] = {found, truth};
  const int width = video_tile_width(w);
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_image small = {0};
  sm_status status = scratch ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a strip");
  for (int k = 0; !status && k < 2; k++) {
    status = w->set.ops->read(w->set.self, index, NULL, &w->picture, err);
    if (status) break;
    video_tint(&w->picture, masks[k]);
    status = sm_image_resize(&w->picture, NULL, width, TILE, SM_FILTER_BICUBIC, scratch, &small, err);
    if (!status) sm_draw_blit(&w->strip, w->tiles * (width + GAP), k * (TILE + GAP), &small);
  }
  w->tiles++;
  sm_image_free(&small);
  sm_image_scratch_free(scratch);
  return status;
}

sm_status video_draw_frame(video_walk *w, int64_t t, const sm_label_map *found, sm_error *err) {
  const video_clip *clip = &w->clip[w->at];
  const int64_t index = clip->first + t;
  sm_status status = w->o->masks ? video_write_mask(w, index, found, err) : SM_OK;
  if (status || !w->o->strips) return status;
  if (!t) status = video_begin_strip(w, err);
  if (!status && t == w->tiles * (clip->frames - 1) / (video_tiles(w) - 1))
    status = video_add_tile(w, index, found, t ? &w->truth : &w->first, err);
  return status;
}

sm_status video_draw_strip(video_walk *w, sm_error *err) {
  sm_text file = {0};
  if (!w->o->strips) return SM_OK;
  sm_text_add(&file, "%s/%s.png", w->o->strips, w->clip[w->at].name);
  sm_status status = SM_OK;
  char *slash = file.failed ? NULL : strrchr(file.s, '/');
  if (!slash) status = sm_fail(err, SM_ENOMEM, "no memory for the name of a strip");
  if (slash) {
    *slash = 0;
    status = sm_mkdirs(file.s, err);
    *slash = '/';
  }
  if (!status) status = sm_image_write_png(file.s, &w->strip, err);
  sm_text_free(&file);
  return status;
}
