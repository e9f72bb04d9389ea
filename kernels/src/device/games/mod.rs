//! Games on a device: random ones, and those of a network with the search.

pub(crate) mod playouts;
pub(crate) mod wave;
pub(crate) mod wave_games;
