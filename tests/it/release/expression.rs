//! GitHub's expressions, as far as `if` conditions of workflows have them.

use serde_json::Value;

/// Whether a condition holds. `success` is what `success()` gives; like GitHub, a condition without a status function means
/// `success() && (…)`.
pub fn evaluate(condition: &str, context: &Value, success: bool) -> bool {
    let text = condition.trim();
    let text = text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).unwrap_or(text);
    let mut parser = Parser { tokens: tokens(text), at: 0, context, success };
    let value = parser.or();
    assert_eq!(parser.at, parser.tokens.len(), "{condition}: not understood after token {}", parser.at);
    let has_status = ["always()", "success()", "failure()", "cancelled()"].iter().any(|name| text.contains(name));
    truthy(&value) && (has_status || success)
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// Operators, literals in quotes, and words; a word may hold dots and dashes.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => rest[1..].find('\'').expect("a closed string") + 2,
            '&' | '|' => 2,
            '=' => 2,
            '!' if rest.starts_with("!=") => 2,
            '!' | '(' | ')' => 1,
            _ => rest.find(|c: char| "&|=!()' ".contains(c)).unwrap_or(rest.len()),
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<String>,
    at: usize,
    context: &'a Value,
    success: bool,
}

impl Parser<'_> {
    fn accept(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|next| next == token);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.tokens.get(self.at - 1).expect("an expression that goes on").clone()
    }

    fn or(&mut self) -> Value {
        let mut value = self.and();
        while self.accept("||") {
            let right = self.and();
            value = if truthy(&value) { value } else { right };
        }
        value
    }

    fn and(&mut self) -> Value {
        let mut value = self.equality();
        while self.accept("&&") {
            let right = self.equality();
            value = if truthy(&value) { right } else { value };
        }
        value
    }

    fn equality(&mut self) -> Value {
        let value = self.unary();
        if self.accept("==") {
            return Value::Bool(value == self.unary());
        }
        if self.accept("!=") {
            return Value::Bool(value != self.unary());
        }
        value
    }

    fn unary(&mut self) -> Value {
        if self.accept("!") {
            return Value::Bool(!truthy(&self.unary()));
        }
        if self.accept("(") {
            let value = self.or();
            assert!(self.accept(")"), "an open parenthesis");
            return value;
        }
        let word = self.next();
        if let Some(text) = word.strip_prefix('\'') {
            return Value::String(text.trim_end_matches('\'').to_owned());
        }
        if self.accept("(") {
            return self.call(&word);
        }
        match word.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            _ => member(self.context, &word),
        }
    }

    fn call(&mut self, function: &str) -> Value {
        if function == "fromJson" {
            let text = self.or();
            assert!(self.accept(")"), "an open call");
            let value = serde_json::from_str(text.as_str().unwrap_or("null")).expect("JSON");
            // What follows is a word that begins with a dot.
            let path = self.tokens.get(self.at).filter(|token| token.starts_with('.')).cloned();
            return match path {
                Some(path) => {
                    self.at += 1;
                    member(&value, &path[1..])
                }
                None => value,
            };
        }
        assert!(self.accept(")"), "{function} takes no argument");
        match function {
            "always" => Value::Bool(true),
            "success" => Value::Bool(self.success),
            "failure" => Value::Bool(!self.success),
            "cancelled" => Value::Bool(false),
            _ => panic!("the function {function} is not known here"),
        }
    }
}

fn member(value: &Value, path: &str) -> Value {
    path.split('.').fold(value.clone(), |value, name| value[name].clone())
}

#[test]
fn conditions_mean_what_github_says() {
    let context =
        serde_json::json!({"needs": {"a-b": {"result": "skipped", "outputs": {"val": "{\"x\": {\"y\": true}}"}}}});
    for (condition, success, expected) in [
        ("${{ always() }}", false, true),
        ("needs.a-b.result == 'skipped'", true, true),
        ("needs.a-b.result == 'skipped'", false, false), // the implied success()
        ("always() && needs.a-b.result == 'skipped'", false, true),
        ("always() && (needs.a-b.result == 'success' || needs.a-b.result != 'skipped')", true, false),
        ("!fromJson(needs.a-b.outputs.val).x.y", true, false),
        ("!fromJson(needs.a-b.outputs.val).x.z || false", true, true),
        ("needs.other.result == 'success'", true, false),
    ] {
        assert_eq!(evaluate(condition, &context, success), expected, "{condition}");
    }
}
