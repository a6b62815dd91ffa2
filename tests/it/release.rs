//! The release workflow's promise, checked on the files that GitHub runs: nothing is published unless lint, tests, build
//! and push all succeeded.
//!
//! `release.yml` is dist's and full of `always()`. The test walks it: for every choice of jobs that fail or are cancelled
//! it computes, from `needs` and `if`, which jobs run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use expression::evaluate;

mod expression;

const BUILD: &str = "custom-build-binaries";
const PUSH: &str = "custom-publish-image";
const ANNOUNCE: &str = "announce";
/// What one job of a run ended with.
const RESULTS: [&str; 3] = ["success", "failure", "cancelled"];

fn workflow(name: &str) -> Value {
    let path = format!("{}/.github/workflows/{name}.yml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn jobs(workflow: &Value) -> &serde_json::Map<String, Value> {
    workflow["jobs"].as_object().unwrap()
}

/// A string or a list of strings.
fn needs(job: &Value) -> Vec<String> {
    match &job["needs"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => all.iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        _ => Vec::new(),
    }
}

/// Whom a job waits for, through all stages.
fn ancestors(jobs: &serde_json::Map<String, Value>, name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut open = needs(&jobs[name]);
    while let Some(next) = open.pop() {
        open.extend(needs(&jobs[&next]));
        all.insert(next);
    }
    all
}

/// The jobs' results, if those that run end as `fates` says: a job whose condition doesn't hold is skipped. After
/// `cancelled_after` somebody cancels the whole run: what asks for success, in words or by saying nothing, isn't run any more.
fn run(
    workflow: &Value,
    fates: &BTreeMap<&str, &'static str>,
    plan_outputs: &Value,
    cancelled_after: Option<&str>,
) -> BTreeMap<String, &'static str> {
    let jobs = jobs(workflow);
    let mut results: BTreeMap<String, &'static str> = BTreeMap::new();
    while results.len() < jobs.len() {
        let before = results.len();
        for (name, job) in jobs {
            let needed = needs(job);
            if results.contains_key(name) || !needed.iter().all(|need| results.contains_key(need)) {
                continue;
            }
            let mut context = serde_json::Map::new();
            for need in &needed {
                let outputs = if need == "plan" { plan_outputs.clone() } else { json!({}) };
                context.insert(need.clone(), json!({"result": results[need], "outputs": outputs}));
            }
            // GitHub's success() looks at all ancestors; a skipped one counts as no success for those that wait for it.
            let cancelled = cancelled_after.is_some_and(|job| results.contains_key(job));
            let success = !cancelled && ancestors(jobs, name).iter().all(|ancestor| results[ancestor] == "success");
            let condition = job["if"].as_str().unwrap_or("success()");
            let runs = evaluate(condition, &json!({"needs": context}), success);
            results.insert(name.clone(), if runs { fates.get(name.as_str()).unwrap_or(&"success") } else { "skipped" });
        }
        assert!(results.len() > before, "the jobs wait for each other in a circle");
    }
    results
}

/// All choices of results for the jobs of the workflow.
fn all_fates(names: &[&'static str]) -> Vec<BTreeMap<&'static str, &'static str>> {
    names.iter().fold(vec![BTreeMap::new()], |choices, name| {
        let with = |result| {
            choices.iter().cloned().map(move |mut choice: BTreeMap<_, _>| {
                choice.insert(*name, result);
                choice
            })
        };
        RESULTS.into_iter().flat_map(with).collect()
    })
}

#[test]
fn nothing_is_published_unless_lint_tests_build_and_push_succeeded() {
    let release = workflow("release");
    let names = ["plan", BUILD, "build-global-artifacts", "host", PUSH, ANNOUNCE];
    for name in jobs(&release).keys() {
        assert!(
            names.contains(&name.as_str()) || name == "custom-verify-release",
            "{name} is new: does it publish something?"
        );
    }
    let mut published = 0;
    for fates in all_fates(&names) {
        for (publishing, prerelease, publish_prereleases) in
            [("true", false, true), ("true", true, true), ("true", true, false), ("false", false, true)]
        {
            let plan = json!({
                "announcement_is_prerelease": prerelease,
                "publish_prereleases": publish_prereleases,
                "ci": {"github": {"pr_run_mode": "skip"}},
            });
            let outputs = json!({"publishing": publishing, "val": plan.to_string(), "tag": "v1.2.3"});
            let results = run(&release, &fates, &outputs, None);
            let succeeded = |name: &str| results[name] == "success";
            let built = ["plan", BUILD, "build-global-artifacts", "host"].into_iter().all(succeeded);
            if results[PUSH] != "skipped" {
                assert!(built, "the image is pushed although something failed before: {results:?}");
            }
            // A pre-release without publish_prereleases has no push; our draft is then missing, see the test below.
            if results[ANNOUNCE] != "skipped" && publish_prereleases {
                assert!(built && succeeded(PUSH), "the release becomes public although something failed: {results:?}");
                published += 1;
            }
            if publishing == "false" {
                assert_eq!(results[ANNOUNCE], "skipped", "nothing is published without a tag: {results:?}");
            }
        }
    }
    assert!(published > 0, "no release was ever published: the walk is broken");
}

/// dist's `announce` runs even when the push was skipped, and somebody who cancels the run can bring that about. Then there is
/// no draft (`draft` is a job of the push), and `announce` fails at its first command on it.
#[test]
fn a_run_that_is_cancelled_before_the_push_has_no_draft_to_publish() {
    let release = workflow("release");
    let github = json!({"pr_run_mode": "skip"});
    let plan =
        json!({"announcement_is_prerelease": false, "publish_prereleases": true, "ci": {"github": github}}).to_string();
    let outputs = json!({"publishing": "true", "val": plan, "tag": "v1.2.3"});
    for last in ["plan", BUILD, "build-global-artifacts", "host"] {
        let results = run(&release, &BTreeMap::new(), &outputs, Some(last));
        assert_eq!(results[PUSH], "skipped", "cancelled after {last}: {results:?}");
        assert_ne!(results[ANNOUNCE], "skipped", "announce asks for the push now: say so in docs/releasing.md");
    }
    let steps = workflow("release")["jobs"][ANNOUNCE]["steps"].to_string();
    let commands: Vec<&str> = steps.split("gh release ").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
    assert_eq!(commands, ["upload", "edit"], "announce only adds to a draft that is there: {steps}");
}

#[test]
fn pre_releases_are_published() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/dist-workspace.toml")).unwrap();
    for line in ["publish-prereleases = true", "github-release = \"announce\"", "create-release = false"] {
        assert!(manifest.lines().any(|found| found == line), "dist-workspace.toml lacks {line}");
    }
}

/// A called workflow has failed when one of its jobs has; it is skipped only when all are. No job of ours has a condition.
#[test]
fn lint_and_tests_stand_before_the_build_and_nothing_goes_round_them() {
    for name in ["build-binaries", "publish-image", "verify-release"] {
        let called = workflow(name);
        for (job_name, job) in jobs(&called) {
            assert!(job["if"].is_null(), "{name}: {job_name} has a condition: could it be skipped?");
            assert!(job["continue-on-error"].is_null(), "{name}: {job_name} may fail unseen");
            assert!(job["timeout-minutes"].is_number(), "{name}: {job_name} has no timeout");
            assert!(job["permissions"].is_object(), "{name}: {job_name} inherits permissions");
            for step in job["steps"].as_array().unwrap() {
                assert!(step["continue-on-error"].is_null(), "{name}: a step of {job_name} may fail unseen: {step}");
            }
        }
    }
    let build = workflow("build-binaries");
    let build = jobs(&build);
    assert_eq!(needs(&build["test"]), ["lint"]);
    assert_eq!(needs(&build["linux"]), ["test"]);
    // What the gates run, not only that they are there.
    for (gate, command) in [
        ("lint", ".ci/run deny lint lint-release"),
        ("test", ".ci/run test test-release test-e2e test-cli"),
        ("linux", ".ci/run test-image test-docs"),
    ] {
        let mut steps = build[gate]["steps"].as_array().unwrap().iter();
        assert!(steps.any(|step| step["run"] == command), "{gate} does not run {command}");
    }
    // The image is tested with the binaries, and on the base, that are published: they are packed where they were tested.
    let linux = &build["linux"];
    assert_eq!(linux["env"]["CQ_PROFILE"], "dist");
    let publish = workflow("publish-image");
    let push = publish["jobs"]["image"]["steps"].as_array().unwrap().iter().find(|step| step["id"] == "push").unwrap();
    let base = format!("BASE={}\n", linux["env"]["CQ_BASE_IMAGE"].as_str().unwrap());
    assert!(
        push["with"]["build-args"].as_str().unwrap().contains(&base),
        "the image is pushed on another base: {push}"
    );
    let steps = linux["steps"].as_array().unwrap();
    let tested = steps.iter().position(|step| step["run"] == ".ci/run test-image test-docs").unwrap();
    let packed = steps.iter().position(|step| step["name"] == "Pack").unwrap();
    assert_eq!(packed, tested + 1, "only what was tested is packed");
    for builder in ["just", "cargo", "cross", "build-static"] {
        assert!(!steps[packed]["run"].as_str().unwrap().contains(builder), "{builder} may build anew after the tests");
    }
    let name = |steps: &[Value], action: &str| {
        let uses = |step: &&Value| step["uses"].as_str().is_some_and(|uses| uses.starts_with(action));
        steps.iter().find(uses).unwrap()["with"]["name"].clone()
    };
    let published = publish["jobs"]["image"]["steps"].as_array().unwrap();
    assert_eq!(name(steps, "actions/upload-artifact"), name(published, "actions/download-artifact"));
    let gates = ["lint", "test"];
    for (name, job) in build.iter().filter(|(name, _)| !gates.contains(&name.as_str())) {
        for gate in gates {
            assert!(ancestors(build, name).contains(gate), "{name} is built without {gate}: {job}");
        }
    }
}

/// The image's tags come after the pull on both platforms, and the draft, without which `announce` fails, after the tags.
#[test]
fn tags_come_last_and_the_draft_after_them() {
    let publish = workflow("publish-image");
    let steps = publish["jobs"]["image"]["steps"].as_array().unwrap();
    let position = |text: &str| {
        let found = steps.iter().position(|step| step.to_string().contains(text));
        found.unwrap_or_else(|| panic!("no step with {text}"))
    };
    assert!(position("push-by-digest=true") < position(".ci/image verify"));
    // A version that is public already stops before anything is pushed; an image of an earlier try is not built again.
    assert!(position("release.py state") < position("push-by-digest=true"));
    assert!(position(".ci/image digest") < position("push-by-digest=true"));
    assert!(position(".ci/image verify") < position(".ci/image tag"));
    assert!(position(".ci/image size") < position(".ci/image tag"));
    assert_eq!(position(".ci/image tag"), steps.len() - 1, "nothing may fail after the tags");
    assert_eq!(needs(&publish["jobs"]["draft"]), ["image"]);

    let announce = workflow("release")["jobs"][ANNOUNCE].to_string();
    assert!(announce.contains("gh release edit"), "announce must need the draft of publish-image");
    assert!(!announce.contains("gh release create"), "announce must not make a release of its own");
}

/// The description stands where the image's labels are made, where its index is annotated, and where the workflow does both.
#[test]
fn the_image_describes_itself_in_the_same_words_everywhere() {
    let read = |name: &str| std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let dockerfile = read("Dockerfile.release");
    let description = dockerfile.split("image.description=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(read(".ci/image").matches(&format!("image.description={description}\"")).count(), 1);
    let expected = format!("image.description={description}\n");
    assert_eq!(read(".github/workflows/publish-image.yml").matches(&expected).count(), 2);
}

/// The compiler is part of what a commit means: lint, tests and binaries have one, whatever the machine comes with.
#[test]
fn the_compiler_is_pinned() {
    const CHANNEL: &str = concat!(env!("CARGO_PKG_RUST_VERSION"), ".0");
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/rust-toolchain.toml")).unwrap();
    assert!(file.contains(&format!("channel = \"{CHANNEL}\"")), "not Cargo.toml's rust-version: {file}");
    for name in ["ci", "build-binaries"] {
        let workflow = workflow(name);
        assert_eq!(workflow["env"]["CQ_CROSS"], format!("cross +{CHANNEL}"), "{name}");
        for text in ["rustup default", "rustup toolchain", "rustup override", "RUSTUP_TOOLCHAIN", "cargo +"] {
            assert!(!workflow.to_string().contains(text), "{name}: {text} may choose another compiler");
        }
    }
}

#[test]
fn actions_are_pinned_by_commit_and_scripts_take_no_untrusted_input() {
    for name in ["ci", "build-binaries", "publish-image", "verify-release"] {
        for (job_name, job) in jobs(&workflow(name)) {
            for step in job["steps"].as_array().unwrap() {
                if let Some(uses) = step["uses"].as_str() {
                    let commit = uses.split_once('@').unwrap().1;
                    let pinned = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
                    assert!(pinned, "{name}: {job_name} uses {uses}, not pinned by commit");
                    // Two of them run an image, one of these with all privileges.
                    let image = match uses.split('@').next().unwrap() {
                        "docker/setup-qemu-action" => &step["with"]["image"],
                        "docker/setup-buildx-action" => &step["with"]["driver-opts"],
                        _ => continue,
                    };
                    let image = image.as_str().unwrap_or_default();
                    assert!(image.contains("@sha256:"), "{name}: {job_name} runs {image:?}, not pinned by digest");
                }
                if let Some(script) = step["run"].as_str() {
                    assert!(!script.contains("${{"), "{name}: {job_name} expands an expression in a script: {script}");
                }
            }
        }
    }
}
