//! A report on its way: on disk from the first moment, and again whenever something was found out.
//!
//! Invariant: a file holds a whole report, the last or the one before, whenever this program is killed; and no report that
//! was kept in a folder is ever replaced by another.

use super::{progress, report::Report};
use anyhow::Context as _;
use serde::Serialize;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Reports of one name in a folder.
const REPORTS_MAX: u32 = 999;

/// A report, and where it is kept.
#[derive(Debug)]
pub(super) struct Kept {
    report: Report,
    files: Vec<PathBuf>,
    /// Whether somebody was told that it cannot be written.
    told: bool,
}

impl Kept {
    /// Writes a report to a file, in place of what is there, and to a folder, under a name that nothing there has.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn new(report: Report, file: Option<&Path>, folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut files: Vec<PathBuf> = file.map(Path::to_owned).into_iter().collect();
        if let Some((folder, name)) = folder.zip(report.name()) {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            files.push(claim(folder, &name)?);
        }
        let kept = Self { report, files, told: false };
        kept.save()?;
        for file in &kept.files {
            progress(&format!("the report is written to {}", file.display()));
        }
        Ok(kept)
    }

    /// Changes the report, judges it and writes it again. What cannot be written now may be when it is done.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report);
        self.report.judge();
        if let Err(error) = self.save()
            && !std::mem::replace(&mut self.told, true)
        {
            progress(&format!("{error:#}"));
        }
    }

    /// The report, which is done, and whether it could be written.
    pub(super) fn finish(mut self) -> (Report, anyhow::Result<()>) {
        self.report.complete = true;
        self.report.judge();
        let saved = self.save();
        (self.report, saved)
    }

    /// Every file is tried, whatever became of those before it; the first error is returned.
    fn save(&self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        for file in &self.files {
            outcome = outcome.and(write_file(file, &self.report));
        }
        outcome
    }
}

/// An empty file of this name, or of this name and a number.
fn claim(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    for number in 1..=REPORTS_MAX {
        let name = if number == 1 { format!("{name}.json") } else { format!("{name}-{number}.json") };
        let path = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
        }
    }
    anyhow::bail!("{} has {REPORTS_MAX} reports named {name}", folder.display())
}

/// Writes a document as a whole or not at all, unless the file is none that another can take the place of.
///
/// # Errors
/// If it cannot be written.
pub(super) fn write_file(path: &Path, document: &impl Serialize) -> anyhow::Result<()> {
    let special = path.metadata().is_ok_and(|metadata| !metadata.is_file());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let to = if special { path } else { Path::new(&beside) };
    let written = File::create(to).map_err(anyhow::Error::from).and_then(|mut file| {
        serde_json::to_writer_pretty(&mut file, document)?;
        writeln!(file)?;
        if !special {
            fs::rename(to, path)?;
        }
        Ok(())
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    fn read(path: &Path) -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_found_out_is_on_disk_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (file, out) = (folder.path().join("report"), folder.path().join("out"));
        let mut kept = Kept::new(report(), Some(&file), Some(&out)).unwrap();
        let path = out.join("h200-2026-01-31.json");
        assert_eq!(read(&path)["complete"], false);
        kept.change(|report| report.unavailable = Some("it burns".into()));
        for path in [&path, &file] {
            assert_eq!(
                (&read(path)["unavailable"], &read(path)["complete"]),
                (&"it burns".into(), &false.into())
            );
        }
        let (report, saved) = kept.finish();
        saved.unwrap();
        assert!(report.complete && report.ok);
        assert_eq!(read(&path)["complete"], true);
        assert_eq!(names(&out), ["h200-2026-01-31.json"]);
    }

    #[test]
    fn no_report_takes_the_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            Kept::new(report(), None, Some(folder.path())).unwrap();
        }
        let expected = ["h200-2026-01-31-2.json", "h200-2026-01-31-3.json", "h200-2026-01-31.json"];
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_before_anything_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "no folder").unwrap();
        assert!(Kept::new(report(), None, Some(&file)).is_err());
        assert!(Kept::new(report(), Some(&file.join("report")), None).is_err());
        // Later it is told, and what is measured is printed all the same.
        let gone = folder.path().join("gone");
        let mut kept = Kept::new(report(), None, Some(&gone)).unwrap();
        fs::remove_dir_all(&gone).unwrap();
        kept.change(|report| report.unavailable = Some("it burns".into()));
        let (report, saved) = kept.finish();
        assert!(saved.is_err() && report.unavailable.is_some());
    }

    #[test]
    fn a_file_that_cannot_be_written_costs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (gone, out) = (folder.path().join("gone"), folder.path().join("out"));
        fs::create_dir(&gone).unwrap();
        let kept = Kept::new(report(), Some(&gone.join("report")), Some(&out)).unwrap();
        fs::remove_dir_all(&gone).unwrap();
        let (_, saved) = kept.finish();
        assert!(saved.is_err());
        assert_eq!(read(&out.join("h200-2026-01-31.json"))["complete"], true);
    }
}
