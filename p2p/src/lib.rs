//! Peers and bytes.
