# recipes: installed in $(pkgdatadir)/recipes; those in base/ are only there to be extended
nobase_dist_pkgdata_DATA += \
  recipes/base/bench.yaml \
  recipes/base/dino.yaml \
  recipes/base/ibot.yaml \
  recipes/base/imagenet.yaml \
  recipes/base/table9.yaml \
  recipes/bench/a.yaml \
  recipes/bench/c.yaml \
  recipes/bench/d.yaml \
  recipes/demo.yaml \
  recipes/dino/vitb16.yaml \
  recipes/dino/vitl16.yaml \
  recipes/dino/vits16.yaml \
  recipes/ibot/vitb16.yaml \
  recipes/ibot/vitb16_random.yaml \
  recipes/ibot/vitl16.yaml \
  recipes/ibot/vits16.yaml \
  recipes/small/caltech_dino.yaml \
  recipes/small/caltech_ibot.yaml \
  recipes/small/cifar10_dino.yaml \
  recipes/small/cifar10_ibot.yaml \
  recipes/tables/head_sharing.yaml \
  recipes/tables/labels.yaml \
  recipes/tables/loss_ratio.yaml \
  recipes/tables/mask_ratio.yaml \
  recipes/tables/masks.yaml \
  recipes/tables/multi_crop.yaml \
  recipes/tables/output_dim.yaml \
  recipes/tables/patch_temperature.yaml \
  recipes/tables/table9-cifar10.yaml \
  recipes/tables/table9.yaml \
  recipes/table9/dino.yaml \
  recipes/table9/ibot.yaml \
  recipes/table9/mim_only.yaml \
  recipes/table9/separate_heads.yaml
