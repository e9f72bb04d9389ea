//! The game RingRift.
