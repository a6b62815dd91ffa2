//! Numbers of things in words, for whoever reads a message. Pure.

/// A number with commas.
#[must_use]
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 object`, `1,200 objects`.
#[must_use]
pub(crate) fn count(number_of: u64, one: &str) -> String {
    let several = if number_of == 1 { "" } else { "s" };
    format!("{} {one}{several}", number(number_of))
}

/// The same where more than the last letter differs, as in `1 object is`, `2 objects are`.
#[must_use]
pub(crate) fn count_as(number_of: u64, one: &str, several: &str) -> String {
    format!("{} {}", number(number_of), if number_of == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_things() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 1, 1_200].map(|n| count(n, "object")), ["0 objects", "1 object", "1,200 objects"]);
        assert_eq!([1, 2].map(|n| count_as(n, "object is", "objects are")), ["1 object is", "2 objects are"]);
    }
}
