# tests/bench: smalti beside PyTorch; run by hand, needs torch (tests/bench/README.md)
EXTRA_DIST += \
  tests/bench/README.md \
  tests/bench/golden.py \
  tests/bench/machine.py \
  tests/bench/peer.py \
  tests/bench/peer_model.py \
  tests/bench/recipe.py \
  tests/bench/side_by_side.py
