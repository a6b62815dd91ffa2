#!/usr/bin/env python3
"""What a release is made of besides the binaries: archives, names, tags, notes. Python 3.11, no packages.

The recipes of the justfile and the release workflow call it; `just test-release` tests it. `release.py COMMAND --help`.
"""

import argparse
import hashlib
import io
import json
import lzma
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "cq-source-s3"
# Rust target: (Go os, Go arch, file name of the binary). Go's names are CloudQuery's.
TARGETS = {
    "x86_64-unknown-linux-musl": ("linux", "amd64", NAME),
    "aarch64-unknown-linux-musl": ("linux", "arm64", NAME),
    "x86_64-apple-darwin": ("darwin", "amd64", NAME),
    "aarch64-apple-darwin": ("darwin", "arm64", NAME),
    "x86_64-pc-windows-msvc": ("windows", "amd64", NAME + ".exe"),
}
EXTRA_FILES = ["README.md", "LICENSE", "CHANGELOG.md"]
VERSION_PATTERN = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?")
SERVES_SECONDS = 20  # it takes milliseconds; this is for a cold and busy machine
NOTES_START, NOTES_END = "<!-- image: start -->", "<!-- image: end -->"


def fail(text):
    sys.exit(f"release: {text}")


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def cargo_version():
    return "v" + tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]


# Versions and tags


def parse(version):
    """The sort key of a version by the rules of Semantic Versioning: a pre-release comes before its release."""
    match = VERSION_PATTERN.fullmatch(version)
    if not match:
        return None
    numbers = tuple(int(part) for part in match.groups()[:3])
    if match[4] is None:
        return (*numbers, 1, ())
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in match[4].split(".")]
    return (*numbers, 0, tuple(parts))


def is_prerelease(version):
    return VERSION_PATTERN.fullmatch(version)[4] is not None


def image_tags(version, sha, existing):
    """The tags of an image, in the order in which they are set: `latest` last, so that a failure leaves it where it was.

    `vX.Y` and `latest` move only forward: a fix for an old line must not become what new users get.
    """
    if parse(version) is None:
        fail(f"{version} is not vX.Y.Z or vX.Y.Z-suffix")
    tags = [f"{version}-{sha[:7]}", version]
    if is_prerelease(version):
        return tags
    releases = [other for other in existing if parse(other) and not is_prerelease(other)]
    own = parse(version)
    if all(parse(other) <= own for other in releases if parse(other)[:2] == own[:2]):
        tags.append(f"v{own[0]}.{own[1]}")
    if all(parse(other) <= own for other in releases):
        tags.append("latest")
    return tags


def github_releases():
    """GitHub's releases of $GITHUB_REPOSITORY by its own client: a dict of tag to "draft", "prerelease" or "release". What is
    public wins over drafts of the same tag. Needs GH_TOKEN; drafts are listed only to those who may write."""
    repository = os.environ.get("GITHUB_REPOSITORY") or fail("GITHUB_REPOSITORY is not set: it is organisation/name")
    listing = ["gh", "api", f"repos/{repository}/releases", "--paginate", "--jq", ".[] | [.tag_name, .draft, .prerelease] | @tsv"]
    answer = subprocess.run(listing, stdout=subprocess.PIPE, text=True)  # its complaints go where ours go
    if answer.returncode != 0:  # half a list is none: the release asked for may be in the other half
        fail(f"gh can't list the releases of {repository}, so nobody knows what is public")
    found = {}
    for line in answer.stdout.splitlines():
        tag, draft, prerelease = line.split("\t")
        if draft == "true":
            found.setdefault(tag, "draft")
        else:
            found[tag] = "prerelease" if prerelease == "true" else "release"
    return found


def latest_release(releases):
    """The highest version that is public and no pre-release, or an empty text."""
    public = [tag for tag, state in releases.items() if state == "release" and parse(tag) and not is_prerelease(tag)]
    return max(public, key=parse, default="")


def check_tag(version):
    """Everything that can be known about a tag before it exists. Returns the problems."""
    problems = []
    if parse(version) is None:
        return [f"{version} is not a version such as v1.2.3 or v1.2.3-rc.1"]
    if version != cargo_version():
        problems.append(f"Cargo.toml has {cargo_version()}: change it (and Cargo.lock, by `cargo check`) in a commit before")
    if not changelog_section(version):
        problems.append(f"CHANGELOG.md has no section [{version[1:]}]: rename [Unreleased] and date it")
    if git("status", "--porcelain"):
        problems.append("the work tree has changes: commit or remove them")
    if git("tag", "--list", version):
        problems.append(f"the tag {version} exists already: a version is released once")
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.y*ml"))]
    for page in (page for page in pages if page.exists()):
        text = page.read_text(encoding="utf-8")
        for tag in re.findall(rf"/{NAME}:(v\d[\w.-]*)", text):
            if tag != version:
                problems.append(f"{page.relative_to(ROOT)} names the image {NAME}:{tag}")
        # For `registry: github`: path and version in one line or in neighbouring ones. (CloudQuery has an s3 of its own.)
        path, its_version = r"(?<=\w)(?<!cloudquery)/s3\b[^\n]*", r'\bversion: "?(v\d[\w.-]*)'
        for tag in re.findall(rf"{path}(?:\n[^\n]*){{0,2}}?{its_version}", text) + re.findall(rf"{its_version}[^\n]*\n[^\n]*{path}", text):
            if tag != version:
                problems.append(f"{page.relative_to(ROOT)} has version: {tag} of this plugin for registry github")
    placeholder = "OWN" + "ER"  # in two, so that replacing it everywhere leaves this check as it is
    if placeholder in (tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"].get("repository") or placeholder):
        problems.append(f"Cargo.toml's repository still says {placeholder}: see docs/releasing.md, Before the first release")
    return problems


def changelog_section(version):
    """The text of a version's section in the changelog, or an empty text."""
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    heading = re.compile(rf"## \[?{re.escape(version.removeprefix('v'))}\]?(\s|$)")
    start = next((n for n, line in enumerate(lines) if heading.match(line)), None)
    if start is None:
        return ""
    end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith("## ")), len(lines))
    return "\n".join(lines[start + 1 : end]).strip()


# Archives


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def planned_archive(plan, target):
    """The name that dist gives to a target's archive; the installers download it by this name."""
    for name, artifact in plan["artifacts"].items():
        if artifact.get("kind") == "executable-zip" and artifact.get("target_triples") == [target]:
            return name
    fail(f"the plan has no archive for {target}; it has {', '.join(sorted(plan['artifacts']))}")


def add_to_tar(tar, name, data, mode, epoch):
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, epoch
    info.uname = info.gname = "root"
    tar.addfile(info, io.BytesIO(data))


def add_to_zip(archive, name, data, mode, epoch):
    # A zip has no time before 1980, and no zone.
    import time

    info = zipfile.ZipInfo(name, date_time=max(time.gmtime(epoch)[:6], (1980, 1, 1, 0, 0, 0)))
    info.external_attr = (0o100000 | mode) << 16
    info.create_system = 3
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data, compresslevel=9)


def write_archive(path, files, epoch):
    """dist's layout: a tarball holds one folder of its own name, a zip is flat. The same input gives the same bytes."""
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, data, mode in files:
                add_to_zip(archive, name, data, mode, epoch)
        return
    stem = path.name.removesuffix(".tar.xz")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        folder = tarfile.TarInfo(stem)
        folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, epoch
        folder.uname = folder.gname = "root"
        tar.addfile(folder)
        for name, data, mode in files:
            add_to_tar(tar, f"{stem}/{name}", data, mode, epoch)
    path.write_bytes(lzma.compress(packed.getvalue(), preset=9))


def registry_zip_name(goos, goarch):
    """What CloudQuery's `registry: github` downloads: it builds this name itself, see registry_url."""
    return f"{NAME}_{goos}_{goarch}.zip"


def registry_url(path, version, goos, goarch):
    """The address that the CLI makes of `registry: github`, `path: org/s3` and `version`."""
    org, name = path.split("/")
    return f"https://github.com/{org}/cq-source-{name}/releases/download/{version}/cq-source-{name}_{goos}_{goarch}.zip"


def archive(options):
    """dist's archive of one target with its checksum and manifest, and the zip for `registry: github`."""
    plan = json.loads(Path(options.plan).read_text(encoding="utf-8"))
    goos, goarch, binary_name = TARGETS[options.target]
    binary = Path(options.binary).read_bytes()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    name = planned_archive(plan, options.target)
    files = [(binary_name, binary, 0o755)] + [(extra, (ROOT / extra).read_bytes(), 0o644) for extra in EXTRA_FILES]
    write_archive(out / name, files, options.epoch)
    write_archive(out / registry_zip_name(goos, goarch), [(binary_name, binary, 0o755)], options.epoch)
    for written in (name, registry_zip_name(goos, goarch)):
        (out / f"{written}.sha256").write_text(f"{sha256(out / written)} *{written}\n", encoding="utf-8", newline="\n")
    # dist puts into sha256.sum and into the installers only what a manifest beside the archives gives a checksum for.
    artifact = dict(plan["artifacts"][name], checksums={"sha256": sha256(out / name)})
    manifest = dict(plan, artifacts={name: artifact})
    (out / f"{options.target}-dist-manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n")
    print(f"{name} {(out / name).stat().st_size} bytes; {registry_zip_name(goos, goarch)}")


def unpack(options):
    """The Linux binaries out of their archives, to where Dockerfile.release takes them from."""
    for target, (goos, goarch, binary_name) in TARGETS.items():
        if goos != "linux":
            continue
        packed = Path(options.archives) / f"{NAME}-{target}.tar.xz"
        recorded = Path(f"{packed}.sha256").read_text(encoding="utf-8").split()[0]
        if sha256(packed) != recorded:
            fail(f"{packed} is not what {packed}.sha256 says")
        with tarfile.open(packed) as tar:
            member = tar.getmember(f"{NAME}-{target}/{binary_name}")
            data = tar.extractfile(member).read()
        folder = ROOT / "target/linux" / goarch
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).write_bytes(data)
        (folder / NAME).chmod(0o755)
        os.utime(folder / NAME, (member.mtime, member.mtime))
        print(f"target/linux/{goarch}/{NAME}: {len(data)} bytes, {hashlib.sha256(data).hexdigest()}")


def hub(options):
    """The folder that `cloudquery plugin publish -D` reads, out of the zips for `registry: github`."""
    out = Path(options.out)
    (out / "docs").mkdir(parents=True, exist_ok=True)
    supported = []
    for goos, goarch, binary_name in TARGETS.values():
        source = Path(options.zips) / registry_zip_name(goos, goarch)
        if not source.exists():
            print(f"no {source}: {goos}/{goarch} is left out", file=sys.stderr)
            continue
        stem = f"plugin-{NAME.removeprefix('cq-source-')}-{options.version}-{goos}-{goarch}"
        with zipfile.ZipFile(source) as packed:
            data = packed.read(binary_name)
        write_archive(out / f"{stem}.zip", [(stem, data, 0o755)], options.epoch)
        checksum = "sha256:" + sha256(out / f"{stem}.zip")
        supported.append({"os": goos, "arch": goarch, "path": f"{stem}.zip", "checksum": checksum})
    if not supported:
        fail(f"no zip in {options.zips}")
    package = {
        "schema_version": 1,
        "team": options.team,
        "kind": "source",
        "name": "s3",
        "message": changelog_section(options.version) or options.version,
        "version": options.version,
        "protocols": [3],
        "supported_targets": supported,
        "package_type": "native",
    }
    (out / "package.json").write_text(json.dumps(package, indent=2) + "\n", encoding="utf-8", newline="\n")
    # Tables depend on the bucket: there are none to list.
    (out / "tables.json").write_text("[]\n", encoding="utf-8", newline="\n")
    (out / "docs/overview.md").write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8", newline="\n")
    for page in sorted((ROOT / "docs").glob("*.md")):
        (out / "docs" / page.name).write_text(page.read_text(encoding="utf-8"), encoding="utf-8", newline="\n")
    (out / "spec_json_schema.json").write_text((ROOT / "docs/spec-schema.json").read_text(encoding="utf-8"), encoding="utf-8", newline="\n")
    print(f"{out}: {', '.join(target['path'] for target in supported)}")


# Notes


def notes(options):
    """The text of the GitHub release."""
    version, digest = options.version, options.digest
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        fail(f"{digest!r} is not an image digest")
    if not options.image:
        fail("no image name")
    section = changelog_section(options.section or version)
    if not section:
        fail(f"CHANGELOG.md has no section for {options.section or version}")
    repository = options.repository
    lines = [section, "", NOTES_START, "## Container image", "", f"Digest `{digest}` for {options.platforms}.", "", "```sh"]
    for name in options.image:
        lines.append(f"docker pull {name}:{version}-{options.sha[:7]}")
        lines.append(f"docker pull {name}@{digest}")
    lines += [
        "```",
        NOTES_END,
        "",
        "## Verify",
        "",
        "`sha256.sum` lists the checksums of the archives; archives and zips have a `.sha256` of their own, too. Every file and",
        "the image carry an attestation of the workflow that built them:",
        "",
        "```sh",
        "sha256sum --ignore-missing --check sha256.sum",
        f"gh attestation verify {NAME}-x86_64-unknown-linux-musl.tar.xz --repo {repository}",
        f"gh attestation verify oci://{options.image[0]}@{digest} --repo {repository}",
        "```",
    ]
    generated = Path(options.generated).read_text(encoding="utf-8").strip() if options.generated else ""
    if generated:
        lines += ["", generated]
    print("\n".join(lines))


# The binary


def serves(options):
    """Starts a binary as the CLI does, over TCP, and waits until it answers: works on Windows, too."""
    import socket
    import time

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A preface and empty SETTINGS of HTTP/2; a server's first frame is SETTINGS, type 4, too.
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    process = subprocess.Popen([options.binary, "serve", "--network", "tcp", "--address", f"127.0.0.1:{port}", "--log-format", "json"])
    answer, deadline = b"", time.monotonic() + SERVES_SECONDS
    try:
        while len(answer) < 9 and process.poll() is None and time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                    connection.sendall(preface)
                    answer = connection.recv(9)
            except OSError:
                time.sleep(0.05)
    finally:
        process.terminate()
        status = process.wait(SERVES_SECONDS)
    if answer[3:4] != b"\x04":
        fail(f"{options.binary} does not serve (it ended with {status})")
    if os.name == "posix" and status != 0:
        fail(f"{options.binary} ended with {status} after SIGTERM, not with 0")
    print(f"{options.binary} serves gRPC over TCP")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(name, function, *names, **defaults):
        sub = commands.add_parser(name, help=function.__doc__)
        for option in names:
            sub.add_argument("--" + option.rstrip("*?"), required=option[-1] not in "*?", nargs="*" if option[-1] == "*" else None)
        sub.set_defaults(run=function, **defaults)

    def print_tags(options):
        # Of git and not of GitHub's releases: one that is not public yet may have its tags already.
        existing = git("tag", "--list", "v*").split()
        print("\n".join(image_tags(options.version, options.sha, existing)))

    def state(options):
        """What GitHub has for a version: none, draft, prerelease or release."""
        print(github_releases().get(options.version, "none"))

    def check(options):
        problems = check_tag(options.version)
        if problems:
            fail("\n  ".join([f"{options.version} can't be tagged:", *problems]))

    def check_ref(options):
        # dist also takes 1.2.3, or a version in other places of the tag.
        if options.version != cargo_version() or not changelog_section(options.version):
            fail(f"the tag {options.version} must be {cargo_version()}, as in Cargo.toml, and have a section in CHANGELOG.md")

    command("check-ref", check_ref, "version")
    command("tags", print_tags, "version", "sha")
    command("state", state, "version")
    command("latest", lambda options: print(latest_release(github_releases())))
    command("serves", serves, "binary")
    command("check-tag", check, "version")
    command("section", lambda options: print(changelog_section(options.version)), "version")
    command("archive", archive, "target", "binary", "plan", "out", "epoch")
    command("unpack", unpack, "archives")
    command("hub", hub, "zips", "out", "version", "team", "epoch")
    command("notes", notes, "version", "sha", "digest", "platforms", "repository", "image*", "generated?", "section?")
    options = parser.parse_args()
    if hasattr(options, "epoch"):
        options.epoch = int(options.epoch)
    if hasattr(options, "image") and options.image is None:
        options.image = []
    options.run(options)


if __name__ == "__main__":
    main()
