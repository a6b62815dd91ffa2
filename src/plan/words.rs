//! Numbers, sizes and money in words. Pure.

/// A number with commas.
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

/// A size with its unit.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        // What would be shown as 1024.0.
        if value < 1023.95 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.1} {unit}")
}

/// An amount of money: cents where there are some, else its first two digits.
pub(crate) fn dollars(amount: f64) -> String {
    if amount >= 0.01 {
        return format!("${amount:.2}");
    }
    if amount <= 0.0 {
        return "$0".to_owned();
    }
    let digits = (2.0 - amount.log10().floor()).max(3.0) as usize - 1;
    format!("${amount:.digits$}")
}

/// A number of things, in words.
pub(crate) fn count(number_of: u64, one: &str) -> String {
    let several = if number_of == 1 { "" } else { "s" };
    format!("{} {one}{several}", number(number_of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sizes_and_money_are_short() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1_023, 1_024, 1_536, 1_048_575, 5 << 30].map(size),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 GiB"]
        );
        assert_eq!(size(u64::MAX), "16.0 EiB");
        assert_eq!(
            [0.0, 0.000_000_4, 0.000_005_4, 0.004, 0.01, 12.345].map(dollars),
            ["$0", "$0.00000040", "$0.0000054", "$0.0040", "$0.01", "$12.35"]
        );
        assert_eq!(count(1, "object"), "1 object");
        assert_eq!(count(1_200, "object"), "1,200 objects");
    }
}
