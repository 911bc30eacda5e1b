# Recipes for working on Callgate: `just` lists them. Each is a short command that also works by hand.

set shell := ["bash", "-euo", "pipefail", "-c"]

[private]
default:
    @just --list

# The quick loop, under two minutes after a change: format and unit tests, all or those named.
quick *names:
    cargo fmt --all --check
    cargo test --workspace --lib -- {{ names }}

# Integration tests by name, e.g. `just it readme::`. Those that need public data or installed programs are ignored.
it *names:
    cargo test --test it -- {{ names }}

# Every check and every test, with all that they install below target/test-tools.
test:
    tests/run

# A benchmark: core, grpc, control, doors or overload.
bench name="core":
    cargo bench --bench {{ name }}

# Serve a directory.
run dir="policies":
    cargo run -- serve {{ dir }}

# Format everything.
fmt:
    cargo fmt --all

# What CI says of style.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Write generated documentation anew.
docs:
    CALLGATE_UPDATE_DOCS=1 cargo test --test it -- policies::reference

# The shape of the code: sizes, names used twice, circles.
shape:
    scripts/shape

# A fuzz target, without a nightly toolchain: see fuzz/README.md.
fuzz target seconds="60":
    mkdir -p fuzz/corpus/{{ target }}
    RUSTC_BOOTSTRAP=1 cargo fuzz run -s none {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/{{ target }} -- -max_total_time={{ seconds }}
