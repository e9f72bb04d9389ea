//! The one codec.
