//! ringrift.

pub mod store;
