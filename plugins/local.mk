# plugins: one file a plugin, public headers only. The build folder plugins/.libs and the installed $(pkglibdir) hold
# all of them side by side, so the name of the .la says the kind too where two kinds share a name (head_linear).
# A plugin KIND/NAME is these lines:
#
#   pkglib_LTLIBRARIES += plugins/NAME.la
#   plugins_NAME_la_SOURCES = plugins/KIND/NAME.c
#   plugins_NAME_la_LDFLAGS = $(PLUGIN_LDFLAGS)
#   plugins_NAME_la_LIBADD = $(PLUGIN_LIBADD)

# Their sources are installed beside the documents, which point to them.
nobase_dist_doc_DATA += \
  plugins/backbones/resnet.c \
  plugins/backbones/swin.c \
  plugins/backbones/vit.c \
  plugins/backbones/vit.h \
  plugins/backbones/vit_build.c \
  plugins/datasets/annotated.c \
  plugins/datasets/annotated.h \
  plugins/datasets/cifar.c \
  plugins/datasets/coco.c \
  plugins/datasets/clips.c \
  plugins/datasets/csv.h \
  plugins/datasets/folder.c \
  plugins/datasets/labelled.c \
  plugins/datasets/list.c \
  plugins/datasets/listed.h \
  plugins/datasets/packed.c \
  plugins/datasets/shapes.c \
  plugins/datasets/voc.c \
  plugins/datasets/xml.c \
  plugins/datasets/xml.h \
  plugins/datasets/tar.c \
  plugins/dvae_net.h \
  plugins/evaluations/adversarial.c \
  plugins/evaluations/alignment.c \
  plugins/evaluations/ask.c \
  plugins/evaluations/ask.h \
  plugins/evaluations/backgrounds.c \
  plugins/evaluations/backgrounds.h \
  plugins/evaluations/backgrounds_gap.c \
  plugins/evaluations/backgrounds_vulnerable.c \
  plugins/evaluations/calibration.c \
  plugins/evaluations/calibration.h \
  plugins/evaluations/cells.c \
  plugins/evaluations/cells.h \
  plugins/evaluations/cluster.c \
  plugins/evaluations/copies.c \
  plugins/evaluations/copies.h \
  plugins/evaluations/copies_edits.c \
  plugins/evaluations/copies_figures.c \
  plugins/evaluations/copies_folder.c \
  plugins/evaluations/correspondence.c \
  plugins/evaluations/corruptions.c \
  plugins/evaluations/corruptions.h \
  plugins/evaluations/corruptions_folder.c \
  plugins/evaluations/curve.c \
  plugins/evaluations/curve.h \
  plugins/evaluations/discovery.c \
  plugins/evaluations/discovery.h \
  plugins/evaluations/discovery_sheet.c \
  plugins/evaluations/finetune.c \
  plugins/evaluations/knn.c \
  plugins/evaluations/discovery_list.c \
  plugins/evaluations/landmarks.c \
  plugins/evaluations/lidar.c \
  plugins/evaluations/linear.c \
  plugins/evaluations/linear_options.h \
  plugins/evaluations/logistic.c \
  plugins/evaluations/occlusion.c \
  plugins/evaluations/looks.c \
  plugins/evaluations/looks.h \
  plugins/evaluations/outside.c \
  plugins/evaluations/outside.h \
  plugins/evaluations/partwise.c \
  plugins/evaluations/rankme.c \
  plugins/evaluations/retrieval.c \
  plugins/evaluations/segment.c \
  plugins/evaluations/segment.h \
  plugins/evaluations/segment_crops.c \
  plugins/evaluations/segment_crops.h \
  plugins/evaluations/segment_distort.c \
  plugins/evaluations/segment_distort.h \
  plugins/evaluations/segment_knn.c \
  plugins/evaluations/segment_linear.c \
  plugins/evaluations/segment_upernet.c \
  plugins/evaluations/sample_options.h \
  plugins/evaluations/semi.c \
  plugins/evaluations/shuffle.c \
  plugins/evaluations/tune_options.h \
  plugins/evaluations/video.c \
  plugins/evaluations/video.h \
  plugins/evaluations/video_draw.c \
  plugins/heads/decoder.c \
  plugins/heads/identity.c \
  plugins/heads/linear.c \
  plugins/heads/projection.c \
  plugins/heads/prototypes.c \
  plugins/losses/cls_distill.c \
  plugins/losses/feature_distill.c \
  plugins/losses/gram.c \
  plugins/losses/hidden_patches.h \
  plugins/losses/koleo.c \
  plugins/losses/mean_entropy.c \
  plugins/losses/mim.c \
  plugins/losses/mim_regression.c \
  plugins/maskers/attention.c \
  plugins/maskers/blockwise.c \
  plugins/maskers/none.c \
  plugins/maskers/random.c \
  plugins/maskers/ratio.h \
  plugins/objectives/dvae.c \
  plugins/tokenizers/checkpoint.c \
  plugins/tokenizers/data2vec.c \
  plugins/tokenizers/dvae.c \
  plugins/tokenizers/hog.c \
  plugins/tokenizers/mean_colour.c \
  plugins/tokenizers/online_ema.c \
  plugins/tokenizers/patch_cluster.c \
  plugins/tokenizers/pixels.c \
  plugins/tokenizers/prototype_codes.c

pkglib_LTLIBRARIES += plugins/folder.la
plugins_folder_la_SOURCES = plugins/datasets/folder.c plugins/datasets/listed.h
plugins_folder_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_folder_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/clips.la
plugins_clips_la_SOURCES = plugins/datasets/clips.c
plugins_clips_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_clips_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/packed.la
plugins_packed_la_SOURCES = plugins/datasets/packed.c
plugins_packed_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_packed_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/shapes.la
plugins_shapes_la_SOURCES = plugins/datasets/shapes.c
plugins_shapes_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_shapes_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/swin.la
plugins_swin_la_SOURCES = plugins/backbones/swin.c
plugins_swin_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_swin_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/vit.la
plugins_vit_la_SOURCES = plugins/backbones/vit.c plugins/backbones/vit_build.c plugins/backbones/vit.h
plugins_vit_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_vit_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/resnet.la
plugins_resnet_la_SOURCES = plugins/backbones/resnet.c
plugins_resnet_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_resnet_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/projection.la
plugins_projection_la_SOURCES = plugins/heads/projection.c
plugins_projection_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_projection_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/head_linear.la
plugins_head_linear_la_SOURCES = plugins/heads/linear.c
plugins_head_linear_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_head_linear_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/none.la
plugins_none_la_SOURCES = plugins/maskers/none.c
plugins_none_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_none_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/random.la
plugins_random_la_SOURCES = plugins/maskers/random.c plugins/maskers/ratio.h
plugins_random_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_random_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/blockwise.la
plugins_blockwise_la_SOURCES = plugins/maskers/blockwise.c plugins/maskers/ratio.h
plugins_blockwise_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_blockwise_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/attention.la
plugins_attention_la_SOURCES = plugins/maskers/attention.c plugins/maskers/ratio.h
plugins_attention_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_attention_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/online_ema.la
plugins_online_ema_la_SOURCES = plugins/tokenizers/online_ema.c
plugins_online_ema_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_online_ema_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/checkpoint.la
plugins_checkpoint_la_SOURCES = plugins/tokenizers/checkpoint.c
plugins_checkpoint_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_checkpoint_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/cls_distill.la
plugins_cls_distill_la_SOURCES = plugins/losses/cls_distill.c
plugins_cls_distill_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_cls_distill_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/mim.la
plugins_mim_la_SOURCES = plugins/losses/mim.c plugins/losses/hidden_patches.h
plugins_mim_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_mim_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/knn.la
plugins_knn_la_SOURCES = plugins/evaluations/knn.c
plugins_knn_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_knn_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/evaluation_linear.la
plugins_evaluation_linear_la_SOURCES = plugins/evaluations/linear.c plugins/evaluations/linear_options.h
plugins_evaluation_linear_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_evaluation_linear_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/logistic.la
plugins_logistic_la_SOURCES = plugins/evaluations/logistic.c
plugins_logistic_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_logistic_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/cluster.la
plugins_cluster_la_SOURCES = plugins/evaluations/cluster.c
plugins_cluster_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_cluster_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/mean_colour.la
plugins_mean_colour_la_SOURCES = plugins/tokenizers/mean_colour.c
plugins_mean_colour_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_mean_colour_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/pixels.la
plugins_pixels_la_SOURCES = plugins/tokenizers/pixels.c
plugins_pixels_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_pixels_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/patch_cluster.la
plugins_patch_cluster_la_SOURCES = plugins/tokenizers/patch_cluster.c
plugins_patch_cluster_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_patch_cluster_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/tokenizer_dvae.la
plugins_tokenizer_dvae_la_SOURCES = plugins/tokenizers/dvae.c plugins/dvae_net.h
plugins_tokenizer_dvae_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_tokenizer_dvae_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/mim_regression.la
plugins_mim_regression_la_SOURCES = plugins/losses/mim_regression.c plugins/losses/hidden_patches.h
plugins_mim_regression_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_mim_regression_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/finetune.la
plugins_finetune_la_SOURCES = plugins/evaluations/finetune.c plugins/evaluations/tune_options.h
plugins_finetune_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_finetune_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/semi.la
plugins_semi_la_SOURCES = plugins/evaluations/semi.c plugins/evaluations/tune_options.h
plugins_semi_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_semi_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/objective_dvae.la
plugins_objective_dvae_la_SOURCES = plugins/objectives/dvae.c plugins/dvae_net.h
plugins_objective_dvae_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_objective_dvae_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/koleo.la
plugins_koleo_la_SOURCES = plugins/losses/koleo.c
plugins_koleo_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_koleo_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/data2vec.la
plugins_data2vec_la_SOURCES = plugins/tokenizers/data2vec.c
plugins_data2vec_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_data2vec_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/decoder.la
plugins_decoder_la_SOURCES = plugins/heads/decoder.c
plugins_decoder_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_decoder_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/alignment.la
plugins_alignment_la_SOURCES = plugins/evaluations/alignment.c plugins/evaluations/sample_options.h
plugins_alignment_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_alignment_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/lidar.la
plugins_lidar_la_SOURCES = plugins/evaluations/lidar.c plugins/evaluations/sample_options.h
plugins_lidar_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_lidar_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/rankme.la
plugins_rankme_la_SOURCES = plugins/evaluations/rankme.c plugins/evaluations/sample_options.h
plugins_rankme_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_rankme_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/cifar.la
plugins_cifar_la_SOURCES = plugins/datasets/cifar.c
plugins_cifar_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_cifar_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/list.la
plugins_list_la_SOURCES = plugins/datasets/list.c plugins/datasets/csv.h
plugins_list_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_list_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/hog.la
plugins_hog_la_SOURCES = plugins/tokenizers/hog.c
plugins_hog_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_hog_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/identity.la
plugins_identity_la_SOURCES = plugins/heads/identity.c
plugins_identity_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_identity_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/feature_distill.la
plugins_feature_distill_la_SOURCES = plugins/losses/feature_distill.c plugins/losses/hidden_patches.h
plugins_feature_distill_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_feature_distill_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/gram.la
plugins_gram_la_SOURCES = plugins/losses/gram.c
plugins_gram_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_gram_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/prototypes.la
plugins_prototypes_la_SOURCES = plugins/heads/prototypes.c
plugins_prototypes_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_prototypes_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/mean_entropy.la
plugins_mean_entropy_la_SOURCES = plugins/losses/mean_entropy.c
plugins_mean_entropy_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_mean_entropy_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/prototype_codes.la
plugins_prototype_codes_la_SOURCES = plugins/tokenizers/prototype_codes.c
plugins_prototype_codes_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_prototype_codes_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/corruptions.la
plugins_corruptions_la_SOURCES = plugins/evaluations/corruptions.c plugins/evaluations/corruptions_folder.c \
  plugins/evaluations/corruptions.h plugins/evaluations/ask.c plugins/evaluations/ask.h plugins/evaluations/outside.c \
  plugins/evaluations/outside.h
plugins_corruptions_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_corruptions_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/video.la
plugins_video_la_SOURCES = plugins/evaluations/video.c plugins/evaluations/video.h plugins/evaluations/video_draw.c
plugins_video_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_video_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/copies.la
plugins_copies_la_SOURCES = plugins/evaluations/copies.c plugins/evaluations/copies_edits.c \
  plugins/evaluations/copies_figures.c plugins/evaluations/copies_folder.c plugins/evaluations/copies.h \
  plugins/evaluations/looks.c plugins/evaluations/looks.h plugins/evaluations/outside.c plugins/evaluations/outside.h
plugins_copies_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_copies_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/landmarks.la
plugins_landmarks_la_SOURCES = plugins/evaluations/landmarks.c plugins/evaluations/looks.c plugins/evaluations/looks.h
plugins_landmarks_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_landmarks_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/retrieval.la
plugins_retrieval_la_SOURCES = plugins/evaluations/retrieval.c
plugins_retrieval_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_retrieval_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/labelled.la
plugins_labelled_la_SOURCES = plugins/datasets/labelled.c
plugins_labelled_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_labelled_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/occlusion.la
plugins_occlusion_la_SOURCES = plugins/evaluations/occlusion.c plugins/evaluations/ask.c plugins/evaluations/ask.h \
  plugins/evaluations/cells.c plugins/evaluations/cells.h plugins/evaluations/curve.c plugins/evaluations/curve.h
plugins_occlusion_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_occlusion_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/shuffle.la
plugins_shuffle_la_SOURCES = plugins/evaluations/shuffle.c plugins/evaluations/ask.c plugins/evaluations/ask.h \
  plugins/evaluations/cells.c plugins/evaluations/cells.h plugins/evaluations/curve.c plugins/evaluations/curve.h
plugins_shuffle_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_shuffle_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/backgrounds.la
plugins_backgrounds_la_SOURCES = plugins/evaluations/backgrounds.c plugins/evaluations/backgrounds_gap.c \
  plugins/evaluations/backgrounds_vulnerable.c plugins/evaluations/backgrounds.h plugins/evaluations/ask.c plugins/evaluations/ask.h \
  plugins/evaluations/outside.c plugins/evaluations/outside.h plugins/datasets/csv.h
plugins_backgrounds_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_backgrounds_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/adversarial.la
plugins_adversarial_la_SOURCES = plugins/evaluations/adversarial.c plugins/evaluations/ask.c plugins/evaluations/ask.h \
  plugins/evaluations/calibration.c plugins/evaluations/calibration.h plugins/evaluations/outside.c \
  plugins/evaluations/outside.h
plugins_adversarial_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_adversarial_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/voc.la
plugins_voc_la_SOURCES = plugins/datasets/voc.c plugins/datasets/annotated.c plugins/datasets/annotated.h \
  plugins/datasets/xml.c plugins/datasets/xml.h
plugins_voc_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_voc_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/coco.la
plugins_coco_la_SOURCES = plugins/datasets/coco.c plugins/datasets/annotated.c plugins/datasets/annotated.h
plugins_coco_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_coco_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/discovery.la
plugins_discovery_la_SOURCES = plugins/evaluations/discovery.c plugins/evaluations/discovery_list.c \
  plugins/evaluations/discovery_sheet.c plugins/evaluations/discovery.h
plugins_discovery_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_discovery_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/segment_knn.la
plugins_segment_knn_la_SOURCES = plugins/evaluations/segment_knn.c plugins/evaluations/segment.c \
  plugins/evaluations/segment.h
plugins_segment_knn_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_segment_knn_la_LIBADD = $(PLUGIN_LIBADD)

SEGMENT_CROPS = plugins/evaluations/segment_crops.c plugins/evaluations/segment_crops.h \
  plugins/evaluations/segment_distort.c plugins/evaluations/segment_distort.h \
  plugins/evaluations/segment.c plugins/evaluations/segment.h

pkglib_LTLIBRARIES += plugins/segment_linear.la
plugins_segment_linear_la_SOURCES = plugins/evaluations/segment_linear.c $(SEGMENT_CROPS)
plugins_segment_linear_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_segment_linear_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/segment_upernet.la
plugins_segment_upernet_la_SOURCES = plugins/evaluations/segment_upernet.c $(SEGMENT_CROPS)
plugins_segment_upernet_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_segment_upernet_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/tar.la
plugins_tar_la_SOURCES = plugins/datasets/tar.c plugins/datasets/listed.h
plugins_tar_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_tar_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/partwise.la
plugins_partwise_la_SOURCES = plugins/evaluations/partwise.c plugins/evaluations/linear_options.h
plugins_partwise_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_partwise_la_LIBADD = $(PLUGIN_LIBADD)

pkglib_LTLIBRARIES += plugins/correspondence.la
plugins_correspondence_la_SOURCES = plugins/evaluations/correspondence.c
plugins_correspondence_la_LDFLAGS = $(PLUGIN_LDFLAGS)
plugins_correspondence_la_LIBADD = $(PLUGIN_LIBADD)
