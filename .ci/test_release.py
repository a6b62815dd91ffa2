"""Tests of release.py: `just test-release`."""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
sys.dont_write_bytecode = True
import release  # noqa: E402

SHA = "1a2b3c4d5e6f"
EPOCH = 1_790_000_000


def plan(*targets):
    artifacts = {}
    for target in targets:
        suffix = ".zip" if "windows" in target else ".tar.xz"
        name = f"cq-source-s3-{target}{suffix}"
        artifacts[name] = {"kind": "executable-zip", "target_triples": [target], "name": name}
    return {"dist_version": "0.34.0", "artifacts": artifacts}


class Tags(unittest.TestCase):
    def test_latest_is_last_and_the_commit_is_in_the_first(self):
        self.assertEqual(release.image_tags("v1.2.3", SHA, []), ["v1.2.3-1a2b3c4", "v1.2.3", "v1.2", "latest"])

    def test_latest_and_the_line_move_only_forward(self):
        existing = ["v1.2.3", "v1.10.0", "v1.2.9", "not-a-version", "v2"]
        self.assertEqual(release.image_tags("v1.2.10", SHA, existing)[2:], ["v1.2"])
        self.assertEqual(release.image_tags("v1.2.4", SHA, existing)[2:], [])
        self.assertEqual(release.image_tags("v1.10.1", SHA, existing)[2:], ["v1.10", "latest"])
        self.assertEqual(release.image_tags("v1.9.0", SHA, existing)[2:], ["v1.9"])

    def test_the_tag_itself_does_not_stand_in_its_own_way(self):
        self.assertEqual(release.image_tags("v1.2.3", SHA, ["v1.2.3"])[2:], ["v1.2", "latest"])

    def test_a_pre_release_moves_nothing_and_holds_nothing_back(self):
        self.assertEqual(release.image_tags("v2.0.0-rc.1", SHA, ["v1.0.0"]), ["v2.0.0-rc.1-1a2b3c4", "v2.0.0-rc.1"])
        self.assertEqual(release.image_tags("v1.0.1", SHA, ["v1.0.0", "v2.0.0-rc.1"])[2:], ["v1.0", "latest"])

    def test_versions_are_ordered_as_semantic_versioning_says(self):
        ordered = ["v1.0.0-alpha", "v1.0.0-alpha.1", "v1.0.0-alpha.beta", "v1.0.0-beta.2", "v1.0.0-beta.11", "v1.0.0-rc.1", "v1.0.0", "v1.0.10"]
        self.assertEqual(sorted(reversed(ordered), key=release.parse), ordered)

    def test_what_is_no_version_is_refused(self):
        for version in ("1.2.3", "v1.2", "v1.2.3+build", "latest", "v1.2.3 "):
            with self.assertRaises(SystemExit, msg=version):
                release.image_tags(version, SHA, [])


class Releases(unittest.TestCase):
    LISTED = "v1.3.0\ttrue\tfalse\nv1.2.3\tfalse\tfalse\nv1.2.3\ttrue\tfalse\nv2.0.0-rc.1\tfalse\ttrue\nv1.1.9\tfalse\tfalse\n"

    def run_command(self, *arguments, answers=LISTED, status=0, repository="acme/cq-source-s3"):
        """release.py with a `gh` that answers this, once it was asked for what is expected."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "answers").write_text(answers)
            gh = Path(folder) / "gh"
            gh.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "api repos/acme/cq-source-s3/releases --paginate" ] || exit 9\ncat {folder}/answers\nexit {status}\n')
            gh.chmod(0o755)
            environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "GITHUB_REPOSITORY": repository}
            script = [sys.executable, "-B", release.__file__]
            return subprocess.run([*script, *arguments], env=environment, capture_output=True, text=True)

    def test_a_release_is_none_a_draft_or_public(self):
        states = {"v1.3.0": "draft", "v1.2.3": "release", "v2.0.0-rc.1": "prerelease", "v9.9.9": "none"}
        for version, expected in states.items():
            self.assertEqual(self.run_command("state", "--version", version).stdout.split(), [expected], version)

    def test_latest_is_the_highest_public_version(self):
        self.assertEqual(self.run_command("latest").stdout.split(), ["v1.2.3"])
        empty = self.run_command("latest", answers="")
        self.assertEqual((empty.returncode, empty.stdout.split()), (0, []))

    def test_without_an_answer_nothing_is_known(self):
        # Half an answer, then an error: the draft of another page could have been the one.
        for changes in ({"status": 1}, {"repository": ""}):
            done = self.run_command("state", "--version", "v1.1.9", **changes)
            self.assertNotEqual(done.returncode, 0, changes)
            self.assertEqual(done.stdout, "", changes)
            self.assertRegex(done.stderr, r"^release: [^\n]+\n$")


class CheckTag(unittest.TestCase):
    def test_replacing_the_placeholder_everywhere_lets_a_release_pass(self):
        placeholder = "OWN" + "ER"
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / ".ci").mkdir()
            replaced = Path(release.__file__).read_text(encoding="utf-8").replace(placeholder, "acme")
            (root / ".ci/release.py").write_text(replaced, encoding="utf-8")
            (root / "CHANGELOG.md").write_text("## [1.2.3] - 2026-01-01\n\n- first\n")
            subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
            for owner, passes in (("acme", True), (placeholder, False)):
                manifest = f'[package]\nname = "x"\nversion = "1.2.3"\nrepository = "https://github.com/{owner}/x"\n'
                (root / "Cargo.toml").write_text(manifest)
                subprocess.run(["git", "add", "--all"], cwd=root, check=True)
                commit = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "x"]
                subprocess.run(commit, cwd=root, check=True)
                check = [sys.executable, "-B", ".ci/release.py", "check-tag", "--version", "v1.2.3"]
                done = subprocess.run(check, cwd=root, capture_output=True, text=True)
                self.assertEqual(done.returncode == 0, passes, done.stderr)
            (root / "README.md").write_text(
                "docker pull ghcr.io/acme/cq-source-s3:v1.2.2\n\n"
                "| `github` | `acme/s3`, with `version: v1.2.1` |\n\n"
                "  registry: github\n  path: acme/s3\n  version: v1.2.0\n\n"
                "  path: acme/s3\n  registry: github\n  version: \"v1.1.0\"\n\n"
                "  version: v1.0.0\n  path: acme/s3\n  registry: github\n\n"
                "  registry: cloudquery\n  path: cloudquery/s3\n  version: v7.0.0\n\n"
                "  path: cloudquery/postgresql\n  version: v8.14.0\n"
            )
            done = subprocess.run(check, cwd=root, capture_output=True, text=True)
            self.assertIn("README.md names the image cq-source-s3:v1.2.2", done.stderr)
            for version in ("v1.2.1", "v1.2.0", "v1.1.0", "v1.0.0"):
                self.assertIn(f"has version: {version} of this plugin", done.stderr)
            self.assertNotRegex(done.stderr, r"v8\.14\.0|v7\.0\.0")


class Archives(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "binary").write_bytes(b"\x7fELF binary")

    def make(self, target, out="out"):
        (self.folder / "plan.json").write_text(json.dumps(plan(*release.TARGETS)))
        options = SimpleNamespace(
            plan=self.folder / "plan.json", target=target, binary=self.folder / "binary", out=self.folder / out, epoch=EPOCH
        )
        with mock.patch("sys.stdout", io.StringIO()):
            release.archive(options)
        return self.folder / out

    def test_a_tarball_has_one_folder_of_its_own_name(self):
        out = self.make("x86_64-unknown-linux-musl")
        stem = "cq-source-s3-x86_64-unknown-linux-musl"
        with tarfile.open(out / f"{stem}.tar.xz") as tar:
            self.assertEqual(tar.getnames(), [stem] + [f"{stem}/{name}" for name in ("cq-source-s3", "README.md", "LICENSE", "CHANGELOG.md")])
            self.assertEqual(tar.getmember(f"{stem}/cq-source-s3").mode, 0o755)
            self.assertEqual({member.mtime for member in tar}, {EPOCH})

    def test_a_zip_is_flat_and_windows_keeps_its_suffix(self):
        out = self.make("x86_64-pc-windows-msvc")
        with zipfile.ZipFile(out / "cq-source-s3-x86_64-pc-windows-msvc.zip") as packed:
            self.assertEqual(packed.namelist(), ["cq-source-s3.exe", "README.md", "LICENSE", "CHANGELOG.md"])

    def test_the_same_input_gives_the_same_bytes(self):
        one, two = self.make("aarch64-unknown-linux-musl", "one"), self.make("aarch64-unknown-linux-musl", "two")
        for path in sorted(one.iterdir()):
            self.assertEqual(path.read_bytes(), (two / path.name).read_bytes(), path.name)

    def test_checksums_are_those_of_the_files_and_in_the_manifest_for_dist(self):
        out = self.make("aarch64-apple-darwin")
        name = "cq-source-s3-aarch64-apple-darwin.tar.xz"
        subprocess.run(["sha256sum", "--check", "--quiet", f"{name}.sha256"], cwd=out, check=True)
        manifest = json.loads((out / "aarch64-apple-darwin-dist-manifest.json").read_text())
        self.assertEqual(manifest["artifacts"][name]["checksums"], {"sha256": release.sha256(out / name)})

    def test_a_target_without_a_place_in_the_plan_is_refused(self):
        with self.assertRaises(SystemExit):
            release.planned_archive(plan("x86_64-apple-darwin"), "aarch64-apple-darwin")

    def test_registry_github_downloads_exactly_these_files(self):
        for target, (goos, goarch, binary) in release.TARGETS.items():
            out = self.make(target, target)
            url = release.registry_url("acme/s3", "v1.2.3", goos, goarch)
            self.assertTrue(url.startswith("https://github.com/acme/cq-source-s3/releases/download/v1.2.3/"), url)
            with zipfile.ZipFile(out / url.rsplit("/", 1)[1]) as packed:
                # The CLI looks for this member, and runs it.
                self.assertEqual(packed.namelist(), [binary])
                self.assertEqual(packed.infolist()[0].external_attr >> 16 & 0o777, 0o755)

    def test_unpack_refuses_what_its_checksum_does_not_know(self):
        out = self.make("x86_64-unknown-linux-musl")
        archive = out / "cq-source-s3-x86_64-unknown-linux-musl.tar.xz"
        archive.write_bytes(archive.read_bytes() + b"x")
        with mock.patch.object(release, "ROOT", self.folder), self.assertRaises(SystemExit):
            release.unpack(SimpleNamespace(archives=out))

    def test_the_hubs_folder_is_complete(self):
        for target in release.TARGETS:
            self.make(target)
        options = SimpleNamespace(zips=self.folder / "out", out=self.folder / "hub", version="v1.2.3", team="acme", epoch=EPOCH)
        with mock.patch("sys.stdout", io.StringIO()):
            release.hub(options)
        package = json.loads((self.folder / "hub/package.json").read_text())
        self.assertEqual((package["schema_version"], package["protocols"], package["package_type"]), (1, [3], "native"))
        self.assertEqual(len(package["supported_targets"]), 5)
        for target in package["supported_targets"]:
            path = self.folder / "hub" / target["path"]
            self.assertEqual(target["checksum"], "sha256:" + release.sha256(path))
            # One member of the same name, without .exe even for Windows.
            with zipfile.ZipFile(path) as packed:
                self.assertEqual(packed.namelist(), [path.stem])
        self.assertEqual(json.loads((self.folder / "hub/tables.json").read_text()), [])
        json.loads((self.folder / "hub/spec_json_schema.json").read_text())
        self.assertTrue(list((self.folder / "hub/docs").glob("*.md")))


class Notes(unittest.TestCase):
    CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n- later\n\n## [1.2.3] - 2026-01-01\n\n- this\n\n## [1.2.0]\n\n- before\n"

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "CHANGELOG.md").write_text(self.CHANGELOG)
        patch = mock.patch.object(release, "ROOT", self.folder)
        patch.start()
        self.addCleanup(patch.stop)

    def notes(self, **changes):
        options = dict(
            version="v1.2.3", sha=SHA, digest="sha256:" + "0" * 64, platforms="linux/amd64", repository="acme/cq-source-s3",
            image=["ghcr.io/acme/cq-source-s3", "gcr.io/acme/cq-source-s3"], generated=None, section=None,
        )
        with mock.patch("sys.stdout", io.StringIO()) as text:
            release.notes(SimpleNamespace(**(options | changes)))
        return text.getvalue()

    def test_a_section_ends_where_the_next_begins(self):
        self.assertEqual(release.changelog_section("v1.2.3"), "- this")
        self.assertEqual(release.changelog_section("v1.2.0"), "- before")
        self.assertEqual(release.changelog_section("v1.2"), "")

    def test_they_name_changes_digest_and_both_registries(self):
        text = self.notes()
        for part in ("- this", "sha256:" + "0" * 64, "docker pull ghcr.io/acme/cq-source-s3:v1.2.3-1a2b3c4",
                     "docker pull gcr.io/acme/cq-source-s3@sha256:", "gh attestation verify", "sha256sum"):
            self.assertIn(part, text)
        self.assertNotIn("- later", text)

    def test_their_text_as_readers_see_it(self):
        expected = """\
- this

<!-- image: start -->
## Container image

Digest `sha256:DIGEST` for linux/amd64.

```sh
docker pull ghcr.io/acme/cq-source-s3:v1.2.3-1a2b3c4
docker pull ghcr.io/acme/cq-source-s3@sha256:DIGEST
```
<!-- image: end -->

## Verify

`sha256.sum` lists the checksums of the archives; archives and zips have a `.sha256` of their own, too. Every file and
the image carry an attestation of the workflow that built them:

```sh
sha256sum --ignore-missing --check sha256.sum
gh attestation verify cq-source-s3-x86_64-unknown-linux-musl.tar.xz --repo acme/cq-source-s3
gh attestation verify oci://ghcr.io/acme/cq-source-s3@sha256:DIGEST --repo acme/cq-source-s3
```
"""
        self.assertEqual(self.notes(image=["ghcr.io/acme/cq-source-s3"]).replace("0" * 64, "DIGEST"), expected)

    def test_without_digest_or_section_there_are_none(self):
        for changes in ({"digest": ""}, {"digest": "latest"}, {"version": "v9.9.9"}, {"image": []}):
            with self.assertRaises(SystemExit, msg=str(changes)):
                self.notes(**changes)


if __name__ == "__main__":
    unittest.main()
