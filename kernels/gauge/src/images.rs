//! What the compiler reports of the images that cards run.

use kernels::DeviceError;
use kernels::cuda::{self, Image};

/// The image that a card of a compute capability runs, as the compiler reported it. What the driver would
/// make of the PTX nobody knows; the last cubin of the manifest stands for it.
pub(crate) fn image_of(capability: (u32, u32)) -> Result<Image, DeviceError> {
    let mut images = cuda::manifest()?.images;
    images.retain(|image| !image.kernels.is_empty());
    if images.is_empty() {
        return Err(DeviceError::Unsupported("the manifest of the kernels is empty".into()));
    }
    let of = |target: &&str| images.iter().position(|image| image.target == *target);
    let at = cuda::candidates(capability).iter().find_map(of).unwrap_or(images.len() - 1);
    Ok(images.swap_remove(at))
}

/// Registers of a thread and static shared memory of a block.
pub(crate) fn usage_of(image: &Image, kernel: &str) -> (u32, u32) {
    let usage = image.kernels.iter().find(|usage| usage.kernel == kernel);
    usage.map_or((255, 0), |usage| (usage.registers, usage.shared_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_predicted_with_the_image_that_it_runs() {
        for (capability, expected) in [
            ((8, 0), "sm_80"),
            ((8, 6), "sm_86"),
            ((8, 7), "sm_86"),
            ((8, 9), "sm_89"),
            ((9, 0), "sm_90a"),
            ((10, 3), "sm_100"),
            // PTX, which has no figures of its own.
            ((11, 0), "sm_120"),
        ] {
            assert_eq!(image_of(capability).unwrap().target, expected, "{capability:?}");
        }
    }
}
