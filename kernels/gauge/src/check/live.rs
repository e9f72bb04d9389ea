//! A report on its way: on disk from the first moment, and again whenever something was found out.
//!
//! Invariant: a file holds a whole report, the last or the one before, whenever this program is killed; and
//! no report that was kept in a folder is ever replaced by another.

use super::report::CheckReport;
use serde::Serialize;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Reports of one name in a folder.
const REPORTS_MAX: u32 = 999;

/// Why a report was not kept.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder for it could not be made.
    #[error("cannot make {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There are too many reports of this name.
    #[error("{} has {REPORTS_MAX} reports named {name}", folder.display())]
    Full {
        /// Where it should be kept.
        folder: PathBuf,
        /// Its name without a number.
        name: String,
    },
}

impl ReportError {
    fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }

    /// The error with its cause, for a line of progress.
    fn with_cause(&self) -> String {
        match self {
            Self::Folder { source, .. } | Self::Write { source, .. } => format!("{self}: {source}"),
            Self::Full { .. } => self.to_string(),
        }
    }
}

/// A report, and where it is kept.
#[derive(Debug)]
pub struct LiveReport {
    report: CheckReport,
    files: Vec<PathBuf>,
    /// Takes lines that say what is going on.
    progress: fn(&str),
    /// Whether somebody was told that the report cannot be written.
    told: bool,
}

impl LiveReport {
    /// Writes a report to a file, in place of what is there, and to a
    /// folder, under a name that nothing there has.
    ///
    /// # Errors
    /// [`ReportError`] if it cannot be written.
    pub fn new(
        report: CheckReport,
        progress: fn(&str),
        file: Option<&Path>,
        folder: Option<&Path>,
    ) -> Result<Self, ReportError> {
        let mut files: Vec<PathBuf> = file.map(Path::to_owned).into_iter().collect();
        if let Some((folder, name)) = folder.zip(report.name()) {
            let made = fs::create_dir_all(folder);
            made.map_err(|source| ReportError::Folder { path: folder.to_owned(), source })?;
            files.push(claim(folder, &name)?);
        }
        let live = Self { report, files, progress, told: false };
        live.save()?;
        for file in &live.files {
            live.tell(&format!("the report is written to {}", file.display()));
        }
        Ok(live)
    }

    /// Says what is going on.
    pub fn tell(&self, what: &str) {
        (self.progress)(what);
    }

    /// Changes the report, judges it and writes it again. What cannot be written now may be when it is done.
    pub fn change(&mut self, change: impl FnOnce(&mut CheckReport)) {
        change(&mut self.report);
        self.report.judge();
        if let Err(error) = self.save()
            && !std::mem::replace(&mut self.told, true)
        {
            self.tell(&error.with_cause());
        }
    }

    /// The report, which is done, and whether it could be written.
    pub fn finish(mut self) -> (CheckReport, Result<(), ReportError>) {
        self.report.complete = true;
        self.report.judge();
        let saved = self.save();
        (self.report, saved)
    }

    /// Every file is tried, whatever became of those before it; the first error is returned.
    fn save(&self) -> Result<(), ReportError> {
        let mut outcome = Ok(());
        for file in &self.files {
            outcome = outcome.and(write_document(file, &self.report));
        }
        outcome
    }
}

/// An empty file of this name, or of this name and a number.
fn claim(folder: &Path, name: &str) -> Result<PathBuf, ReportError> {
    for number in 1..=REPORTS_MAX {
        let name = if number == 1 { format!("{name}.json") } else { format!("{name}-{number}.json") };
        let path = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ReportError::write(&path)(error)),
        }
    }
    Err(ReportError::Full { folder: folder.to_owned(), name: name.to_owned() })
}

/// Writes a document as a whole or not at all, unless the file is none that another can take the place of.
///
/// # Errors
/// [`ReportError::Write`] if it cannot be written.
pub fn write_document(path: &Path, document: &impl Serialize) -> Result<(), ReportError> {
    let special = path.metadata().is_ok_and(|metadata| !metadata.is_file());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let to = if special { path } else { Path::new(&beside) };
    let written = File::create(to).and_then(|mut file| {
        serde_json::to_writer_pretty(&mut file, document)?;
        writeln!(file)?;
        if special { Ok(()) } else { fs::rename(to, path) }
    });
    written.map_err(ReportError::write(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::tests::report;

    fn silent(_: &str) {}

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
        let mut kept = LiveReport::new(report(), silent, Some(&file), Some(&out)).unwrap();
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
            LiveReport::new(report(), silent, None, Some(folder.path())).unwrap();
        }
        let expected = ["h200-2026-01-31-2.json", "h200-2026-01-31-3.json", "h200-2026-01-31.json"];
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_before_anything_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "no folder").unwrap();
        assert!(LiveReport::new(report(), silent, None, Some(&file)).is_err());
        assert!(LiveReport::new(report(), silent, Some(&file.join("report")), None).is_err());
        // Later it is told, and what is measured is printed all the same.
        let gone = folder.path().join("gone");
        let mut kept = LiveReport::new(report(), silent, None, Some(&gone)).unwrap();
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
        let kept = LiveReport::new(report(), silent, Some(&gone.join("report")), Some(&out)).unwrap();
        fs::remove_dir_all(&gone).unwrap();
        let (_, saved) = kept.finish();
        assert!(saved.is_err());
        assert_eq!(read(&out.join("h200-2026-01-31.json"))["complete"], true);
    }
}
