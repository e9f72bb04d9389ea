//! The bounds of a setting.
//!
//! Invariant: every refusal names the setting as the settings file does, with its value and what is allowed.

use std::{
    fmt::Display,
    ops::{Bound, RangeBounds},
};

/// A setting outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} = {value} is out of bounds: {allowed}")]
pub struct OutOfBounds {
    /// The name as in the settings file, such as `training.batch`.
    pub name: &'static str,
    pub value: String,
    /// What is allowed, in words.
    pub allowed: String,
}

/// Refuses a value unless `ok` is true.
///
/// # Errors
/// [`OutOfBounds`] with what is allowed in words.
pub fn check(ok: bool, name: &'static str, value: String, allowed: &str) -> Result<(), OutOfBounds> {
    if ok { Ok(()) } else { Err(OutOfBounds { name, value, allowed: allowed.to_owned() }) }
}

/// Refuses a number outside of `range`; NaN is outside of every range.
///
/// # Errors
/// [`OutOfBounds`] with the range in words.
pub fn bounds<T: PartialOrd + Display>(
    name: &'static str,
    value: T,
    range: impl RangeBounds<T>,
) -> Result<(), OutOfBounds> {
    check(range.contains(&value), name, value.to_string(), &words(&range))
}

fn words<T: Display>(range: &impl RangeBounds<T>) -> String {
    match (range.start_bound(), range.end_bound()) {
        (Bound::Included(least), Bound::Included(most)) => format!("{least} to {most}"),
        (Bound::Excluded(least), Bound::Included(most)) => format!("above {least}, at most {most}"),
        (Bound::Excluded(least), Bound::Excluded(most)) => format!("above {least}, below {most}"),
        (Bound::Included(least), Bound::Excluded(most)) => format!("{least} or more, below {most}"),
        (Bound::Unbounded, Bound::Included(most)) => format!("at most {most}"),
        (Bound::Unbounded, Bound::Excluded(most)) => format!("below {most}"),
        (Bound::Included(least), Bound::Unbounded) => format!("{least} or more"),
        (Bound::Excluded(least), Bound::Unbounded) => format!("above {least}"),
        (Bound::Unbounded, Bound::Unbounded) => "anything".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: PartialOrd + Display>(value: T, range: impl RangeBounds<T>) -> Option<String> {
        bounds("x", value, range).err().map(|error| error.to_string())
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        assert_eq!(refusal(1, 1..=3), None);
        assert_eq!(refusal(4, 1..=3).unwrap(), "x = 4 is out of bounds: 1 to 3");
        let open = (Bound::Excluded(0.0), Bound::Excluded(1.0));
        assert_eq!(refusal(0.5, open), None);
        assert_eq!(refusal(0.0, open).unwrap(), "x = 0 is out of bounds: above 0, below 1");
        let half_open = (Bound::Excluded(0.0), Bound::Included(1000.0));
        assert_eq!(refusal(f64::NAN, half_open).unwrap(), "x = NaN is out of bounds: above 0, at most 1000");
    }
}
