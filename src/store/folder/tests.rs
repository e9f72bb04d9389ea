use super::*;
use cluster_state::NodeId;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

fn open(path: &Path) -> Result<DataFolder, FolderError> {
    DataFolder::open(path, FORMAT_VERSION)
}

fn runtime() -> Runtime {
    Runtime {
        pid: std::process::id(),
        http: "http://127.0.0.1:1".into(),
        p2p: vec!["/ip4/127.0.0.1/tcp/2/p2p/X".into()],
        node: Some(NodeId(1)),
        peer_id: "X".into(),
    }
}

/// Every file under a folder with its content.
fn listing(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path))
        } else {
            found.push((path.clone(), fs::read(path).unwrap()))
        }
    }
    found.sort();
    found
}

#[test]
fn a_new_folder_has_its_layout_and_keeps_its_owner() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deep/n1");
    let mut folder = open(&path).unwrap();
    for name in FOLDERS {
        assert!(path.join(name).is_dir(), "{name}");
    }
    assert_eq!(folder.owner(), None);
    folder.claim("peer-a").unwrap();
    let created = folder.format.created_ms;
    drop(folder);
    let mut folder = open(&path).unwrap();
    assert_eq!((folder.owner(), folder.format.created_ms), (Some("peer-a"), created));
    folder.claim("peer-a").unwrap();
    let error = folder.claim("peer-b").unwrap_err();
    assert!(matches!(error, FolderError::OtherOwner { .. }), "{error}");
    assert_eq!(
        folder.join(crate::store::paths::games_db(&"hex8_2p".into())),
        path.join("data/games/canonical_hex8_2p.db")
    );
}

#[test]
fn runtime_is_there_while_the_node_runs() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("n1");
    assert_eq!(Running::find(&path).unwrap(), Running::No);
    let folder = open(&path).unwrap();
    assert_eq!(Running::find(&path).unwrap(), Running::Starting);
    folder.write_runtime(&runtime()).unwrap();
    assert_eq!(Running::find(&path).unwrap(), Running::Yes(runtime()));
    let left = fs::read(path.join(RUNTIME)).unwrap();
    drop(folder);
    assert_eq!(Running::find(&path).unwrap(), Running::No);
    fs::write(path.join(RUNTIME), &left).unwrap();
    assert_eq!(Running::find(&path).unwrap(), Running::Stale(runtime()));
    let folder = open(&path).unwrap();
    assert_eq!(Running::find(&path).unwrap(), Running::Starting);
    fs::write(path.join(RUNTIME), b"{").unwrap();
    assert!(matches!(Running::find(&path), Err(FolderError::Malformed { .. })));
    drop(folder);
}

#[test]
fn folders_that_are_not_ours_are_refused_and_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let check = |name: &str, content: &[(&str, &str)], expected: &str| {
        let path = parent.path().join(name);
        fs::create_dir(&path).unwrap();
        for (file, text) in content {
            fs::write(path.join(file), text).unwrap();
        }
        let before = listing(&path);
        let error = open(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert_eq!(listing(&path), before, "{name}");
    };
    check("foreign", &[("letter.txt", "dear")], "it holds letter.txt");
    let this = FORMAT_VERSION;
    let of = |format: u32, rest: &str| format!(r#"{{"format":{format}{rest}}}"#);
    let newer = format!("has format {}, this build knows {this}", this + 1);
    check("newer", &[("format", &of(this + 1, r#","other":[]"#))], &newer);
    let older = of(this - 1, r#","peer_id":"p","created_ms":1"#);
    let expected = format!("has format {}, this build knows {this}: choose a new --data-dir", this - 1);
    check("older", &[("format", &older), ("raft.db", "x")], &expected);
    check("zero", &[("format", r#"{"format":0}"#)], "no format 0");
    check("garbage", &[("format", "\0\0\0")], "restore it");
    check("huge", &[("format", &"x".repeat(100_000))], "cannot read");
    check("incomplete", &[("format", &of(this, ""))], "created_ms");
    fs::write(parent.path().join("file"), "x").unwrap();
    let error = open(&parent.path().join("file")).unwrap_err();
    assert!(matches!(error, FolderError::Unwritable { .. }), "{error}");
    let error = open(&parent.path().join("file/below")).unwrap_err();
    assert!(matches!(error, FolderError::Unwritable { .. }), "{error}");
}

#[test]
fn an_unwritable_folder_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    fs::create_dir(parent.path().join(LOCK)).unwrap();
    let error = open(parent.path()).unwrap_err();
    assert!(matches!(&error, FolderError::Unwritable { .. }), "{error}");
    assert!(error.to_string().contains("permissions"), "{error}");
}

#[test]
fn a_start_that_was_killed_or_settings_are_no_obstacle() {
    let parent = tempfile::tempdir().unwrap();
    for name in [LOCK, SETTINGS, "format.tmp"] {
        fs::write(parent.path().join(name), "").unwrap();
    }
    let folder = open(parent.path()).unwrap();
    assert!(!parent.path().join("format.tmp").exists());
    assert_eq!(folder.path(), parent.path());
}

#[test]
fn one_process_at_a_time_even_after_kill_9() {
    const CHILD: &str = "RINGRIFT_TEST_FOLDER";
    if let Some(path) = std::env::var_os(CHILD) {
        let folder = open(Path::new(&path)).unwrap();
        folder.write_runtime(&runtime()).unwrap();
        println!("\nheld");
        io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let name = "store::folder::tests::one_process_at_a_time_even_after_kill_9";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, parent.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "held"));
    let error = open(parent.path()).unwrap_err();
    assert!(matches!(error, FolderError::InUse { pid: Some(pid), .. } if pid == child.id()), "{error}");
    assert!(matches!(Running::find(parent.path()).unwrap(), Running::Yes(r) if r.pid == child.id()));
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(matches!(Running::find(parent.path()).unwrap(), Running::Stale(_)));
    let folder = open(parent.path()).unwrap();
    assert!(!parent.path().join(RUNTIME).exists());
    drop(folder);
}
