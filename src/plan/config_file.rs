//! The CloudQuery config, or the spec alone, out of which a plan takes what a sync would be told. Pure.
//!
//! Only what is needed is read, so that variables of destinations need not be set; what is wrong elsewhere in the config, the
//! CLI says.

use super::yaml::{Documents, Node, YamlError};
use crate::about::PLUGIN_NAME;
use crate::cloudquery::source::{Backend, Selection};
use serde_json::Value;

/// The last part of a `path` that means this plugin, besides its name on the hub.
const PROGRAM: &str = "cq-source-s3";

/// What a sync would be told.
#[derive(Debug)]
pub(crate) struct SourceConfig {
    /// The source's name; `None` for a spec alone.
    pub(crate) name: Option<String>,
    /// Which tables.
    pub(crate) selection: Selection,
    /// Where the state is.
    pub(crate) backend: BackendConfig,
    /// The spec, as JSON.
    pub(crate) spec: Vec<u8>,
}

/// What the config says about the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackendConfig {
    /// Nothing: every sync is a full one.
    None,
    /// It can be dialled.
    Known(Backend),
    /// A plugin that only the CLI starts.
    OfTheCli {
        /// The state table.
        table_name: String,
        /// As the config has it, such as `@@plugins.mem.connection`.
        connection: String,
    },
}

/// Why a config can't be used, one line a mistake.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(String);

impl From<YamlError> for ConfigError {
    fn from(error: YamlError) -> Self {
        Self(error.to_string())
    }
}

impl From<Vec<YamlError>> for ConfigError {
    fn from(errors: Vec<YamlError>) -> Self {
        Self(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }
}

/// A parsed config with what its variables stand for.
struct Config<'a> {
    documents: Documents,
    lookup: &'a mut dyn FnMut(&str) -> Result<String, String>,
}

/// The source of `text` that is called `wanted`, or the only one that is this plugin. `lookup` gives what the name of a
/// variable stands for.
///
/// # Errors
/// [`ConfigError`].
pub(crate) fn source(
    text: &str,
    wanted: Option<&str>,
    lookup: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<SourceConfig, ConfigError> {
    // Another first character than it seems to have.
    let documents = Documents::parse(text.trim_start_matches('\u{feff}'))?;
    let mut config = Config { documents, lookup };
    let roots = config.documents.roots.clone();
    let sources: Vec<&Node> =
        roots.iter().filter(|root| config.text(root.get("kind")).as_deref() == Some("source")).collect();
    if let ([root], []) = (&roots[..], &sources[..])
        && root.is_mapping()
        && root.get("kind").is_none()
    {
        return config.bare(root, wanted);
    }
    let chosen = config.choose(&sources, wanted)?;
    config.read(chosen)
}

impl Config<'_> {
    fn value(&mut self, node: &Node) -> Result<Value, ConfigError> {
        Ok(self.documents.value(node, self.lookup)?)
    }

    /// The text of a node, if it is one and its variables are known.
    fn text(&mut self, node: Option<&Node>) -> Option<String> {
        self.value(node?).ok()?.as_str().map(str::to_owned)
    }

    /// A spec without a source around it.
    fn bare(&mut self, root: &Node, wanted: Option<&str>) -> Result<SourceConfig, ConfigError> {
        if let Some(wanted) = wanted {
            return Err(ConfigError(format!(
                "this is a spec without `kind: source`, so there is no source {wanted:?}"
            )));
        }
        let spec = self.value(root)?;
        Ok(SourceConfig {
            name: None,
            selection: Selection { tables: vec!["*".to_owned()], skip_tables: Vec::new() },
            backend: BackendConfig::None,
            spec: spec.to_string().into_bytes(),
        })
    }

    fn choose<'a>(&mut self, sources: &[&'a Node], wanted: Option<&str>) -> Result<&'a Node, ConfigError> {
        let mut named = Vec::new();
        for source in sources {
            let spec = source.get("spec");
            let name = self.text(spec.and_then(|spec| spec.get("name"))).unwrap_or_default();
            let path = self.text(spec.and_then(|spec| spec.get("path"))).unwrap_or_default();
            named.push((*source, name, path));
        }
        let names: Vec<String> = named.iter().map(|(_, name, _)| format!("{name:?}")).collect();
        let names = names.join(", ");
        if let Some(wanted) = wanted {
            let found = named.iter().find(|(_, name, _)| name == wanted);
            let missing = || ConfigError(format!("there is no source {wanted:?} in the config; it has {names}"));
            return found.map(|(source, ..)| *source).ok_or_else(missing);
        }
        if let [(only, ..)] = named[..] {
            return Ok(only);
        }
        let ours: Vec<_> = named.iter().filter(|(.., path)| is_this_plugin(path)).collect();
        match (named.len(), &ours[..]) {
            (0, _) => Err(ConfigError(
                "the config has no document with `kind: source`, and is not the spec of one either: expected a CloudQuery \
                 config, or an object with keys such as bucket"
                    .to_owned(),
            )),
            (_, [(only, ..)]) => Ok(only),
            (count, _) => Err(ConfigError(format!("the config has {count} sources ({names}); choose one with --source"))),
        }
    }

    fn read(&mut self, source: &Node) -> Result<SourceConfig, ConfigError> {
        let Some(outer) = source.get("spec").filter(|spec| spec.is_mapping()) else {
            return Err(ConfigError(format!("line {}: the source has no `spec` with name and path", source.line())));
        };
        let name = self.text(outer.get("name"));
        let selection = Selection {
            tables: self.list(outer, "tables")?.unwrap_or_else(|| vec!["*".to_owned()]),
            skip_tables: self.list(outer, "skip_tables")?.unwrap_or_default(),
        };
        let spec = outer.get("spec").map(|spec| self.value(spec)).transpose()?.unwrap_or_default();
        let backend = self.backend(outer)?;
        Ok(SourceConfig { name, selection, backend, spec: spec.to_string().into_bytes() })
    }

    fn list(&mut self, outer: &Node, name: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(node) = outer.get(name) else { return Ok(None) };
        let line = node.line();
        let wrong = || ConfigError(format!("line {line}: {name} must be a list of table names or patterns"));
        match self.value(node)? {
            Value::Null => Ok(None),
            Value::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map(Some).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    fn backend(&mut self, outer: &Node) -> Result<BackendConfig, ConfigError> {
        let Some(options) = outer.get("backend_options") else { return Ok(BackendConfig::None) };
        let value = self.value(options)?;
        let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (table_name, connection) = (field("table_name"), field("connection"));
        if table_name.is_empty() && connection.is_empty() {
            return Ok(BackendConfig::None);
        }
        let Some(plugin) = connection.strip_prefix("@@plugins.") else {
            return Ok(BackendConfig::Known(Backend { table_name, connection }));
        };
        let plugin = plugin.strip_suffix(".connection").unwrap_or(plugin);
        Ok(match self.address_of(plugin) {
            Some(connection) => BackendConfig::Known(Backend { table_name, connection }),
            None => BackendConfig::OfTheCli { table_name, connection },
        })
    }

    /// Where a destination of the config listens that the CLI does not start itself.
    fn address_of(&mut self, name: &str) -> Option<String> {
        for root in self.documents.roots.clone() {
            let Some(spec) = root.get("spec") else { continue };
            let is_it = self.text(root.get("kind")).as_deref() == Some("destination")
                && self.text(spec.get("name")).as_deref() == Some(name);
            if is_it && self.text(spec.get("registry")).as_deref() == Some("grpc") {
                return self.text(spec.get("path"));
            }
        }
        None
    }
}

/// Whether a source's `path` means this plugin: `./cq-source-s3`, `ghcr.io/team/cq-source-s3:v1.0.0`, `team/s3`.
fn is_this_plugin(path: &str) -> bool {
    let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let last = last.split(['@', ':']).next().unwrap_or_default();
    let last = last.strip_suffix(".exe").unwrap_or(last);
    last == PROGRAM || last == PLUGIN_NAME
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
kind: source
spec:
  name: lake
  registry: local
  path: ./target/release/cq-source-s3
  tables: ["raw_*"]
  skip_tables: [raw_tmp]
  destinations: [pg]
  backend_options: {table_name: cq_state, connection: "@@plugins.pg.connection"}
  spec: {bucket: "${BUCKET}", max_tables: 5}
---
kind: source
spec: {name: aws, path: cloudquery/aws, version: v1, tables: ["*"], destinations: [pg]}
---
kind: destination
spec:
  name: pg
  registry: grpc
  path: 127.0.0.1:7779
  spec: {connection_string: "${NOT_SET}"}
"#;

    fn read(text: &str, wanted: Option<&str>) -> Result<SourceConfig, String> {
        let mut lookup = |name: &str| match name {
            "BUCKET" => Ok("lake".to_owned()),
            _ => Err(format!("{name} is not set")),
        };
        source(text, wanted, &mut lookup).map_err(|error| error.to_string())
    }

    #[test]
    fn the_source_that_is_this_plugin_is_taken_with_its_selection_and_state() {
        let source = read(CONFIG, None).unwrap();
        assert_eq!(source.name.as_deref(), Some("lake"));
        assert_eq!(
            (source.selection.tables, source.selection.skip_tables),
            (vec!["raw_*".into()], vec!["raw_tmp".into()])
        );
        assert_eq!(source.spec, br#"{"bucket":"lake","max_tables":5}"#);
        let backend = Backend { table_name: "cq_state".into(), connection: "127.0.0.1:7779".into() };
        assert_eq!(source.backend, BackendConfig::Known(backend));
        let local = read(&CONFIG.replace("registry: grpc", "registry: local"), None).unwrap();
        let connection = "@@plugins.pg.connection".to_owned();
        assert_eq!(local.backend, BackendConfig::OfTheCli { table_name: "cq_state".into(), connection });
    }

    #[test]
    fn a_spec_alone_is_enough_in_yaml_and_in_json() {
        for text in ["bucket: lake\nregion: eu-west-1\n", r#"{"bucket": "${BUCKET}", "region": "eu-west-1"}"#] {
            let source = read(text, None).unwrap();
            assert_eq!((source.name, source.selection.tables), (None, vec!["*".to_owned()]));
            assert_eq!(source.spec, br#"{"bucket":"lake","region":"eu-west-1"}"#);
        }
    }

    #[test]
    fn what_is_not_clear_is_asked_for() {
        let two = CONFIG.replace("cloudquery/aws", "team/s3@v1");
        assert_eq!(
            read(&two, None).unwrap_err(),
            r#"the config has 2 sources ("lake", "aws"); choose one with --source"#
        );
        assert_eq!(read(&two, Some("aws")).unwrap().name.as_deref(), Some("aws"));
        let error = read(&two, Some("x")).unwrap_err();
        assert_eq!(error, r#"there is no source "x" in the config; it has "lake", "aws""#);
        assert!(
            read("kind: destination\nspec: {name: x}\n", None).unwrap_err().contains("no document with `kind: source`")
        );
        assert!(read("", None).unwrap_err().contains("no document"));
        assert!(read("- 1\n", None).unwrap_err().contains("no document"));
        assert!(read("kind: source\n", None).unwrap_err().contains("line 1: the source has no `spec`"));
        assert_eq!(read(&CONFIG.replace("BUCKET", "NOPE"), None).unwrap_err(), "line 11: NOPE is not set");
        let error = read(&CONFIG.replace("[\"raw_*\"]", "raw"), None).unwrap_err();
        assert_eq!(error, "line 7: tables must be a list of table names or patterns");
    }

    #[test]
    fn paths_of_this_plugin() {
        for path in [
            "./cq-source-s3",
            r"C:\bin\cq-source-s3.exe",
            "ghcr.io/x/cq-source-s3:v1.0.0",
            "x/s3",
            "cq-source-s3@sha256:1",
        ] {
            assert!(is_this_plugin(path), "{path}");
        }
        for path in ["cloudquery/aws", "", "127.0.0.1:7777", "x/s3-bucket"] {
            assert!(!is_this_plugin(path), "{path}");
        }
    }
}
