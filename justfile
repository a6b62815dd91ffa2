# Every task of the project. `just` or `just help` lists them. The lines are plain cargo: pasted into a shell they work, too.

set lazy
set shell := ["bash", "-euo", "pipefail", "-c"]

# What a build calls itself: the tag it is from (v1.2.3), with the distance to it (v1.2.3-4-gabc1234) and `-dirty` where that applies.
VERSION := `git describe --tags --always --dirty 2>/dev/null || echo unknown`
GIT_HASH := `git rev-parse --short=12 HEAD 2>/dev/null || echo unknown`

# Where tools that a recipe makes are kept, one folder a version.
TOOLS_DIR := env("CQ_TOOLS_DIR", justfile_directory() / "target/tools")
CLI_DIR := TOOLS_DIR / "cloudquery-" + `sed -n 's|.*cloudquery/cli/v6 \(v[0-9.]*\).*|\1|p' tests/cloudquery/go.mod | head -1`
DESTINATION_DIR := TOOLS_DIR / "mem-destination-" + sha256_file("tests/cloudquery/requirements.txt")

# cargo-nextest stops a test that hangs and says which one; without it plain `cargo test` runs the same tests.
NEXTEST := `command -v cargo-nextest || true`

_default: help

# List the recipes
[group('help')]
help:
    @just --justfile {{ quote(justfile()) }} --list --unsorted

# Print the version and the commit of this checkout
[group('help')]
version:
    @echo "{{ VERSION }} ({{ GIT_HASH }})"

# Build the plugin for debugging
[group('build')]
build *ARGS:
    cargo build --locked {{ ARGS }}

# Sync a small in-process bucket with the plugin: needs only Rust
[group('build')]
quickstart:
    cargo run --locked --example quickstart

# Remove what was built, the tools under target/ included
[group('build')]
clean:
    cargo clean

# Run unit and integration tests: no Docker, no network
[group('test')]
test *ARGS:
    {{ if NEXTEST == "" { "cargo test" } else { "cargo nextest run" } }} --locked {{ ARGS }}

# Run the plugin against S3 in a container: needs Docker
[group('test')]
test-e2e: (_e2e "localstack:: sync::")

# Run the plugin under the real CloudQuery CLI: needs Docker, Python, and Go or a CLI
[group('test')]
test-cli: _cli _destination
    CLOUDQUERY_CLI="$(just --justfile {{ quote(justfile()) }} _cli-path)" CQ_DESTINATION_PYTHON={{ quote(DESTINATION_DIR / "bin/python") }} \
        just --justfile {{ quote(justfile()) }} _e2e cli:: {{ if env("CQ_DESTINATION_POSTGRESQL", "") == "" { "--skip postgresql::" } else { "" } }}

# Check that the README names only recipes, flags and files that exist, and run its commands
[group('test')]
test-docs:
    CQ_TEST_DOCS=just cargo test --locked --test it docs::

# Run the benchmarks
[group('test')]
bench *ARGS:
    cargo bench --locked {{ ARGS }}

# Check formatting, clippy and docs: no warnings
[group('check')]
lint:
    cargo fmt --check
    cargo clippy --locked --all-targets --all-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# Format the code
[group('check')]
fmt:
    cargo fmt

# Check dependencies: licences, sources, doubled versions
[group('check')]
deny:
    cargo deny --locked check bans licenses sources

# Check dependencies for known vulnerabilities: fetches the advisory database
[group('check')]
advisories:
    cargo deny --locked check advisories

# Check that layers point one way: S3 code knows no gRPC, protocol code knows no AWS
[group('check')]
layers:
    #!/usr/bin/env bash
    set -euo pipefail
    failed=0
    # forbid NAME PATTERN FILE…: no line but a comment may match.
    forbid() {
        local name=$1 pattern=$2
        shift 2
        if grep -rnE "$pattern" "$@" | grep -vE '^[^:]+:[0-9]+:[[:space:]]*//'; then
            echo "layers: $name must not use what the lines above use" >&2
            failed=1
        fi
    }
    existing() { for path in "$@"; do [ -e "$path" ] && echo "$path"; done; }
    forbid 'src/s3' '\btonic\b|\bprost\b|crate::(cloudquery|plugin|sync|tables|decode)\b' $(existing src/s3.rs src/s3)
    forbid 'src/cloudquery' '\baws_(config|credential|runtime|sdk|sigv4|smithy|types)|crate::(s3|plugin|sync|tables|decode|spec)\b' $(existing src/cloudquery.rs src/cloudquery)
    forbid 'src/tables' '\btonic\b|\baws_(config|credential|runtime|sdk|sigv4|smithy|types)|\btokio\b|crate::(plugin|sync)\b' $(existing src/tables.rs src/tables)
    exit $failed

# Runs modules of tests/e2e.
_e2e MODULES *ARGS:
    {{ if NEXTEST == "" { "cargo test" } else { "cargo nextest run --profile ci" } }} --locked --features e2e --test e2e -- {{ MODULES }} {{ ARGS }}

# Prints the CloudQuery CLI to use: $CLOUDQUERY_CLI, else the one on the PATH, else the pinned one.
_cli-path:
    @if [ -n "${CLOUDQUERY_CLI:-}" ]; then echo "$CLOUDQUERY_CLI"; else command -v cloudquery || echo {{ quote(CLI_DIR / "cloudquery") }}; fi

# Builds the pinned CloudQuery CLI where no other is at hand.
_cli:
    #!/usr/bin/env bash
    set -euo pipefail
    cli=$(just --justfile {{ quote(justfile()) }} _cli-path)
    [ -x "$cli" ] && exit 0
    if [ -n "${CLOUDQUERY_CLI:-}" ]; then
        echo "CLOUDQUERY_CLI names $cli, which is not an executable file" >&2
        exit 1
    fi
    if ! command -v go >/dev/null; then
        echo "no CloudQuery CLI: install Go (1.26 or newer) to build the pinned one, put a CLI on the PATH, or set CLOUDQUERY_CLI" >&2
        exit 1
    fi
    echo "building the CloudQuery CLI into {{ CLI_DIR }} (some minutes, once)" >&2
    mkdir -p {{ quote(CLI_DIR) }}
    cd tests/cloudquery
    # A file that appears at once and whole: a build that was stopped leaves no half of one behind.
    GOTOOLCHAIN="${GOTOOLCHAIN:-local}" go build -trimpath -ldflags '-s -w' -o "$cli.part" github.com/cloudquery/cloudquery/cli/v6
    mv "$cli.part" "$cli"

# Installs what tests/cloudquery/mem_destination.py needs into an environment of its own.
_destination:
    #!/usr/bin/env bash
    set -euo pipefail
    [ -e {{ quote(DESTINATION_DIR / "complete") }} ] && exit 0
    if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "the test destination needs python3 3.11 or newer with venv (Debian: apt-get install python3-venv)" >&2
        exit 1
    fi
    echo "installing the test destination into {{ DESTINATION_DIR }}" >&2
    python3 -m venv --clear {{ quote(DESTINATION_DIR) }}
    {{ quote(DESTINATION_DIR / "bin/python") }} -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/cloudquery/requirements.txt
    touch {{ quote(DESTINATION_DIR / "complete") }}
