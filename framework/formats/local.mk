# framework/formats: safetensors, .npy, packed pictures, TensorBoard events, JSON lines, YAML trees; may use base only
pkginclude_HEADERS += framework/include/smalti/packed.h framework/include/smalti/safetensors.h framework/include/smalti/npy.h
libsmalti_la_SOURCES += \
  framework/formats/bytes.c \
  framework/formats/bytes.h framework/formats/formats.h \
  framework/formats/json.c \
  framework/formats/json_read.c \
  framework/formats/jsonl.c \
  framework/formats/npy.c \
  framework/formats/packed_format.h \
  framework/formats/packed_reader.c \
  framework/formats/packed_writer.c \
  framework/formats/pth.c \
  framework/formats/pth.h \
  framework/formats/pth_known.c \
  framework/formats/pth_names.c \
  framework/formats/pth_pickle.c \
  framework/formats/pth_values.c \
  framework/formats/pth_zip.c \
  framework/formats/st.h \
  framework/formats/st_common.c \
  framework/formats/st_parse.c \
  framework/formats/st_reader.c \
  framework/formats/st_writer.c \
  framework/formats/tar.c framework/formats/tar.h \
  framework/formats/tensorboard.c \
  framework/formats/yaml.h \
  framework/formats/yaml_read.c \
  framework/formats/yaml_tree.c
