# tests/golden: EXTRA_DIST += tests/golden/NAME.safetensors, and the tests that read them

check_PROGRAMS += tests/unit/test_golden_steps
tests_unit_test_golden_steps_SOURCES = tests/unit/test_golden_steps.c tests/unit/golden.c tests/unit/golden.h \
  tests/unit/ssl_rig.c tests/unit/ssl_rig.h
tests_unit_test_golden_steps_LDADD = $(LDADD) $(CJSON_LIBS)
EXTRA_DIST += tests/golden/dino_multicrop.safetensors tests/golden/ibot_separate_heads.safetensors \
  tests/golden/ibot_shared_head.safetensors tests/golden/ibot_unfreeze.safetensors tests/golden/masks.safetensors

# framework/eval
check_PROGRAMS += tests/unit/test_knn
tests_unit_test_knn_SOURCES = tests/unit/test_knn.c tests/unit/golden.c tests/unit/golden.h tests/unit/pools.h
tests_unit_test_knn_LDADD = $(LDADD) $(CJSON_LIBS)
check_PROGRAMS += tests/unit/test_weights
tests_unit_test_weights_SOURCES = tests/unit/test_weights.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_weights_LDADD = $(LDADD) $(CJSON_LIBS)
EXTRA_DIST += tests/golden/knn.safetensors tests/golden/timm_features.safetensors

check_PROGRAMS += tests/unit/test_pieces tests/unit/test_train_step tests/unit/test_train_sums
tests_unit_test_train_step_SOURCES = tests/unit/test_train_step.c $(step_rig)
tests_unit_test_pieces_SOURCES = tests/unit/test_pieces.c $(step_rig)
check_PROGRAMS += tests/unit/test_ranks
tests_unit_test_ranks_SOURCES = tests/unit/test_ranks.c tests/unit/hub.h $(step_rig)
tests_unit_test_train_sums_SOURCES = tests/unit/test_train_sums.c $(step_rig)
check_PROGRAMS += tests/unit/test_train_layout
tests_unit_test_train_layout_SOURCES = tests/unit/test_train_layout.c $(step_rig)
step_rig = tests/unit/step_rig.c tests/unit/step_rig.h tests/unit/ssl_rig.c tests/unit/ssl_rig.h
check_PROGRAMS += tests/unit/test_dense tests/unit/test_cut
tests_unit_test_cut_SOURCES = tests/unit/test_cut.c tests/unit/ssl_rig.c tests/unit/ssl_rig.h
tests_unit_test_dense_SOURCES = tests/unit/test_dense.c tests/unit/ssl_rig.c tests/unit/ssl_rig.h

check_PROGRAMS += tests/unit/test_plugins_maskers
tests_unit_test_plugins_maskers_SOURCES = tests/unit/test_plugins_maskers.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_plugins_maskers_LDADD = $(LDADD) $(CJSON_LIBS)

check_PROGRAMS += tests/unit/test_plugins_networks

# Swin, by numbers of iBOT's code; every swin*.safetensors in $SMALTI_GOLDEN is tried
EXTRA_DIST += tests/golden/swin_padded.safetensors
check_PROGRAMS += tests/unit/test_swin
tests_unit_test_swin_SOURCES = tests/unit/test_swin.c tests/unit/plugin_fixture.h tests/unit/golden.c tests/unit/golden.h
tests_unit_test_swin_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_swin_LDADD = $(LDADD) $(CJSON_LIBS)

# DALL-E's encoder, by numbers of its own package; every dvae_encoder*.safetensors in $SMALTI_GOLDEN is tried
EXTRA_DIST += tests/golden/dvae_encoder_small.safetensors
check_PROGRAMS += tests/unit/test_dvae
tests_unit_test_dvae_SOURCES = tests/unit/test_dvae.c tests/unit/dvae_file.h tests/unit/row_rig.h tests/unit/plugin_fixture.h tests/unit/golden.c tests/unit/golden.h
tests_unit_test_dvae_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_dvae_LDADD = $(LDADD) $(CJSON_LIBS)

# residual networks with batch norm, by PyTorch's numbers; every resnet_*.safetensors in $SMALTI_GOLDEN is tried
EXTRA_DIST += tests/golden/resnet.py tests/golden/resnet_basic.safetensors tests/golden/resnet_bottleneck.safetensors
check_PROGRAMS += tests/unit/test_resnet
tests_unit_test_resnet_SOURCES = tests/unit/test_resnet.c tests/unit/plugin_fixture.h tests/unit/golden.c tests/unit/golden.h
tests_unit_test_resnet_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_resnet_LDADD = $(LDADD) $(CJSON_LIBS)

# koleo, data2vec, DINOv2's patch loss and hog, by numbers of their authors' code
EXTRA_DIST += tests/golden/targets2.safetensors
check_PROGRAMS += tests/unit/test_targets
tests_unit_test_targets_SOURCES = tests/unit/test_targets.c $(target_rig)
tests_unit_test_targets_LDADD = $(LDADD) $(CJSON_LIBS)

# forms of the vision transformer, by their authors' code
EXTRA_DIST += tests/golden/vit_bare.safetensors tests/golden/vit_beit_finetuned.safetensors \
  tests/golden/vit_beit_pretrain.safetensors tests/golden/vit_deit_distilled.safetensors \
  tests/golden/vit_dinov2_hub_swiglu.safetensors tests/golden/vit_dinov2_teacher.safetensors \
  tests/golden/vit_mae_encoder.safetensors
check_PROGRAMS += tests/unit/test_vit
tests_unit_test_vit_SOURCES = tests/unit/test_vit.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_vit_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_vit_LDADD = $(LDADD) $(CJSON_LIBS)

# a step of MAE, by its authors' formulas
EXTRA_DIST += tests/golden/mae_step.safetensors
check_PROGRAMS += tests/unit/test_mae
tests_unit_test_mae_SOURCES = tests/unit/test_mae.c tests/unit/golden.c tests/unit/golden.h \
  tests/unit/ssl_rig.c tests/unit/ssl_rig.h
tests_unit_test_mae_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
tests_unit_test_mae_LDADD = $(LDADD) $(CJSON_LIBS)

# files of PyTorch, as bytes; every file of $SMALTI_GOLDEN/pth is tried
EXTRA_DIST += tests/golden/pth.safetensors tests/golden/pth_models.safetensors
check_PROGRAMS += tests/unit/test_pth tests/unit/test_foreign
tests_unit_test_pth_SOURCES = tests/unit/test_pth.c tests/unit/pth_file.h
tests_unit_test_foreign_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)

check_PROGRAMS += tests/unit/test_targets_patch
tests_unit_test_targets_patch_SOURCES = tests/unit/test_targets_patch.c $(target_rig)
tests_unit_test_targets_patch_LDADD = $(LDADD) $(CJSON_LIBS)
check_PROGRAMS += tests/unit/test_targets_views
tests_unit_test_targets_views_SOURCES = tests/unit/test_targets_views.c $(target_rig)
tests_unit_test_targets_views_LDADD = $(LDADD) $(CJSON_LIBS)
target_rig = tests/unit/target_rig.h tests/unit/plugin_fixture.h tests/unit/golden.c tests/unit/golden.h

# retrieval and video, by numbers of revisitop, DINO and davis2017-evaluation
EXTRA_DIST += tests/golden/retrieval.safetensors tests/golden/davis_jf.safetensors tests/golden/propagation.safetensors
check_PROGRAMS += tests/unit/test_retrieval tests/unit/test_video
tests_unit_test_retrieval_SOURCES = tests/unit/test_retrieval.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_retrieval_LDADD = $(LDADD) $(CJSON_LIBS)
tests_unit_test_video_SOURCES = tests/unit/test_video.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_video_LDADD = $(LDADD) $(CJSON_LIBS)

# objects found without labels, by numbers of LOST and TokenCut; every discovery*.safetensors in $SMALTI_GOLDEN is tried.
# MaskCut's numbers are made by maskcut.py, which says how
EXTRA_DIST += tests/golden/discovery.safetensors tests/golden/maskcut.py tests/golden/maskcut.safetensors
check_PROGRAMS += tests/unit/test_discovery
tests_unit_test_discovery_SOURCES = tests/unit/test_discovery.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_discovery_LDADD = $(LDADD) $(CJSON_LIBS)
