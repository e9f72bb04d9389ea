//! Where a peer computes: on the device that its settings name, and what it does if it cannot use that
//! device. On a host with cards these tests use them.

use crate::support::{Peer, run, turn};
use ringrift::{
    api::devices::{DeviceChoice, DevicesView},
    api::status::Status,
};
use std::{fs, path::Path, process::Command};

/// Settings with which nothing is computed.
const IDLE: &str = "selfplay_threads = 1\n[selfplay]\nenabled = false\n";

/// The source of a driver with one card that is out of order in one way or another.
const DRIVER: &str = r#"
#include <stdlib.h>
#include <string.h>
static int is(const char *what) { const char *it = getenv("DRIVER"); return it && !strcmp(it, what); }
int cuInit(unsigned flags) { return is("no card") ? 100 : 0; }
int cuDriverGetVersion(int *version) { *version = is("old") ? 12040 : 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = is("empty") ? 0 : 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &context; return is("full") ? 2 : 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuCtxGetCurrent(void **context) { *context = 0; return 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuCtxSetFlags(unsigned flags) { return 0; }
int cuCtxSynchronize(void) { return 0; }
int cuStreamCreate(void **stream, unsigned flags) { *stream = &stream; return 0; }
int cuStreamDestroy_v2(void *stream) { return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Card", length); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == 75 ? 7 : which == 76 ? 5 : 1;
    if (is("incomplete") && which == 75) *value = 9;
    if (is("incomplete") && which == 76) *value = 0;
    return 0;
}
int cuGetErrorString(int error, const char **text) { *text = "said by a test"; return 0; }
"#;

/// Returns the status of a peer whose device is `device`, as JSON and as people read it, and its log.
fn computing(peer: &mut Peer, device: &str) -> (DevicesView, String, String) {
    peer.spawn(None, &["--device", device]);
    peer.address();
    let running = |status: &Status| status.leader.is_some();
    let devices = peer.until_status("it runs", running).devices;
    let read = peer.read(&["status"]).stdout;
    let (code, json) = peer.ask(&["status"]);
    assert_eq!((code, &json["devices"]["wanted"]), (Some(0), &device.into()));
    assert_eq!(peer.stop().1, Some(0));
    (devices, read, peer.log())
}

/// The peer computes on the CPU, and says why in its status and its log.
fn on_the_cpu((devices, read, log): &(DevicesView, String, String), why: &str) {
    assert_eq!(devices.in_use.len(), 1, "{devices:?}");
    assert_eq!((devices.in_use[0].name.as_str(), &devices.in_use[0].driver), ("CPU", &None));
    let said = devices.message.as_ref().unwrap();
    assert!(said.contains(why), "{why:?} is not in {said:?}");
    let line = format!("device  CPU in place of {}: {said}", devices.wanted);
    assert!(read.contains(&line), "{line:?} is not in {read}");
    assert!(log.contains(why) && log.contains("not on all that was asked for"), "{log}");
}

#[test]
fn a_device_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let commands = [&["node", "--data-dir", data][..], &["demo"], &["bench", "learn", "--generations", "1"]];
    for command in commands {
        for device in ["gpu", "cuda:x", "cuda:", ""] {
            let ended = run(&[command, &["--device", device]].concat());
            assert_eq!(ended.code, Some(2), "{command:?} {device}: {ended:?}");
            assert!(ended.stderr.contains("cuda:N"), "{ended:?}");
            assert_eq!(ended.stdout, "", "{command:?} {device}");
        }
    }
    assert_eq!(fs::read_dir(data).unwrap().count(), 0, "nothing was started");
    fs::write(folder.path().join("ringrift.toml"), "device = 'cuda:x'").unwrap();
    let ended = run(&["node", "--data-dir", data]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("ringrift.toml") && ended.stderr.contains("cuda:N"), "{ended:?}");
}

#[test]
fn a_peer_without_the_card_that_it_was_told_to_use_computes_on_the_cpu_and_says_why() {
    let _turn = turn();
    let root = tempfile::tempdir().unwrap();
    let mut peer = Peer::new(root.path(), "n1", IDLE);
    let told = computing(&mut peer, "cuda");
    assert_eq!((told.0.wanted, told.0.selfplay_threads), (DeviceChoice::Cuda, 1));
    if told.0.in_use[0].driver.is_none() {
        on_the_cpu(&told, "CUDA device");
        assert_eq!(told.0.parallel_games, 32);
    } else {
        let names: Vec<&str> = told.0.in_use.iter().map(|device| device.name.as_str()).collect();
        println!("found {names:?}");
        assert!(names.iter().all(|name| name.starts_with("cuda:") && told.1.contains(name)), "{told:?}");
        assert!(names.iter().all(|name| told.2.contains(name)), "{told:?}");
        assert_eq!(told.0.parallel_games, 128);
    }
    // No machine has such a card.
    on_the_cpu(&computing(&mut peer, "cuda:9999"), "CUDA device");
    let (devices, read, _) = computing(&mut peer, "cpu");
    assert_eq!((devices.in_use[0].name.as_str(), devices.message), ("CPU", None));
    assert!(read.contains("\ndevice  CPU\n"), "{read}");
}

#[test]
fn a_driver_that_is_out_of_order_costs_no_more_than_a_message() {
    let _turn = turn();
    let root = tempfile::tempdir().unwrap();
    build_driver(root.path());
    let cases = [
        ("no card", "no CUDA device: "),
        ("old", "a driver for CUDA 12.4, 13.0 is needed"),
        ("empty", "the driver knows none"),
        ("full", "cuda:0: cuDevicePrimaryCtxRetain failed"),
        ("turing", "cuda:0: unsupported CUDA device: Card: compute capability 7.5, 8.0 is needed"),
        ("incomplete", "the library of the driver cannot be used: Missing symbol"),
    ];
    for (name, why) in cases {
        let mut peer = Peer::new(root.path(), &name.replace(' ', "-"), IDLE);
        peer.environment("LD_LIBRARY_PATH", root.path());
        peer.environment("DRIVER", name);
        on_the_cpu(&computing(&mut peer, "cuda"), why);
    }
}

/// Compiles [`DRIVER`] to a file that a search for libraries in `folder` finds.
fn build_driver(folder: &Path) {
    let source = folder.join("driver.c");
    fs::write(&source, DRIVER).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-w", "-o"]).arg(folder.join("libcuda.so")).arg(source);
    assert!(compiler.status().unwrap().success());
}
