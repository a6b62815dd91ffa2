//! Sizes and money in words. Pure.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_money_are_short() {
        assert_eq!(
            [0, 1_023, 1_024, 1_536, 1_048_575, 5 << 30].map(size),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "5.0 GiB"]
        );
        assert_eq!(size(u64::MAX), "16.0 EiB");
        assert_eq!(
            [0.0, 0.000_000_4, 0.000_005_4, 0.004, 0.01, 12.345].map(dollars),
            ["$0", "$0.00000040", "$0.0000054", "$0.0040", "$0.01", "$12.35"]
        );
    }
}
