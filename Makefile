# For `pgxn install pg_ltv` and for hands that type make; `cargo xtask help` has more.
PG_CONFIG ?= pg_config

all:
	cargo xtask package --pg-config "$$(command -v $(PG_CONFIG))"

install:
	cargo xtask install --pg-config "$$(command -v $(PG_CONFIG))"

uninstall:
	cargo xtask uninstall --pg-config "$$(command -v $(PG_CONFIG))"

installcheck:
	cargo xtask test

.PHONY: all install uninstall installcheck
