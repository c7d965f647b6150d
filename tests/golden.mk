# tests/golden: EXTRA_DIST += tests/golden/NAME.safetensors, and the tests that read them
