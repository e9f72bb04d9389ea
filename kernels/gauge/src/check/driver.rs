//! Which driver runs the card: the version that its kernel module tells
//! of, which the driver's library does not.

use std::{fs::File, io::Read as _};

const FILE: &str = "/proc/driver/nvidia/version";
/// More than it says.
const BYTES_MAX: u64 = 4096;

/// The driver's version, as in `580.95.05`; none where the system does not tell.
#[must_use]
pub fn driver_version() -> Option<String> {
    let mut text = String::new();
    File::open(FILE).ok()?.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    version_in(&text)
}

/// The first word of the module's line that is numbers and points.
fn version_in(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("NVRM version:"))?;
    let is_version = |word: &&str| {
        word.contains('.')
            && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    line.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_or_there_is_none() {
        for (text, expected) in [
            (
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n\
                 GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)\n",
                Some("535.104.05"),
            ),
            (
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (root@h)  Tue Sep 23\n",
                Some("580.95.05"),
            ),
            ("NVRM version: NVIDIA UNIX aarch64 Kernel Module  570.1  Mon\n", Some("570.1")),
            ("GCC version:  gcc version 11.4.0\n", None),
            ("NVRM version: NVIDIA UNIX x86_64 Kernel Module\n", None),
            ("NVRM version: 1..2 .5 7. x\n", None),
            ("", None),
        ] {
            assert_eq!(version_in(text).as_deref(), expected, "{text}");
        }
    }
}
