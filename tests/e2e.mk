# tests/e2e: check_SCRIPTS += tests/e2e/NAME.sh, run by bash with the environment of ./run-uninstalled
check_SCRIPTS += tests/e2e/plugins.sh
check_SCRIPTS += tests/e2e/cli.sh tests/e2e/recipes.sh
check_SCRIPTS += tests/e2e/hostile_data.sh
