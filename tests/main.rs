//! Tests of the binary as people use it, alone and as clusters of processes.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

mod admission;
mod attacks;
mod command_line;
mod cycle;
mod damage;
mod delivery;
mod demo;
mod devices;
mod distribution;
mod effects;
mod engine;
mod failover;
mod formation;
mod gpu_check;
mod health;
mod learning;
mod liar;
mod map;
mod membership;
mod refusals;
mod regression;
mod senders;
mod settings;
mod strangers;
mod support;
