//! The bounds of every decoder: how long it may take, and how much memory.
//!
//! Invariant: only what [`bounded`] runs is measured, and only on its own thread. Time is the thread's own
//! time on the processor, so that a busy machine is no hang. The kernel is asked for it when the clock says
//! that there may have been a hang, and every 5 ms: a system call for each input would take longer than
//! most decoders.
#![allow(unsafe_code, reason = "an allocator is unsafe; this one only counts")]

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::{Duration, Instant},
};

/// The longest that a decoder may take for one input.
pub const HANG: Duration = Duration::from_millis(100);
/// How old the thread's own time may be when a decoder begins. What passed since counts as the decoder's.
const STEP: Duration = Duration::from_millis(5);
/// A decoder may take this many times its limit in memory: a growing array is up to twice as long as it needs
/// to be.
const TIMES: usize = 2;
/// Memory that every decoder may have beside that, in bytes, for what does not grow with its input: messages
/// of errors, buffers.
const BESIDE: usize = 16 << 10;

/// Bytes of the thread's memory.
#[derive(Clone, Copy, Default)]
struct Memory {
    held: isize,
    most: isize,
}

thread_local! {
    /// When the kernel was last asked for the thread's own time, and its answer.
    static SPENT: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    static MEMORY: Cell<Memory> = const { Cell::new(Memory { held: 0, most: 0 }) };
}

fn count(bytes: isize) {
    // A thread that ends has no counter any more.
    let _ = MEMORY.try_with(|memory| {
        let Memory { held, most } = memory.get();
        let held = held.saturating_add(bytes);
        memory.set(Memory { held, most: most.max(held) });
    });
}

/// The allocator of the system, with a counter for each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// The thread's own time at a moment that is at most [`STEP`] before `now`.
fn time_spent_before(now: Instant) -> Duration {
    match SPENT.get() {
        Some((at, spent)) if now - at < STEP => spent,
        Some(_) | None => {
            let spent = time_spent();
            SPENT.set(Some((now, spent)));
            spent
        }
    }
}

fn time_spent() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("a thread knows its own time");
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

/// Runs a decoder whose input may have `limit` bytes.
///
/// # Panics
/// If the decoder takes longer than [`HANG`], or more memory than twice its limit and a constant.
pub fn bounded<T>(limit: usize, decode: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let spent = time_spent_before(begun);
    let before = MEMORY.get().held;
    MEMORY.set(Memory { held: before, most: before });
    let value = decode();
    let memory = (MEMORY.get().most - before).unsigned_abs();
    let most = limit.saturating_mul(TIMES).saturating_add(BESIDE);
    assert!(
        memory <= most,
        "{memory} bytes of memory for an input of at most {limit} bytes, allowed are {most}"
    );
    if begun.elapsed() > HANG {
        let took = time_spent() - spent;
        assert!(took <= HANG, "it took {took:?}, allowed are {HANG:?}");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{hint::black_box, panic::catch_unwind};

    #[test]
    fn memory_and_time_are_measured() {
        let takes = |bytes: usize| move || bounded(100 << 10, || black_box(vec![1u8; bytes]).len());
        assert_eq!(takes(200 << 10)(), 200 << 10);
        assert!(catch_unwind(takes(300 << 10)).is_err());
        let spins = || {
            let begun = Instant::now();
            bounded(1, || while black_box(begun.elapsed()) < 20 * HANG {});
        };
        assert!(catch_unwind(spins).is_err());
    }
}
