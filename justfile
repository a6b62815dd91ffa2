# Every task of the project. `just` or `just help` lists them. The lines are plain cargo: pasted into a shell they work, too.

set lazy
set shell := ["bash", "-euo", "pipefail", "-c"]

# What a build calls itself: the tag it is from (v1.2.3), with the distance to it (v1.2.3-4-gabc1234) and `-dirty` where that applies.
VERSION := if DESCRIBED == "" { CARGO_VERSION + "-dev" } else { DESCRIBED }
DESCRIBED := `git describe --tags --match 'v*' --dirty 2>/dev/null || true`
GIT_HASH := `git describe --always --abbrev=12 --exclude '*' --dirty 2>/dev/null || echo unknown`
# Only a build of a tag says so in the binary, and then the tag must be Cargo.toml's version.
TAG := env("CQ_TAG", `git describe --tags --match 'v*' --exact-match 2>/dev/null || true`)
CARGO_VERSION := `sed -n 's/^version = "\(.*\)"/v\1/p' Cargo.toml`

# How static binaries are made. The variables are for machines where cross can't pull or the toolchain is a linked one.
CROSS := env("CQ_CROSS", "cross")
PROFILE := env("CQ_PROFILE", "dist")
# A static cargo-auditable: the binary then lists its dependencies itself. `.ci/run tools cross-tools` makes one.
AUDITABLE := env("CQ_CARGO_AUDITABLE", `(find "${CQ_TOOLS_DIR:-target/tools}" -path '*/cargo-auditable-*/bin/cargo-auditable' 2>/dev/null || true) | xargs -r realpath`)
LINUX_TARGETS := "x86_64-unknown-linux-musl aarch64-unknown-linux-musl"
# The one of the profile that ships which this machine can run, where .ci/build-static has cargo put it (target/linux may hold
# the gate's); elsewhere than on Linux there is none.
STATIC_BINARY := if os() == "linux" { env("CQ_CROSS_TARGET_DIR", "target/cross") / arch() + "-unknown-linux-musl/dist/cq-source-s3" } else { "" }

# What tests/e2e runs: a package that has no binary of its own.
DEBUG_BINARY := absolute_path(env("CARGO_TARGET_DIR", justfile_directory() / "target") / "debug/cq-source-s3")

# Where the image goes. An empty name is left out.
GHCR_IMAGE := env("CQ_GHCR_IMAGE", "ghcr.io/OWNER/cq-source-s3")
GCR_IMAGE := env("CQ_GCR_IMAGE", "")
REGISTRY := "127.0.0.1:" + env("CQ_REGISTRY_PORT", "5000")
LOCAL_IMAGE := "cq-source-s3:local"
# The image that `just test-image` pushes and pulls again.
PUSHED_IMAGE := REGISTRY / "cq-source-s3"
IMAGE_VERSION := if TAG == "" { CARGO_VERSION } else { TAG }
# As `release.py tags` has it in an image's first tag.
SHORT_HASH := replace_regex(GIT_HASH, '^(.{7}).*', '$1')
IMAGE_ENV := "CQ_VERSION=" + quote(IMAGE_VERSION) + " CQ_REVISION=" + quote(GIT_HASH)

# Where tools that a recipe makes are kept, one folder a version.
TOOLS_DIR := env("CQ_TOOLS_DIR", justfile_directory() / "target/tools")
CLI_DIR := TOOLS_DIR / "cloudquery-" + `sed -n 's|.*cloudquery/cli/v6 \(v[0-9.]*\).*|\1|p' tests/cloudquery/go.mod | head -1`
EXAMPLES_DIR := TOOLS_DIR / "examples-" + sha256_file("examples/requirements.txt")
SCHEMA_DIR := TOOLS_DIR / "spec-schema-" + sha256_file("tests/spec_schema_requirements.txt")
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

# Build a static Linux binary with cross, prove that it is static: x86_64- or aarch64-unknown-linux-musl
[group('build')]
cross TARGET:
    CQ_CROSS={{ quote(CROSS) }} CQ_PROFILE={{ quote(PROFILE) }} CQ_SOURCE_S3_COMMIT={{ quote(GIT_HASH) }} CQ_SOURCE_S3_VERSION={{ quote(TAG) }} \
        CQ_CARGO_AUDITABLE={{ quote(AUDITABLE) }} .ci/build-static {{ quote(TARGET) }}

# Build the binaries of all Linux targets into target/linux
[group('build')]
dist-binaries:
    for target in {{ LINUX_TARGETS }}; do just --justfile {{ quote(justfile()) }} cross "$target"; done

# Build one commit twice in folders of its own and compare the binaries byte for byte (takes two full builds)
[group('build')]
reproduce TARGET="x86_64-unknown-linux-musl":
    #!/usr/bin/env bash
    set -euo pipefail
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for copy in one two; do
        git clone --quiet . "$work/$copy"
        # Two paths, two target folders, nothing shared.
        (cd "$work/$copy" && CQ_CARGO_AUDITABLE={{ quote(AUDITABLE) }} CQ_CROSS_TARGET_DIR="$work/$copy-target" just cross {{ quote(TARGET) }})
    done
    sha256sum "$work"/*/target/linux/*/cq-source-s3
    cmp "$work"/one/target/linux/*/cq-source-s3 "$work"/two/target/linux/*/cq-source-s3
    echo "two builds of {{ GIT_HASH }} for {{ TARGET }} are the same byte for byte"

# Remove what was built, the tools under target/ included
[group('build')]
clean: registry-down
    cargo clean
    rm -rf target

# Build the image for the engine's own architecture, load it as cq-source-s3:local and :VERSION-HASH
[group('image')]
docker: _binary _rootfs
    {{ IMAGE_ENV }} .ci/image local {{ LOCAL_IMAGE }} {{ quote("cq-source-s3:" + VERSION + "-" + GIT_HASH) }}

# Build the image for linux/amd64 and linux/arm64 into an OCI archive, target/linux/index.tar
[group('image')]
docker-multiarch: dist-binaries _rootfs
    {{ IMAGE_ENV }} .ci/image index target/linux/index.tar

# Build a tagged commit for all platforms, push by digest to GHCR and GCR, verify, then tag (CQ_GHCR_IMAGE, CQ_GCR_IMAGE: other names)
[group('image')]
docker-push: (_releasable GHCR_IMAGE GCR_IMAGE) dist-binaries _rootfs (_push GHCR_IMAGE GCR_IMAGE)

# Start a registry on 127.0.0.1 to try pushes with
[group('image')]
registry-up:
    .ci/image registry-up

# Stop that registry and remove what it holds
[group('image')]
registry-down:
    .ci/image registry-down

# Run unit and integration tests: no Docker, no network
[group('test')]
test *ARGS:
    {{ if NEXTEST == "" { "cargo test" } else { "cargo nextest run" } }} --locked {{ ARGS }}

# Run the plugin against S3 in a container: needs Docker
[group('test')]
test-e2e: (_e2e "localstack:: sync:: incremental::")

# Run the plugin under the real CloudQuery CLI: needs Docker, Python, and Go or a CLI
[group('test')]
test-cli: _cli (_venv DESTINATION_DIR "tests/cloudquery/requirements.txt")
    CLOUDQUERY_CLI="$(just --justfile {{ quote(justfile()) }} _cli-path)" CQ_DESTINATION_PYTHON={{ quote(DESTINATION_DIR / "bin/python") }} \
        just --justfile {{ quote(justfile()) }} _e2e cli:: {{ if env("CQ_DESTINATION_POSTGRESQL", "") == "" { "--skip postgresql::" } else { "" } }}

# Test the image, its push to a local registry, both platforms, and the CloudQuery CLI with it: needs Docker and QEMU for arm64
[group('test')]
test-image: docker dist-binaries registry-up (_push PUSHED_IMAGE "") _cli (_venv DESTINATION_DIR "tests/cloudquery/requirements.txt")
    CLOUDQUERY_CLI="$(just --justfile {{ quote(justfile()) }} _cli-path)" CQ_DESTINATION_PYTHON={{ quote(DESTINATION_DIR / "bin/python") }} \
        CQ_IMAGE={{ LOCAL_IMAGE }} CQ_PUSHED_IMAGE={{ quote(PUSHED_IMAGE + ":" + IMAGE_VERSION + "-" + SHORT_HASH) }} {{ IMAGE_ENV }} \
        just --justfile {{ quote(justfile()) }} _e2e image::

# Test the scripts that make archives, tags and release notes
[group('test')]
test-release:
    PYTHONDONTWRITEBYTECODE=1 python3 -m unittest discover --start-directory .ci --pattern 'test_*.py'

# Check that the JSON Schema accepts and refuses the same specs as the plugin's own checks: needs Python with venv
[group('test')]
test-schema: (_venv SCHEMA_DIR "tests/spec_schema_requirements.txt")
    {{ quote(SCHEMA_DIR / "bin/python") }} tests/spec_schema.py

# Check that the pages name only recipes, flags and files that exist, and run their commands, those of containers with cq-source-s3:local
[group('test')]
test-docs: test-schema docker (_has-tests "--test it" "docs::")
    CQ_TEST_DOCS=just cargo test --locked --test it docs::
    just --justfile {{ quote(justfile()) }} _e2e readme::

# Run the benchmarks; those of whole syncs measure the shipped binary where `just cross` has built it (CQ_BENCH_PLUGIN: others)
[group('test')]
bench *ARGS:
    CQ_BENCH_PLUGIN={{ quote(env("CQ_BENCH_PLUGIN", if path_exists(STATIC_BINARY) == "true" { STATIC_BINARY } else { "" })) }} cargo bench --locked {{ ARGS }}

# Check formatting, clippy and docs: no warnings
[group('check')]
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items

# Check workflows, Dockerfile, scripts and what dist generates: needs dist, actionlint, zizmor, hadolint, shellcheck
[group('check')]
lint-release:
    dist generate --check
    dist plan
    actionlint
    zizmor --offline --quiet .github
    hadolint Dockerfile.release
    shellcheck .ci/run .ci/image .ci/build-static .ci/rehearse .ci/tag-release

# Format the code
[group('check')]
fmt:
    cargo fmt --all

# Check dependencies: licences, sources, duplicate versions
[group('check')]
deny:
    cargo deny --locked check bans licenses sources

# Check dependencies for known vulnerabilities: fetches the advisory database
[group('check')]
advisories:
    cargo deny --locked check advisories

# Check the examples: Docker Compose's against its schema, Kubernetes' against those of the oldest release that they are for and of the newest known
[group('check')]
lint-examples: (_venv EXAMPLES_DIR "examples/requirements.txt")
    for version in 1.29.0 1.37.0; do {{ quote(EXAMPLES_DIR / "bin/kubernetes-validate") }} --strict -k "$version" examples/kubernetes/*.yaml; done
    {{ quote(EXAMPLES_DIR / "bin/check-jsonschema") }} --builtin-schema vendor.compose-spec examples/compose.yaml

# Check that layers point one way: the tables of tests/it/layers.rs against the code
[group('check')]
layers:
    cargo test --locked --test it layers::

# Do all that a tag does on this machine, with a local registry, and show what would be published
[group('release')]
release-rehearsal: registry-up
    CQ_TAG={{ quote(TAG) }} {{ IMAGE_ENV }} .ci/rehearse

# Make the folder that `cloudquery plugin publish -D` reads, target/hub, out of target/release-files
[group('release')]
hub VERSION TEAM:
    python3 .ci/release.py hub --zips target/release-files --out target/hub --version {{ quote(VERSION) }} --team {{ quote(TEAM) }} --epoch "$(git log -1 --format=%ct)"

# Write the software bill of materials into a folder: needs cargo-cyclonedx
[group('release')]
sbom FOLDER="target/release-files":
    mkdir -p {{ quote(FOLDER) }}
    SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" cargo cyclonedx --format json --spec-version 1.5 --override-filename cq-source-s3.cdx
    # Without the path of this checkout.
    sed "s|path+file://$PWD#||g" cq-source-s3.cdx.json >{{ quote(FOLDER) }}/cq-source-s3.cdx.json
    # It writes one for each member of the workspace.
    rm cq-source-s3.cdx.json tests/*/cq-source-s3.cdx.json

# Check everything that a release needs, then tag this commit: the push of the tag releases it
[group('release')]
tag-release VERSION:
    .ci/tag-release {{ quote(VERSION) }}

# Fails when one of MODULES has no test: a filter that matches nothing passes with cargo test.
_has-tests ARGS MODULES:
    @for module in {{ MODULES }}; do \
        if ! cargo test --locked {{ ARGS }} -- --list "$module" | grep -c ': test$' >/dev/null; then \
            echo "no test of {{ ARGS }} matches $module" >&2; \
            exit 1; \
        fi; \
    done

# Runs modules of tests/e2e with the plugin of this checkout. Both packages in one build, or what `cargo test` has compiled
# would be compiled again with other features.
_e2e MODULES *ARGS: (_has-tests "-p cq-source-s3-e2e" MODULES)
    cargo build --locked -p cq-source-s3 -p cq-source-s3-e2e --bin cq-source-s3
    CQ_TEST_PLUGIN={{ quote(DEBUG_BINARY) }} \
        {{ if NEXTEST == "" { "cargo test" } else { "cargo nextest run --profile ci" } }} --locked -p cq-source-s3-e2e -- {{ MODULES }} {{ ARGS }}

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
        echo "no CloudQuery CLI: install Go (1.21 or newer, which fetches the 1.26 that it needs) to build the pinned one, put a CLI on the PATH, or set CLOUDQUERY_CLI" >&2
        exit 1
    fi
    echo "building the CloudQuery CLI into {{ CLI_DIR }} (some minutes, once)" >&2
    mkdir -p {{ quote(CLI_DIR) }}
    cd tests/cloudquery
    # A file that appears at once and whole: a build that was stopped leaves no half of one behind.
    go build -trimpath -ldflags '-s -w' -o "$cli.part" github.com/cloudquery/cloudquery/cli/v6
    mv "$cli.part" "$cli"

# Installs what a file of requirements pins into an environment of its own, unless that is there.
_venv FOLDER REQUIREMENTS:
    #!/usr/bin/env bash
    set -euo pipefail
    [ -e {{ quote(FOLDER / "complete") }} ] && exit 0
    if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "{{ REQUIREMENTS }} needs python3 3.11 or newer with venv (Debian: apt-get install python3-venv)" >&2
        exit 1
    fi
    echo "installing {{ REQUIREMENTS }} into {{ FOLDER }}" >&2
    python3 -m venv --clear {{ quote(FOLDER) }}
    {{ quote(FOLDER / "bin/python") }} -m pip install --quiet --disable-pip-version-check --no-deps --requirement {{ quote(REQUIREMENTS) }}
    touch {{ quote(FOLDER / "complete") }}

# Refuses to give a version's tags to anything but what is shipped, of a clean checkout of that version's tag, with all tags of
# origin at hand (`latest` moves only forward); unless the registry is on this machine.
_releasable *NAMES:
    #!/usr/bin/env bash
    set -euo pipefail
    die() { echo "docker-push: $*" >&2; exit 1; }
    for name in {{ NAMES }}; do
        if .ci/image is-local "$name"; then continue; fi
        [ {{ quote(PROFILE) }} = dist ] || die "$name gets only binaries of the profile dist, not of {{ PROFILE }}: unset CQ_PROFILE"
        if [ "$(git describe --tags --match 'v*' --exact-match 2>/dev/null)" != {{ quote(CARGO_VERSION) }} ] || [ -n "$(git status --porcelain)" ]; then
            die "$name gets the tags of a version only from a clean checkout of {{ CARGO_VERSION }}; this is {{ VERSION }}"
        fi
        published=$(git ls-remote --refs --tags origin 'v*' | sed 's|.*refs/tags/||') || die "origin does not answer: nobody knows whether {{ CARGO_VERSION }} is the highest version"
        for tag in $published; do
            git rev-parse --quiet --verify "refs/tags/$tag" >/dev/null || die "origin has a tag $tag and this clone has not: git fetch --tags"
        done
    done

# Builds the binary of the engine's own architecture.
_binary:
    #!/usr/bin/env bash
    set -euo pipefail
    case $(docker version --format '{{{{.Server.Arch}}') in
    arm64) target=aarch64-unknown-linux-musl ;;
    *) target=x86_64-unknown-linux-musl ;;
    esac
    just --justfile {{ quote(justfile()) }} cross "$target"

# Lays out what the image has besides the binary.
_rootfs:
    .ci/image rootfs

# Pushes by digest, verifies each platform of each name, sets the tags last.
_push *NAMES:
    #!/usr/bin/env bash
    set -euo pipefail
    export {{ IMAGE_ENV }}
    names=() && for name in {{ NAMES }}; do names+=("$name"); done
    digest=$(.ci/image push "${names[@]}")
    for name in "${names[@]}"; do .ci/image verify "$name@$digest"; done
    .ci/image size "${names[0]}@$digest"
    tags=$(python3 .ci/release.py tags --version "$CQ_VERSION" --sha {{ quote(GIT_HASH) }})
    .ci/image tag "${names[*]}" "$digest" $tags
