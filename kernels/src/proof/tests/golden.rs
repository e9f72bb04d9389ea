//! Emulation makes the golden vectors that are kept; with `WRITE_GOLDEN=1` they are written anew.

use crate::device::tests::SCHEDULES;
use crate::device::tests::emulated::Emulated;
use crate::proof::golden::PROBES;
use std::path::Path;

const SOURCE: &str = "emulation";

#[test]
fn emulation_gives_the_golden_vectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    for probe in &PROBES {
        let first = probe.vector(&Emulated::new(0), SOURCE).unwrap();
        if std::env::var_os("WRITE_GOLDEN").is_some() {
            std::fs::write(folder.join(first.file_name()), first.to_text()).unwrap();
            continue;
        }
        for seed in 0..=SCHEDULES {
            let found = probe.check(&Emulated::new(seed));
            assert!(found.agrees(), "seed {seed}: {found:?}");
            assert!(found.compared > 0, "{found:?}");
            assert_eq!(
                probe.vector(&Emulated::new(seed), SOURCE).unwrap(),
                first,
                "seed {seed}: {}",
                probe.name
            );
        }
    }
}

#[test]
fn every_word_of_a_golden_vector_was_written() {
    for probe in &PROBES {
        let output = probe.run(&Emulated::new(1)).unwrap();
        assert!(!output.contains(&0x5a5a_5a5a), "{}", probe.name);
        assert!(output.iter().any(|&word| word != output[0]), "{}", probe.name);
    }
}
