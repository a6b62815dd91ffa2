//! What `${…}` in a config stands for: an environment variable, or a file's text. The only place that reads either.

use std::fs;

/// The largest file that a variable stands for, in bytes: keys and specs have thousands.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a name between `${` and `}` stands for.
///
/// # Errors
/// Why it stands for nothing, in one sentence with what to do.
pub(crate) fn lookup(name: &str) -> Result<String, String> {
    if let Some(path) = name.strip_prefix("file:") {
        let text = file(path)?;
        // As the CLI does: variables in the file's text are replaced as well.
        return replaced(&text);
    }
    if name.starts_with("time:") {
        return Err(format!("${{{name}}} is known to the CloudQuery CLI alone; write the time out"));
    }
    variable(name)
}

fn variable(name: &str) -> Result<String, String> {
    match std::env::var(name) {
        Ok(value) => Ok(value),
        Err(std::env::VarError::NotPresent) => Err(format!("the environment variable {name} is not set; export it")),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("the environment variable {name} is not UTF-8")),
    }
}

fn file(path: &str) -> Result<String, String> {
    let cannot = |what: String| format!("${{file:{path}}} cannot be read: {what}");
    let bytes = fs::metadata(path).map_err(|error| cannot(error.to_string()))?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(cannot(format!("it has {bytes} bytes, more than {MAX_FILE_BYTES}")));
    }
    fs::read_to_string(path).map_err(|error| cannot(error.to_string()))
}

/// The text with what its environment variables stand for.
fn replaced(text: &str) -> Result<String, String> {
    let mut pieces = text.split("${");
    let mut all = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once('}').filter(|(name, _)| !name.is_empty()) {
            Some((name, rest)) => all.push_str(&(variable(name)? + rest)),
            None => all.push_str(&format!("${{{piece}")),
        }
    }
    Ok(all)
}
