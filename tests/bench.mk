# tests/bench: smalti beside PyTorch; run by hand, needs torch (tests/bench/README.md)
EXTRA_DIST += \
  tests/bench/README.md \
  tests/bench/chart.py \
  tests/bench/curves.py \
  tests/bench/golden.py \
  tests/bench/hostile.sh \
  tests/bench/jobs.py \
  tests/bench/machine.py \
  tests/bench/peer.py \
  tests/bench/peer_eval.py \
  tests/bench/peer_model.py \
  tests/bench/race.py \
  tests/bench/race_peer.py \
  tests/bench/ranks_link.sh \
  tests/bench/recipe.py \
  tests/bench/same_bytes.sh \
  tests/bench/side_by_side.py

# What decoding JPEGs at a fraction of their size does to views; made on request.
EXTRA_PROGRAMS += tests/bench/scaled_jpeg
tests_bench_scaled_jpeg_SOURCES = tests/bench/scaled_jpeg.c
tests_bench_scaled_jpeg_LDADD = libsmalti.la
CLEANFILES += tests/bench/scaled_jpeg
