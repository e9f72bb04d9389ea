//! A card as its driver describes it.

/// What the driver says of a card, and which of our images the card runs.
#[derive(Clone, Debug, PartialEq)]
pub struct CardProperties {
    /// The name of its model, as in `NVIDIA H200`.
    pub name: String,
    /// Compute capability, as in 9.0.
    pub capability: (u32, u32),
    /// How many multiprocessors it has; a part of a divided card has fewer than the model.
    pub multiprocessors: u32,
    /// The highest clock of a multiprocessor, in Hz.
    pub clock_hz: f64,
    /// The clock of the memory, in Hz.
    pub memory_clock_hz: f64,
    /// Width of the bus to the memory, in bits.
    pub memory_bus_bits: u32,
    /// Size of the memory, in bytes.
    pub memory_bytes: u64,
    /// The version of CUDA that the driver is for, as in `CUDA 13.0`.
    pub driver: String,
    /// The image that it runs, as in `sm_90a`.
    pub image: String,
}
