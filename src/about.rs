//! What the plugin is called, and its version.

/// The plugin's name, as the CLI asks for it.
pub const PLUGIN_NAME: &str = "s3";
/// `v` and semantic version.
pub const PLUGIN_VERSION: &str = env!("CQ_SOURCE_S3_VERSION");
/// What log lines give as their module.
pub const MODULE: &str = "s3-source";
